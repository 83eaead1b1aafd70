//! The runner with a library under test that works, and with broken ones: a broken one must be seen.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Builds the fixture with `define` and runs the hash map with it and with glibc.
fn run(name: &str, define: Option<&str>, more: &[&str]) -> (Output, PathBuf) {
    let variants = ["--variants", "collected,malloc", "--bars"];
    run_with(name, define, &[&variants, more].concat())
}

fn run_with(name: &str, define: Option<&str>, more: &[&str]) -> (Output, PathBuf) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let library = dir.join("libbump.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bump.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-shared", "-fPIC", "-fno-builtin", "-o"])
        .arg(&library)
        .arg(source)
        .args(define);
    assert!(
        gcc.status()
            .expect("gcc is needed: apt-get install gcc")
            .success()
    );
    let json = dir.join("out.json");
    let _ = std::fs::remove_file(&json);
    let mut runner = Command::new(env!("CARGO_BIN_EXE_bench-gcbench"));
    runner
        .args([
            "run",
            "--quick",
            "--runs",
            "1",
            "--only",
            "hashmap",
            "--peers",
            "glibc,dunegc",
        ])
        .args(["--max-load", "99"])
        .arg("--dunegc")
        .arg(&library)
        .arg("--binaries")
        .arg(dir.join("bin"))
        .arg("--json")
        .arg(&json)
        .args(more);
    (runner.output().unwrap(), json)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_sound_library_is_measured() {
    let (output, json) = run("sound", None, &[]);
    assert!(output.status.success(), "{}", text(&output));
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let outcomes = results["outcomes"].as_array().unwrap();
    assert_eq!(
        outcomes.len(),
        3,
        "collected dunegc, malloc glibc, malloc dunegc: {}",
        text(&output)
    );
    for outcome in outcomes {
        let sample = &outcome["samples"][0];
        assert!(sample["value"].as_f64().unwrap() > 1.0, "{outcome}");
        assert!(sample["rss_mib"].as_f64().unwrap() > 5.0, "{outcome}");
    }
    // A library that never frees needs more memory than one that does: the preload took effect.
    let rss = |k: usize| outcomes[k]["samples"][0]["rss_mib"].as_f64().unwrap();
    assert!(rss(2) > 1.5 * rss(1), "{}", text(&output));
}

#[test]
fn overlapping_objects_give_a_wrong_checksum() {
    let (output, _) = run("overlap", Some("-DOVERLAP"), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("hashmap collected dunegc failed: checksum"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_crash_is_reported_and_the_others_still_run() {
    let (output, _) = run("crash", Some("-DCRASH"), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let text = text(&output);
    assert!(
        text.contains("hashmap collected dunegc failed: signal: 11"),
        "{text}"
    );
    assert!(text.contains("1 of 3 contestants failed"), "{text}");
}

#[test]
fn a_program_that_hangs_is_killed() {
    let (output, _) = run("hang", Some("-DHANG"), &["--timeout", "5"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("killed: still running after 5 s"),
        "{}",
        text(&output)
    );
}

/// The only run of `setup` that was watched in the way of `watch`, in the results of `run --pauses`.
fn pauses_of(json: &Path, setup: &str, watch: &str) -> serde_json::Value {
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let outcomes = results["outcomes"].as_array().unwrap();
    let found = outcomes
        .iter()
        .find(|o| o["setup"] == setup && o["watch"] == watch)
        .unwrap_or_else(|| panic!("no {setup} {watch}"));
    found["runs"][0].clone()
}

/// Stalls of 60 ms are seen by the stamps, in the longest stall, the histogram and the utilisation, and not by the
/// clock, whose thread does not allocate. Time in which another process has the CPU is taken out on both sides.
#[test]
fn allocations_that_sleep_are_seen_by_the_stamps_and_not_by_the_clock() {
    let (output, json) = run_with("stall", Some("-DSTALL"), &["--pauses"]);
    assert!(output.status.success(), "{}", text(&output));
    let stamps = |setup| pauses_of(&json, setup, "stamps")["seen"]["stamps"].clone();
    let stalls = stamps("dunegc");
    let longest = stalls["stall_max_ms"].as_f64().unwrap();
    assert!(longest >= 60.0, "{stalls}");
    // Windows of 5, 20, 50 and 200 ms; the first three lie inside one stall.
    let utilisation = |stamps: &serde_json::Value| {
        let of = |k: usize| stamps["mmu_without_waits"][k].as_f64().unwrap();
        [of(0), of(1), of(2), of(3)]
    };
    let [at_5, at_20, at_50, at_200] = utilisation(&stalls);
    assert_eq!([at_5, at_20], [0.0, 0.0], "{stalls}");
    assert!(at_50 < 0.05 && at_200 < 0.75, "{stalls}");
    let buckets: Vec<(f64, u64)> = serde_json::from_value(stalls["stalls"].clone()).unwrap();
    let last = buckets.last().unwrap().0;
    assert!(
        last >= longest * 1e6 * 0.999 && last <= longest * 1e6 * 1.04,
        "{last} ns, {longest} ms"
    );
    let allocations: u64 = buckets.iter().map(|(_, count)| count).sum();
    // Two rounds of 150 000 entries and 150 000 more, of two objects each, and the tables.
    assert!(
        (1_200_000..1_200_100).contains(&allocations),
        "{allocations}"
    );

    // 600 000 entries, so six stalls. A busy machine makes a few of its own.
    let long = |histogram: &serde_json::Value| {
        let buckets: Vec<(f64, u64)> = serde_json::from_value(histogram.clone()).unwrap();
        let long = buckets.iter().filter(|(upper, _)| *upper >= 60e6);
        long.map(|(_, count)| count).sum::<u64>()
    };
    assert!(long(&stalls["stalls"]) >= 6, "{stalls}");
    let sound = stamps("no-collector");
    assert!(long(&sound["stalls"]) < 4, "{sound}");
    let clock = pauses_of(&json, "dunegc", "clock")["seen"]["clock"].clone();
    let without_waits = clock["max_without_waits_ms"].as_f64().unwrap();
    assert!(long(&clock["gaps"]) < 4 || without_waits < 30.0, "{clock}");
    assert!(
        text(&output).contains("hashmap: longest single allocation"),
        "{}",
        text(&output)
    );
}
