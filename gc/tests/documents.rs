//! `docs/environment.md` and the parser know the same variables, values and defaults, and the same statistics.

use dunegc::config::{EXTRA_VARIABLES, OPTIONS};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("workspace")
        .join("docs")
}

fn read(name: &str) -> String {
    let path = docs().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every word of `text` that is spelt like a variable of ours.
fn variables(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    text.split(word)
        .filter(|w| w.starts_with("DUNEGC_") && w.len() > "DUNEGC_".len())
        .collect()
}

fn known() -> BTreeSet<&'static str> {
    OPTIONS
        .iter()
        .map(|o| o.name)
        .chain(EXTRA_VARIABLES.iter().copied())
        .collect()
}

#[test]
fn every_variable_has_a_section_an_example_and_its_row() {
    let text = read("environment.md");
    for name in known() {
        let section = text
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("no section for {name}"))
            .1;
        let section = section.split("\n### ").next().expect("a first part");
        assert!(
            section.contains(&format!("{name}=")),
            "no example of {name}"
        );
    }
    for o in OPTIONS {
        let anchor = o.name.to_lowercase();
        let row = format!(
            "| [{}](#{anchor}) | {} | `{}` |",
            o.name,
            o.expected.replacen('*', "`*`", 1),
            o.default
        );
        assert!(text.contains(&row), "missing or different row: {row}");
    }
}

#[test]
fn documents_mention_only_variables_that_exist() {
    // An example of a misspelt name, shown as such.
    let misspelt = "DUNEGC_MOD";
    for file in std::fs::read_dir(docs()).expect("docs") {
        let path = file.expect("docs").path();
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        for name in variables(&text) {
            let allowed = known().contains(name)
                || name == misspelt
                || name.starts_with("DUNEGC_TEST_")
                || name == "DUNEGC_TORTURE_SECONDS";
            assert!(allowed, "{}: {name} is no variable", path.display());
        }
    }
}

#[test]
fn every_statistic_is_documented() {
    let dir = std::env::temp_dir().join(format!("dunegc-documents-{}", std::process::id()));
    let path: &'static str = dir.to_str().expect("UTF-8").to_owned().leak();
    dunegc::stats::report(dunegc::config::StatsSink::Json(path.as_bytes()));
    let text = std::fs::read_to_string(&dir).expect("the report");
    std::fs::remove_file(&dir).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let fields: BTreeSet<&str> = report
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let document = read("environment.md");
    let table = document
        .split("| field | meaning |")
        .nth(1)
        .expect("the table of fields");
    let table = table.split("\n\n").next().expect("its end");
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(fields, documented);
}
