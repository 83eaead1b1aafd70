//! What programs and systems do to the source of written pages while collections run beside the program: it falls back or recovers with one line,
//! and nothing reachable goes.

use dunegc_tests::{Mode, Outcome, Run, compile};

fn run(case: &str, source: &str, seed: &str) -> Outcome {
    let outcome = Run::new(compile("dirty_bad"))
        .arg(case)
        .mode(Mode::Malloc)
        .no_zeal()
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_DIRTY", source)
        .env("DUNEGC_MIN_HEAP", "1M")
        .env("DUNEGC_ZEAL_PHASES", seed)
        .ok();
    let count = outcome.stdout.trim().strip_prefix("collections ");
    let count: u64 = count.and_then(|n| n.parse().ok()).expect("a number");
    assert!(count >= 5 || case == "none-at-all", "{outcome}");
    outcome
}

/// Standard error is one line that holds `words`.
fn one_line(case: &str, source: &str, words: &[&str]) {
    for seed in ["0", "21"] {
        let outcome = run(case, source, seed);
        let lines = outcome.lines();
        assert_eq!(lines.len(), 1, "{outcome}");
        for word in words {
            assert!(lines[0].contains(word), "{word:?} is missing\n{outcome}");
        }
    }
}

fn silent(case: &str, source: &str) {
    for seed in ["0", "22"] {
        let outcome = run(case, source, seed);
        assert!(outcome.lines().is_empty(), "{outcome}");
    }
}

#[test]
fn forbidden_from_the_start() {
    let words = ["DUNEGC_DIRTY=pagemap-scan does not work here", "EPERM"];
    one_line("forbidden", "pagemap-scan", &words);
    silent("forbidden", "auto");
}

#[test]
fn killed_for_it() {
    let words = ["does not work here", "a seccomp filter kills"];
    one_line("killed", "pagemap-scan", &words);
    silent("killed", "auto");
}

/// A filter for all threads comes in the middle of a collection, or between two.
#[test]
fn killed_for_it_later() {
    let words = ["pagemap-scan stopped working", "a seccomp filter kills"];
    one_line("killed-later", "auto", &words);
}

/// Only some of the threads that may collect have the filter.
#[test]
fn killed_for_it_in_one_thread() {
    for seed in ["0", "23", "24"] {
        let outcome = run("killed-alone", "auto", seed);
        assert!(outcome.lines().len() <= 1, "{outcome}");
    }
}

/// The program's own limit is no obstacle.
#[test]
fn no_descriptors_left() {
    silent("no-descriptors", "pagemap-scan");
}

/// The system's is, for any collection: one line about the source, one about the collections.
#[test]
fn no_descriptors_at_all() {
    let outcome = run("none-at-all", "pagemap-scan", "0");
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{outcome}");
    assert!(lines[0].contains("pagemap-scan does not work here (userfaultfd: EMFILE"));
    assert!(lines[1].contains("nothing is collected"), "{outcome}");
}

#[test]
fn descriptors_closed() {
    one_line("closefrom", "auto", &["closed or replaced", "opened again"]);
}

#[test]
fn descriptors_replaced() {
    one_line("dup2", "auto", &["closed or replaced", "opened again"]);
}

#[test]
fn the_program_uses_userfaultfd_itself() {
    silent("userfaultfd", "auto");
}
