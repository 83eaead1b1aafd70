//! What the library exports is exactly the list in `exports.txt`.
mod common;
use common::*;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn exported_symbols() {
    let out = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let got: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let list = std::fs::read_to_string(crate_dir().join("exports.txt")).unwrap();
    let expected: BTreeSet<&str> = list
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    let (extra, missing): (Vec<_>, Vec<_>) = (
        got.difference(&expected).collect(),
        expected.difference(&got).collect(),
    );
    assert!(
        extra.is_empty() && missing.is_empty(),
        "exported but not in exports.txt: {extra:?}\nmissing: {missing:?}"
    );
}

#[test]
fn dynamic_section() {
    let out = Command::new("readelf")
        .arg("-dW")
        .arg(library())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    for flag in ["NODELETE", "BIND_NOW", "STATIC_TLS"] {
        assert!(text.contains(flag), "{flag} is missing:\n{text}");
    }
    // With DF_SYMBOLIC the library would see its own operator new instead of the program's.
    assert!(!text.contains("SYMBOLIC"), "{text}");
    assert!(!text.contains("libstdc++"), "{text}");
}
