//! The same command without the library and in every mode.

use crate::library::Mode;
use crate::run::{Outcome, Run};

/// Runs `run` without the library and in every mode; output and exit status must be the same.
///
/// In leaks mode standard error also holds the report, so only its standard output is compared.
pub fn compare(run: &Run) {
    compare_filtered(run, &Mode::ALL, str::to_owned);
}

/// As [`compare`], in the given modes, with `filter` applied to both outputs first: it removes what differs
/// from run to run, such as times and process ids.
pub fn compare_filtered(run: &Run, modes: &[Mode], filter: impl Fn(&str) -> String) {
    let plain = run.output();
    for &mode in modes {
        let under = run.clone().mode(mode).output();
        same("exit status", &plain, &under, plain.code(), under.code());
        let (expected, got) = (filter(&plain.stdout), filter(&under.stdout));
        same("standard output", &plain, &under, expected, got);
        if mode != Mode::Leaks {
            let (expected, got) = (filter(&plain.stderr), filter(&under.stderr));
            same("standard error", &plain, &under, expected, got);
        }
    }
}

/// Runs a program of `tests/c` in every mode; it must end well and print `ok` last.
pub fn in_modes(run: &Run) {
    for mode in Mode::ALL {
        let outcome = run.clone().mode(mode).ok();
        assert_eq!(outcome.stdout.lines().last(), Some("ok"), "{outcome}");
        if mode != Mode::Leaks {
            assert_eq!(unexpected(&outcome.stderr), "", "{outcome}");
        }
    }
}

/// What a program of `tests/c` may not print on standard error. With collections forced every few allocations, some start
/// while a thread waits for its vfork child, and are put off with a line that says so.
fn unexpected(stderr: &str) -> String {
    let forced = std::env::var_os("DUNEGC_TEST_ZEAL").is_some();
    let put_off = |line: &&str| forced && line.ends_with("this collection is put off");
    stderr.lines().filter(|line| !put_off(line)).collect()
}

fn same<T: PartialEq>(what: &str, plain: &Outcome, under: &Outcome, expected: T, got: T) {
    assert!(
        expected == got,
        "{what} differs under the library\n=== without\n{plain}\n=== with\n{under}"
    );
}
