//! Environment variables: bad values get one line and the default, statistics are written as asked.

use std::fs;

use dunegc_tests::{Mode, Run, compile, scratch, workspace};

/// The one line that a bad value gets: names the variable and the value, and what is expected.
fn complains(name: &str, value: &str, mentions: &[&str]) {
    let outcome = Run::new("/bin/echo")
        .arg("hello")
        .mode(Mode::Malloc)
        .env(name, value)
        .ok();
    assert_eq!(outcome.stdout, "hello\n", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    for word in [name, value].iter().chain(mentions) {
        assert!(
            outcome.stderr.contains(word),
            "{word:?} is not mentioned\n{outcome}"
        );
    }
}

#[test]
fn bad_values_get_one_line_each() {
    complains("DUNEGC_MODE", "fast", &["malloc", "reclaim", "leaks"]);
    complains("DUNEGC_STATS", "sometimes", &["json:"]);
    complains("DUNEGC_MAX_HEAP", "lots", &["M"]);
    complains("DUNEGC_MAX_HEAP", "-5M", &[]);
    complains("DUNEGC_MAX_HEAP", "999999999999999999999G", &[]);
    complains("DUNEGC_ON_ERROR", "explode", &["abort", "warn"]);
    complains("DUNEGC_ZEAL", "always", &["number"]);
    complains("DUNEGC_MARKERS", "-1", &["number"]);
    complains("DUNEGC_MARKERS", "1000000", &["64"]);
    complains("DUNEGC_SIGNAL", "9", &["34", "64"]);
    complains("DUNEGC_SIGNAL", "SIGUSR1", &["34", "64"]);
    complains("DUNEGC_LEAKS_EXITCODE", "999", &["255"]);
    complains("DUNEGC_LEAKS_SIGNAL", "9", &["signal"]);
    complains("DUNEGC_LOG", "gcc", &["gc or 1", "using 0"]);
}

/// Name, values and default of every variable of the library, as documented.
fn documented() -> Vec<[String; 3]> {
    let text = fs::read_to_string(workspace().join("docs/environment.md")).expect("the document");
    let rows = text.lines().filter(|line| line.starts_with("| [DUNEGC_"));
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0][1..].split(']').next().unwrap_or_default();
        [name, cells[1], cells[2]].map(|cell| cell.replace('`', ""))
    });
    // That one is for the command.
    let rows: Vec<_> = rows.filter(|row| row[0] != "DUNEGC_LIB").collect();
    assert!(rows.len() >= 24, "{rows:?}");
    rows
}

#[test]
fn an_empty_value_is_as_no_variable() {
    for [name, ..] in documented() {
        let outcome = Run::new("/bin/echo")
            .arg("hello")
            .mode(Mode::Malloc)
            .env(&name, "")
            .ok();
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("hello\n", ""),
            "{name}"
        );
    }
}

#[test]
fn every_variable_names_what_it_takes_and_what_is_used() {
    for [name, takes, default] in documented() {
        // Paths and lists take any text that is not too long.
        let any_text = takes.contains("shorter than") && !takes.contains("json:");
        let value = "x".repeat(if any_text { 2048 } else { 1 });
        let outcome = Run::new("/bin/echo")
            .arg("hello")
            .mode(Mode::Malloc)
            .env(&name, &value)
            .ok();
        assert_eq!(outcome.stdout, "hello\n", "{outcome}");
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        let ends = format!(": expected {takes}; using {default}");
        assert!(
            lines.len() == 1 && lines[0].contains(&name) && lines[0].ends_with(&ends),
            "{ends}\n{outcome}"
        );
    }
}

#[test]
fn a_misspelt_variable_is_named() {
    complains("DUNEGC_MAX_HAEP", "DUNEGC_MAX_HEAP", &["DUNEGC_MAX_HAEP"]);
}

#[test]
fn good_values_are_silent() {
    for (name, value) in [
        ("DUNEGC_MAX_HEAP", "256M"),
        ("DUNEGC_MAX_HEAP", "2G"),
        ("DUNEGC_ON_ERROR", "warn"),
        ("DUNEGC_ZEAL", "1000"),
        ("DUNEGC_MARKERS", "1"),
        ("DUNEGC_SIGNAL", "40"),
        ("DUNEGC_RECLAIM_ONLY", "libfoo.so,libbar.so"),
        ("DUNEGC_LEAKS_EXITCODE", "23"),
        ("DUNEGC_LOG", "0"),
        ("DUNEGC_TRACE", "none"),
    ] {
        let outcome = Run::new("/bin/echo")
            .arg("hello")
            .mode(Mode::Malloc)
            .env(name, value)
            .ok();
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("hello\n", ""),
            "{outcome}"
        );
    }
}

#[test]
fn max_heap_is_kept() {
    let run = Run::new(compile("limits")).arg("exhaust").no_zeal();
    for limit in ["64M", "65536K", "67108864"] {
        let outcome = run
            .clone()
            .mode(Mode::Malloc)
            .env("DUNEGC_MAX_HEAP", limit)
            .ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    }
}

#[test]
fn statistics_on_standard_error() {
    let outcome = Run::new(compile("before_main"))
        .mode(Mode::Malloc)
        .env("DUNEGC_STATS", "1")
        .ok();
    assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    for word in ["collections", "max", "p99", "p50", "mark", "sweep", "live"] {
        assert!(
            outcome.stderr.contains(word),
            "{word} is missing\n{outcome}"
        );
    }
}

#[test]
fn statistics_as_json() {
    let file = scratch("stats").join("stats.json");
    let outcome = Run::new(compile("before_main"))
        .mode(Mode::Malloc)
        .env("DUNEGC_STATS", format!("json:{}", file.display()))
        .ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("ok\n", ""),
        "{outcome}"
    );
    let text = fs::read_to_string(&file).expect("the statistics file");
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    // before_main asks for three collections at each of four places, the last of them after exit handlers.
    let figure = |name: &str| {
        json[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} is missing\n{text}"))
    };
    assert!(figure("collections") >= 6, "{text}");
    assert!(
        figure("pause_max_ns") >= figure("pause_p50_ns") && figure("pause_p50_ns") > 0,
        "{text}"
    );
    assert!(
        figure("mark_ns") > 0 && figure("allocated_bytes") > 100_000,
        "{text}"
    );
    assert!(figure("rss_bytes") > 0, "{text}");
}

#[test]
fn statistics_that_cannot_be_written_get_one_line() {
    // Not a program that closes standard error before it ends, as those of coreutils do.
    let outcome = Run::new(compile("before_main"))
        .mode(Mode::Malloc)
        .env("DUNEGC_STATS", "json:/no/such/directory/stats.json")
        .ok();
    assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    assert!(
        outcome.stderr.contains("/no/such/directory/stats.json"),
        "{outcome}"
    );
}
