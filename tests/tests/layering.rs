//! The dependency order of the crates, and the size of the source files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dunegc_tests::{Run, workspace};

/// Lowest first. A crate may depend on those before it, never on those after it.
const ORDER: &[&str] = &[
    "dune-sys",
    "libdune",
    "preload",
    "preload",
    "gc",
    "ffi-c",
    "libgc",
    "libgccpp",
    "bench-gcbench",
];
/// May depend on anything; nothing depends on them.
const LEAVES: &[&str] = &["cli", "tests", "xtask"];

/// Folder of each workspace crate, and the folders of the workspace crates that it depends on.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Run::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .dir(workspace())
        .ok();
    let metadata: serde_json::Value =
        serde_json::from_str(&output.stdout).expect("cargo metadata prints JSON");
    let folder = |path: &str| {
        let path = Path::new(path);
        path.file_name()
            .expect("a crate has a folder")
            .to_string_lossy()
            .into_owned()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let manifest = package["manifest_path"].as_str().expect("manifest_path");
            let name = folder(manifest.trim_end_matches("/Cargo.toml"));
            let needs = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter_map(|dependency| dependency["path"].as_str())
                .map(folder)
                .filter(|dependency| *dependency != name)
                .collect();
            (name, needs)
        })
        .collect()
}

/// What is wrong with `dependencies`, one line each.
fn violations(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let level = |name: &str| ORDER.iter().position(|known| *known == name);
    let mut wrong = Vec::new();
    for (name, needs) in dependencies {
        if level(name).is_none() && !LEAVES.contains(&name.as_str()) {
            wrong.push(format!(
                "{name}: not in the dependency order; add it to this test"
            ));
        }
        for need in needs {
            if LEAVES.contains(&need.as_str()) {
                wrong.push(format!(
                    "{name} depends on {need}, on which nothing may depend"
                ));
            } else if let (Some(own), Some(other)) = (level(name), level(need))
                && other >= own
            {
                wrong.push(format!("{name} depends on {need}, which lies above it"));
            }
        }
    }
    wrong
}

#[test]
fn dependency_order() {
    let found = dependencies();
    assert!(
        found.contains_key("gc") && found.contains_key("ffi-c"),
        "{found:?}"
    );
    assert_eq!(violations(&found), Vec::<String>::new());
}

#[test]
fn dependency_order_sees_violations() {
    let upward = BTreeMap::from([("gc".to_owned(), vec!["ffi-c".to_owned()])]);
    let leaf = BTreeMap::from([("ffi-c".to_owned(), vec!["tests".to_owned()])]);
    let unknown = BTreeMap::from([("stray".to_owned(), vec![])]);
    for wrong in [upward, leaf, unknown] {
        assert_eq!(violations(&wrong).len(), 1, "{wrong:?}");
    }
}

/// Source files below `dir`, build output left out.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("read a source folder") {
        let path = entry.expect("read a source folder").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if [".rs", ".c", ".cpp", ".h"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            found.push(path);
        }
    }
}

#[test]
fn no_file_above_600_lines() {
    let mut files = Vec::new();
    sources(workspace(), &mut files);
    assert!(files.len() > 10, "found only {files:?}");
    let long: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("read a source file");
            let lines = text.lines().count();
            // A file may be longer for a reason that its first lines give.
            let reason = text
                .lines()
                .take(10)
                .any(|line| line.contains("Longer than 600 lines:"));
            (lines > 600 && !reason).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
