//! The runner with a library under test that works, and with broken ones: a broken one must be seen.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Builds the fixture with `define` and runs the hash map with it and with glibc.
fn run(name: &str, define: Option<&str>, more: &[&str]) -> (Output, PathBuf) {
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
        .args([
            "--variants",
            "collected,malloc",
            "--max-load",
            "99",
            "--bars",
        ])
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
