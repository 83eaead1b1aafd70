//! Misuse of free and realloc: a message with the address; abort by default, go on when asked to.

use dunegc_tests::{Mode, Outcome, Run, compile};

fn run(case: &str, mode: Mode) -> Run {
    Run::new(compile("bad_free")).arg(case).mode(mode)
}

/// The message is one line, names the address and comes from the library.
fn names_the_address(outcome: &Outcome) {
    let address = outcome
        .stdout
        .lines()
        .next()
        .expect("the program prints the pointer");
    let digits = address.trim_start_matches("0x");
    assert!(
        outcome
            .stderr
            .lines()
            .any(|line| line.contains("dunegc") && line.contains(digits)),
        "no line names {address}\n{outcome}"
    );
}

/// `says`: what the message tells of the block.
fn misuse(case: &str, says: &str) {
    for mode in Mode::ALL {
        let outcome = run(case, mode).output();
        assert_eq!(outcome.code(), 128 + libc::SIGABRT, "{outcome}");
        assert!(!outcome.stdout.contains("after"), "{outcome}");
        names_the_address(&outcome);
        assert!(outcome.stderr.contains(says), "{says}\n{outcome}");

        let outcome = run(case, mode).env("DUNEGC_ON_ERROR", "abort").output();
        assert_eq!(outcome.code(), 128 + libc::SIGABRT, "{outcome}");

        let outcome = run(case, mode).env("DUNEGC_ON_ERROR", "warn").ok();
        assert!(outcome.stdout.ends_with("after\nok\n"), "{outcome}");
        names_the_address(&outcome);
    }
}

macro_rules! misuses {
    ($($test:ident: $name:literal, $says:expr;)*) => {
        $(
            #[test]
            fn $test() {
                misuse($name, $says);
            }
        )*
    };
}

const FREE_ALREADY: &str = "double free: the malloc'ed block of 112 bytes at 0x";
const FOREIGN: &str =
    "invalid pointer: the address is not in this heap nor in one of another allocator";

misuses! {
    double_free: "double", FREE_ALREADY;
    double_free_of_a_large_block: "double-large", "invalid pointer: no block is allocated there: it was freed already";
    double_free_across_threads: "double-other-thread", FREE_ALREADY;
    double_free_in_another_thread: "double-there", FREE_ALREADY;
    interior_pointer: "interior", "invalid pointer: 16 bytes inside the malloc'ed block of 112 bytes at 0x";
    interior_pointer_at_an_odd_address: "interior-odd", "1 bytes inside the malloc'ed block of 112 bytes at 0x";
    interior_pointer_of_a_large_block: "interior-large", "4096 bytes inside the malloc'ed block of 3145728 bytes at 0x";
    stack_pointer: "foreign-stack", FOREIGN;
    static_data_pointer: "foreign-data", FOREIGN;
    mapping_pointer: "foreign-mmap", FOREIGN;
    unmapped_pointer: "foreign-unmapped", FOREIGN;
    realloc_of_freed_memory: "realloc-freed", "realloc(0x";
    realloc_of_an_interior_pointer: "realloc-interior", "16 bytes inside the malloc'ed block of 112 bytes at 0x";
}

#[test]
fn block_of_another_allocator_is_passed_on() {
    for mode in Mode::ALL {
        let outcome = run("other-allocator", mode).ok();
        assert!(outcome.stdout.ends_with("after\nok\n"), "{outcome}");
        if mode != Mode::Leaks {
            assert_eq!(outcome.stderr, "", "{outcome}");
        }
    }
}
