//! Pointers in every kind of place keep their block alive, in every mode.

use dunegc_tests::{Run, compile, in_modes};

fn case(name: &str) {
    in_modes(&Run::new(compile("roots")).arg(name));
}

macro_rules! cases {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                case($name);
            }
        )*
    };
}

cases! {
    stack: "stack",
    register_of_a_spinning_thread: "register",
    signal_stack: "sigaltstack",
    stack_below_a_signal_stack: "below-sigaltstack",
    coroutine_stack_from_mmap: "coroutine-mmap",
    coroutine_stack_from_malloc: "coroutine-malloc",
    uninitialised_data: "bss",
    initialised_data: "data",
    thread_local: "tls",
    pthread_key: "pthread-key",
    small_block: "heap",
    large_block: "large-heap",
    anonymous_private_mapping: "mmap-private",
    anonymous_shared_mapping: "mmap-shared",
    shared_file_mapping: "mmap-file",
    private_file_mapping: "mmap-file-private",
    mapping_made_read_only: "mmap-readonly",
    program_break: "sbrk",
    low_tags: "tag-low",
    top_byte_tags: "tag-top8",
    top_two_byte_tags: "tag-top16",
    low_and_top_tags: "tag-both",
    turned_by_one_bit: "turned",
    interior_pointers: "interior",
}
