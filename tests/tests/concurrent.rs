//! Collections beside the running program: threads rearrange a graph meanwhile, and nothing reachable may go.
//! `cargo xtask test --only concurrent` runs this also with a library that marks again and compares after each collection.

use dunegc_tests::{Mode, Run, compile};

/// Runs the mutators; how many collections there were.
fn mutators(threads: usize, settings: &[(&str, &str)]) -> u64 {
    let mut run = Run::new(compile("mutators"))
        .arg(threads.to_string())
        .arg("4")
        .mode(Mode::Malloc)
        .no_zeal()
        .limit(120)
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_MIN_HEAP", "1M");
    for (name, value) in settings {
        run = run.env(name, value);
    }
    let outcome = run.ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    let count = outcome.stdout.trim().strip_prefix("collections ");
    let count = count.and_then(|n| n.parse().ok());
    println!("{threads} threads, {settings:?}: {count:?} collections");
    count.unwrap_or_else(|| panic!("no number of collections: {outcome}"))
}

#[test]
fn one_thread() {
    assert!(mutators(1, &[]) >= 10);
}

#[test]
fn four_threads() {
    assert!(mutators(4, &[]) >= 10);
}

#[test]
fn many_threads() {
    assert!(mutators(40, &[]) >= 5);
}

#[test]
fn collections_all_the_time() {
    assert!(mutators(2, &[("DUNEGC_ZEAL", "50")]) >= 50);
}

#[test]
fn one_marker_and_four() {
    assert!(mutators(2, &[("DUNEGC_MARKERS", "1")]) >= 10);
    assert!(mutators(2, &[("DUNEGC_MARKERS", "4")]) >= 10);
}

/// Without a source of written pages collections stop the program for their whole duration.
#[test]
fn without_a_source() {
    assert!(mutators(2, &[("DUNEGC_DIRTY", "none")]) >= 10);
}

/// Collections that keep the marks of the last one, with the program stopped.
#[test]
fn generational_without_running_beside() {
    let settings = [("DUNEGC_CONCURRENT", "no"), ("DUNEGC_GENERATIONAL", "yes")];
    assert!(mutators(1, &settings) >= 10);
    assert!(mutators(4, &settings) >= 10);
}

/// References from objects that earlier collections marked, on pages that are not written again.
#[test]
fn old_objects_that_refer_to_new_ones() {
    for concurrent in ["yes", "no"] {
        let outcome = Run::new(compile("old_to_new"))
            .arg("4")
            .mode(Mode::Malloc)
            .no_zeal()
            .limit(120)
            .env("DUNEGC_CONCURRENT", concurrent)
            .env("DUNEGC_GENERATIONAL", "yes")
            .ok();
        println!("{concurrent}: {}", outcome.stdout);
    }
}

#[test]
fn reclaim() {
    assert!(mutators(2, &[("DUNEGC_MODE", "reclaim")]) >= 5);
}

/// Processes that fork in the middle of it collect on in the child.
#[test]
fn forks_go_on() {
    for case in ["allocating", "collecting", "alone"] {
        Run::new(compile("fork"))
            .arg(case)
            .mode(Mode::Reclaim)
            .no_zeal()
            .limit(120)
            .env("DUNEGC_CONCURRENT", "yes")
            .env("DUNEGC_MIN_HEAP", "256K")
            .ok();
    }
}
