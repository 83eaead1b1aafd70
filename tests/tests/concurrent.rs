//! Collections beside the running program: threads rearrange a graph meanwhile, and nothing reachable may go.
//! `cargo xtask test --only concurrent` runs this also with a library that marks again and compares after each collection.

use std::fs;

use dunegc_tests::{Mode, Run, compile, scratch};
use serde_json::Value;

/// Runs the mutators; how many collections there were.
fn mutators(threads: usize, settings: &[(&str, &str)]) -> u64 {
    let zeal = settings.iter().any(|(name, _)| *name == "DUNEGC_ZEAL");
    let mut run = Run::new(compile("mutators"))
        .arg(threads.to_string())
        .arg("4")
        .arg(if zeal { "50" } else { "10" })
        .mode(Mode::Malloc)
        .no_zeal()
        .limit(120)
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_MIN_HEAP", "1M");
    for (name, value) in settings {
        run = run.env(name, value);
    }
    let outcome = run.ok();
    assert!(outcome.lines().is_empty(), "{outcome}");
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

/// Phases that wait, stops and harvests where there are none otherwise, harvests that fail, collections that keep marks.
#[test]
fn phases_moved() {
    for seed in ["1", "2", "3", "4", "5", "6"] {
        assert!(mutators(2, &[("DUNEGC_ZEAL_PHASES", seed)]) >= 10);
    }
}

#[test]
fn phases_moved_and_collections_all_the_time() {
    for seed in ["7", "8"] {
        let settings = [("DUNEGC_ZEAL_PHASES", seed), ("DUNEGC_ZEAL", "50")];
        assert!(mutators(3, &settings) >= 20);
    }
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
    for (concurrent, seed) in [("yes", "0"), ("yes", "9"), ("no", "0")] {
        let outcome = Run::new(compile("old_to_new"))
            .arg("4")
            .mode(Mode::Malloc)
            .no_zeal()
            .limit(120)
            .env("DUNEGC_CONCURRENT", concurrent)
            .env("DUNEGC_GENERATIONAL", "yes")
            .env("DUNEGC_ZEAL_PHASES", seed)
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
            .limit(400)
            .env("DUNEGC_CONCURRENT", "yes")
            .env("DUNEGC_MIN_HEAP", "256K")
            .ok();
    }
}

/// A fork does not wait for the end of the marking beside the program: some come in the middle of it.
#[test]
fn forks_in_the_middle_of_marking() {
    for seed in ["0", "10"] {
        let dir = scratch("fork-beside");
        let outcome = Run::new(compile("fork_beside"))
            .arg("4")
            .dir(&dir)
            .mode(Mode::Malloc)
            .no_zeal()
            .env("DUNEGC_CONCURRENT", "yes")
            .env("DUNEGC_ZEAL_PHASES", seed)
            .env("DUNEGC_TRACE", "t.json")
            .ok();
        assert!(outcome.lines().is_empty(), "{outcome}");
        let text = fs::read_to_string(dir.join("t.json")).expect("the trace");
        let mut events: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        events.retain(|e| e["ts"].is_f64());
        events.sort_by(|a, b| {
            a["ts"]
                .as_f64()
                .partial_cmp(&b["ts"].as_f64())
                .expect("times")
        });
        let (mut marking, mut forks, mut between) = (false, 0, 0);
        for e in &events {
            if e["name"] == "mark_concurrent" || e["name"] == "remark" {
                marking = e["ph"] == "B";
            } else if e["name"] == "fork" {
                forks += 1;
                between += u32::from(marking);
            }
        }
        assert!(between > 0, "{forks} forks, none while marking\n{outcome}");
        fs::remove_dir_all(dir).expect("remove the traces");
    }
}

/// Under the source mprotect no system call of the program fails, and its handlers for SIGSEGV are called for its own faults only.
#[test]
fn mprotect_is_not_noticed() {
    for case in ["pipe", "libc", "syscall", "wait", "handler", "long"] {
        for seed in ["0", "11"] {
            let outcome = Run::new(compile("kernel_writes"))
                .arg(case)
                .mode(Mode::Malloc)
                .no_zeal()
                .env("DUNEGC_CONCURRENT", "yes")
                .env("DUNEGC_DIRTY", "mprotect")
                .env("DUNEGC_MIN_HEAP", "1M")
                .env("DUNEGC_ZEAL_PHASES", seed)
                .ok();
            assert!(outcome.lines().is_empty(), "{outcome}");
            let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
            let collections: u64 = words[1].parse().expect("a number");
            assert!(collections >= 2, "{outcome}");
        }
    }
}

#[test]
fn mutators_under_mprotect() {
    for seed in ["0", "12"] {
        let settings = [("DUNEGC_DIRTY", "mprotect"), ("DUNEGC_ZEAL_PHASES", seed)];
        assert!(mutators(2, &settings) >= 5);
    }
}
