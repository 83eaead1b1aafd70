//! The examples do what they say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the examples, built as this test was.
fn examples() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("this program has a path");
        // target/PROFILE/deps/this
        let profile = test.ancestors().nth(2).expect("cargo builds tests in deps");
        let target = profile
            .parent()
            .expect("a profile's folder is in the target folder");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "build",
                "--quiet",
                "--examples",
                "--package",
                "dunegc",
                "--target-dir",
            ])
            .arg(target);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        if cfg!(feature = "paranoid") {
            cargo.args(["--features", "paranoid"]);
        }
        let status = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the examples do not build");
        profile.join("examples")
    })
}

fn check(name: &str, expected: &[&str]) {
    let output = Command::new(examples().join(name))
        .output()
        .expect("the example runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{name}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{name}");
}

#[test]
fn hello() {
    check(
        "hello",
        &[
            "collected and owned memory, side by side",
            "sum: 499500000",
            "long list: 499999500000",
            "collections: some",
            "allocated more than 30 MB: true",
            "heap less than that: true",
        ],
    );
}

#[test]
fn graph() {
    check(
        "graph",
        &[
            "kept ring: 1000 of 1000 nodes reachable",
            "at least 40 of 50 lost rings are collected: true",
        ],
    );
}

#[test]
fn weak_cache() {
    check(
        "weak_cache",
        &[
            "computed 1000 entries for 2001 look-ups",
            "after a collection fewer than 200 are left: true",
            "the favourite is one of them: true",
            "entry 7, costly...",
        ],
    );
}

#[test]
fn finalizers() {
    check(
        "finalizers",
        &[
            "more than 800 of 1000 connections closed: true",
            "closed twice: 0",
            "on the thread that opened them: 0",
            "transports dropped before their connections: 0",
        ],
    );
}

#[test]
fn threads() {
    check(
        "threads",
        &[
            "sum: 19999900000 of 19999900000",
            "longest name: thread 3 iii",
            "collections: some",
        ],
    );
}
