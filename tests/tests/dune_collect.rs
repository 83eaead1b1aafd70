//! Collections beside a program in guest mode, with what its own page tables know of writes. `cargo xtask test --only concurrent` runs this with a
//! library that marks again and compares after each collection.

use std::path::Path;

use dunegc_tests::{Mode, Run, compile, library, preload_dune};

/// Runs a program under both libraries. It stays in guest mode, and the source stays the one that was asked for.
fn collect(run: Run, name: &str) {
    let Some(dune) = preload_dune() else { return };
    for (source, flush) in [("dune", ""), ("dune-wp", ""), ("dune-wp", "full")] {
        let run = run.clone().env("DUNEGC_DIRTY", source);
        collect_with(
            run.env("DUNE_FLUSH", flush),
            &dune,
            &format!("{name}, {source}"),
        );
    }
}

fn collect_with(run: Run, dune: &Path, name: &str) {
    let both = format!("{}:{}", dune.display(), library().display());
    let outcome = run
        .mode(Mode::Malloc)
        .no_zeal()
        .limit(300)
        .env("LD_PRELOAD", both)
        .env("DUNE", "stats")
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_MIN_HEAP", "1M")
        .ok();
    // Nothing of the collector's: no other source, no lost object.
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{outcome}");
    assert!(lines[0].starts_with("dune: inside at the end"), "{outcome}");
    let count = outcome.stdout.split("collections").nth(1);
    let count = count.map(|n| n.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>());
    println!("{name}: {count:?} collections");
    assert!(matches!(count, Some(Ok(5..))), "{outcome}");
}

#[test]
fn graphs_that_change_meanwhile() {
    // Phases that begin and end at other moments find what is lost sooner.
    for (threads, phases) in [("1", "7"), ("4", "0"), ("4", "7")] {
        let run = Run::new(compile("mutators")).args([threads, "3"]);
        collect(run.env("DUNEGC_ZEAL_PHASES", phases), "mutators");
    }
}

#[test]
fn gcbench() {
    let program = dunegc_tests::compile_benchmark("gcbench", true);
    collect(Run::new(&program), "GCBench");
    let moved = Run::new(program).env("DUNEGC_ZEAL_PHASES", "7");
    collect(moved, "GCBench, phases moved");
}

/// The other benchmarks, smaller than they are measured.
#[test]
fn lists_maps_and_documents() {
    for (name, args) in [
        ("list", ["--slots", "1000"]),
        ("hashmap", ["--live", "300000"]),
        ("xml", ["--parses", "12"]),
    ] {
        let program = dunegc_tests::compile_benchmark(name, true);
        collect(Run::new(program).args(args), name);
    }
}
