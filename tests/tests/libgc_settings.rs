//! Settings, callbacks, environment variables, debugging aids and bad input of the Boehm interface.

use std::collections::BTreeMap;

use dunegc_tests::{Outcome, oracle};

#[test]
fn settings() {
    oracle("settings.c").same();
}

#[test]
fn settings_that_are_compiled_in() {
    oracle("initial.c").same();
}

/// What no other program calls.
#[test]
fn the_rest() {
    oracle("rest.c").same();
    let outcome = oracle("rest.c").arg("exclusions").own();
    assert_eq!(outcome.stdout, "exclusions forgotten: all\n", "{outcome}");
}

#[test]
fn callbacks() {
    oracle("callbacks.c").same();
}

#[test]
fn abort_on_oom() {
    oracle("callbacks.c").arg("abort").same();
}

#[test]
fn incremental() {
    oracle("incremental.c").same();
}

#[test]
fn incremental_with_manual_marks() {
    oracle("incremental.c").arg("manual").same();
}

/// Linux says without side effects which pages were written: from 6.7 on.
fn tells_of_writes() -> bool {
    let release =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

/// Large heaps are collected beside the program of one thread without being asked for it, unless that is refused.
#[test]
fn large_heaps_beside_the_program() {
    let program = || oracle("large.c").env("DUNEGC_LOG", "gc");
    program().same();
    let beside = |outcome: &Outcome| {
        let stops = outcome
            .stderr
            .lines()
            .filter_map(|l| l.split_once(" stops="));
        stops.filter(|(_, n)| !n.starts_with("1 ")).count()
    };
    let chosen = ["DUNEGC_TEST_CONCURRENT", "DUNEGC_TEST_GENERATIONAL"];
    if chosen.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let outcome = program().own();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    assert_eq!(
        beside(&outcome) > 1,
        tells_of_writes() && cores > 1,
        "{outcome}"
    );
    for refusal in [("DUNEGC_CONCURRENT", "no"), ("GC_DISABLE_INCREMENTAL", "1")] {
        let outcome = program().env(refusal.0, refusal.1).own();
        assert_eq!(beside(&outcome), 0, "{outcome}");
    }
}

#[test]
fn checks_of_pointer_arithmetic() {
    oracle("checks.c").same();
}

#[test]
fn bad_input() {
    oracle("bad_input.c").same();
}

/// What libgc1 leaves undefined, or asserts in builds of its own only.
#[test]
fn misuse() {
    let outcome = oracle("misuse.c").own();
    assert!(outcome.status.success(), "{outcome}");
    assert_eq!(outcome.stdout, include_str!("../c/libgc/misuse.txt"));
}

#[test]
fn prints() {
    oracle("prints.c").stderr(str::to_owned).same();
}

/// The source positions in a text, and whether there are many of each: their number is the collector's choice.
fn positions(text: &str) -> String {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for word in text.split([' ', '(', ',', ')', '\n']) {
        if let Some((file, line)) = word.rsplit_once(':')
            && file.ends_with(".c")
            && line.parse::<u32>().is_ok()
        {
            *found.entry(word).or_default() += 1;
        }
    }
    found
        .iter()
        .map(|(position, count)| {
            let many = if *count > 5 { "often" } else { "seldom" };
            format!("{position} {many}\n")
        })
        .collect()
}

#[test]
fn leaks() {
    oracle("leaks.c").stderr(positions).same();
}

#[test]
fn leaks_by_environment() {
    oracle("leaks.c")
        .env("GC_FIND_LEAK", "1")
        .stderr(positions)
        .same();
}

/// libgc1 does not ask.
#[test]
fn leaks_that_the_program_describes() {
    let outcome = oracle("describe.c").own();
    assert!(
        outcome.stdout == "done\n" && outcome.stderr.contains("(my type 7)"),
        "{outcome}"
    );
}

#[test]
fn leak_detector() {
    oracle("leak_detector.c").stderr(positions).same();
}

#[test]
fn debugging_allocators() {
    oracle("debug.c").stderr(positions).same();
}

/// Debian's library is built without them.
#[test]
fn back_pointers() {
    let outcome = oracle("backptr.c").own();
    assert!(outcome.status.success(), "{outcome}");
    assert_eq!(outcome.stdout, include_str!("../c/libgc/backptr.txt"));
    for line in [
        "composite object, ",
        "offset 8 in object:",
        "backptr.c:",
        "levels of pointers from root at 0x",
        "****Chosen address 0x",
    ] {
        assert!(outcome.stderr.contains(line), "{line}: {outcome}");
    }
}

#[test]
fn smashed_objects() {
    for what in ["0", "1", "2", "collect"] {
        oracle("debug.c").arg(what).stderr(positions).same();
    }
}

#[test]
fn environment() {
    oracle("environment.c").same();
    for (name, value) in [
        ("GC_INITIAL_HEAP_SIZE", "32000000"),
        ("GC_INITIAL_HEAP_SIZE", "40M"),
        ("GC_INITIAL_HEAP_SIZE", "32768k"),
        ("GC_MAXIMUM_HEAP_SIZE", "20M"),
        ("GC_MAXIMUM_HEAP_SIZE", "1G"),
        ("GC_FREE_SPACE_DIVISOR", "7"),
        ("GC_FULL_FREQUENCY", "3"),
        ("GC_PAUSE_TIME_TARGET", "12"),
        ("GC_DONT_GC", "1"),
        ("GC_MARKERS", "1"),
        ("GC_NPROCS", "1"),
        ("GC_ALL_INTERIOR_POINTERS", "1"),
        ("GC_FIND_LEAK", "1"),
        ("GC_ENABLE_INCREMENTAL", "1"),
        ("GC_DISABLE_INCREMENTAL", "1"),
        ("GC_FORCE_UNMAP_ON_GCOLLECT", "1"),
        ("GC_USE_ENTIRE_HEAP", "1"),
        ("GC_RETRY_SIGNALS", "1"),
        ("GC_UNMAP_THRESHOLD", "2"),
        ("GC_LARGE_ALLOC_WARN_INTERVAL", "1"),
        ("GC_NO_BLACKLIST_WARNING", "1"),
        ("GC_IGNORE_GCJ_INFO", "1"),
        ("GC_LOG_FILE", "/dev/null"),
    ] {
        oracle("environment.c").env(name, value).same();
    }
}

/// Variables that ask for reports: there are some, and the program does what it does without.
#[test]
fn reports_by_environment() {
    fn some(text: &str) -> String {
        format!("some: {}", !text.is_empty())
    }
    for name in [
        "GC_PRINT_STATS",
        "GC_PRINT_VERBOSE_STATS",
        "GC_PRINT_ADDRESS_MAP",
    ] {
        oracle("environment.c").env(name, "1").stderr(some).same();
    }
}
