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

fn misuse(case: &str) {
    for mode in [Mode::Malloc, Mode::Reclaim] {
        let outcome = run(case, mode).output();
        assert_eq!(outcome.code(), 128 + libc::SIGABRT, "{outcome}");
        assert!(!outcome.stdout.contains("after"), "{outcome}");
        names_the_address(&outcome);

        let outcome = run(case, mode).env("DUNEGC_ON_ERROR", "abort").output();
        assert_eq!(outcome.code(), 128 + libc::SIGABRT, "{outcome}");

        let outcome = run(case, mode).env("DUNEGC_ON_ERROR", "warn").ok();
        assert!(outcome.stdout.ends_with("after\nok\n"), "{outcome}");
        names_the_address(&outcome);
    }
}

macro_rules! misuses {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                misuse($name);
            }
        )*
    };
}

misuses! {
    double_free: "double",
    double_free_of_a_large_block: "double-large",
    double_free_across_threads: "double-other-thread",
    double_free_in_another_thread: "double-there",
    interior_pointer: "interior",
    interior_pointer_at_an_odd_address: "interior-odd",
    interior_pointer_of_a_large_block: "interior-large",
    stack_pointer: "foreign-stack",
    static_data_pointer: "foreign-data",
    mapping_pointer: "foreign-mmap",
    unmapped_pointer: "foreign-unmapped",
    realloc_of_freed_memory: "realloc-freed",
    realloc_of_an_interior_pointer: "realloc-interior",
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
