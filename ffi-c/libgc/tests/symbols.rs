//! What the library exports is exactly the list in `exports.txt`: functions as functions, variables as variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library, built from the sources as they are. Cargo does not build a package's cdylib for its integration tests.
fn library(package: &str, file: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    let folder = exe.ancestors().nth(2).expect("target/PROFILE/deps");
    let target = folder.parent().expect("target/PROFILE");
    let run = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--lib"])
        .args(["--profile", "dev", "--target-dir"])
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(run.success());
    target.join("debug").join(file)
}

/// Names with whether they are functions, of lines "name sort".
fn symbols(text: &str) -> BTreeMap<&str, bool> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name");
            let sort = words.next().expect("a sort");
            (name, sort == "T" || sort == "W")
        })
        .collect()
}

#[test]
fn exported_symbols() {
    let nm = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library("dunegc-libgc", "libgc.so"))
        .output()
        .expect("nm runs");
    let text = String::from_utf8(nm.stdout).expect("names are ASCII");
    let got = symbols(&text);
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("exports.txt");
    let list = std::fs::read_to_string(list).expect("the list");
    let expected = symbols(&list);
    assert!(
        expected.len() > 280,
        "the list has {} lines",
        expected.len()
    );
    let missing: Vec<_> = expected.keys().filter(|s| !got.contains_key(*s)).collect();
    let extra: Vec<_> = got.keys().filter(|s| !expected.contains_key(*s)).collect();
    let other: Vec<_> = expected
        .iter()
        .filter(|(name, sort)| got.get(*name).is_some_and(|s| s != *sort))
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && other.is_empty(),
        "missing: {missing:?}\nexported but not in exports.txt: {extra:?}\nfunction or variable: {other:?}"
    );
}

#[test]
fn dynamic_section() {
    let readelf = Command::new("readelf")
        .arg("-dW")
        .arg(library("dunegc-libgc", "libgc.so"))
        .output()
        .expect("readelf runs");
    let text = String::from_utf8(readelf.stdout).expect("ASCII");
    for wanted in ["[libgc.so.1]", "NODELETE", "NOW", "STATIC_TLS"] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
}

/// As Debian's library of this name does.
#[test]
fn operators_of_cxx() {
    let library = library("dunegc-libgccpp", "libgccpp.so");
    let nm = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(&library)
        .output()
        .expect("nm runs");
    let text = String::from_utf8(nm.stdout).expect("names are ASCII");
    let got: Vec<&str> = symbols(&text).into_keys().collect();
    let expected = [
        "_Z18GC_throw_bad_allocv",
        "_ZdaPv",
        "_ZdaPvm",
        "_ZdlPv",
        "_ZdlPvm",
        "_Znam",
        "_Znwm",
        "_end",
    ];
    assert_eq!(got, expected);
    let readelf = Command::new("readelf")
        .arg("-dW")
        .arg(&library)
        .output()
        .expect("readelf runs");
    let text = String::from_utf8(readelf.stdout).expect("ASCII");
    for wanted in ["[libgccpp.so.1]", "[libgc.so.1]", "[libstdc++.so.6]"] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
}
