//! Mode `leaks`: what is reported, where, and the exit status.
mod common;
use common::*;
use std::path::PathBuf;
use std::process::Output;

const LEAKS: (&str, &str) = ("DUNEGC_MODE", "leaks");

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// The group whose stack contains `function`, from its headline to the empty line.
fn group<'t>(report: &'t str, kind: &str, function: &str) -> &'t str {
    let found = report
        .split("\n\n")
        .find(|g| g.starts_with(kind) && g.contains(function));
    found.unwrap_or_else(|| panic!("no {kind} leak from {function} in:\n{report}"))
}

#[test]
fn groups_with_stacks() {
    for level in ["-O0", "-O2"] {
        let o = preload(&build("leak.c", &[level]), &[], &[LEAKS]);
        let report = stderr(&o);
        assert_eq!(
            (o.status.code(), o.stdout.as_slice()),
            (Some(7), &b"ok\n"[..]),
            "{report}"
        );
        assert!(
            group(&report, "Direct", "in leak_block ")
                .starts_with("Direct leak of 336 bytes in 3 blocks"),
            "{report}"
        );
        assert!(
            group(&report, "Direct", "in leak_block ").contains("leak.c:17"),
            "{report}"
        );
        assert!(
            group(&report, "Direct", "in leak_list ")
                .starts_with("Direct leak of 48 bytes in 1 block "),
            "{report}"
        );
        assert!(
            group(&report, "Indirect", "in leak_list ")
                .starts_with("Indirect leak of 192 bytes in 4 blocks"),
            "{report}"
        );
        assert!(
            group(&report, "Direct", "in leak_cycle ").contains(" in 1 block "),
            "{report}"
        );
        assert!(
            group(&report, "Indirect", "in leak_cycle ").contains(" in 1 block "),
            "{report}"
        );
        assert!(report.contains(" leaked in 10 blocks."), "{report}");
        assert!(
            !report.contains("libdunegc"),
            "frames of the library itself are left out: {report}"
        );
    }
}

#[test]
fn silent_without_leaks() {
    let o = preload(
        &build("leak.c", &["-O1"]),
        &["none"],
        &[LEAKS, ("DUNEGC_LEAKS_EXITCODE", "23")],
    );
    assert_eq!(
        (o.status.code(), stderr(&o).as_str()),
        (Some(7), ""),
        "{}",
        text(&o)
    );
}

#[test]
fn exit_status_and_file() {
    let pattern = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("leaks-{}-%p.txt", std::process::id()));
    let env = [
        LEAKS,
        ("DUNEGC_LEAKS_EXITCODE", "23"),
        ("DUNEGC_LEAKS_FILE", pattern.to_str().unwrap()),
    ];
    let o = preload(&build("leak.c", &["-O1"]), &[], &env);
    // The program's buffered output is not lost.
    assert_eq!(
        (o.status.code(), o.stdout.as_slice(), stderr(&o).as_str()),
        (Some(23), &b"ok\n"[..], ""),
        "{}",
        text(&o)
    );
    let prefix = format!("leaks-{}-", std::process::id());
    let file = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| {
            p.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&prefix)
        })
        .expect("no report file");
    assert!(
        std::fs::read_to_string(file)
            .unwrap()
            .contains("SUMMARY: dunegc:")
    );
}

#[test]
fn depth() {
    let o = preload(
        &build("leak.c", &["-O1"]),
        &[],
        &[LEAKS, ("DUNEGC_LEAKS_DEPTH", "1")],
    );
    let report = stderr(&o);
    assert!(
        report.contains("#0 ") && !report.contains("#1 "),
        "{report}"
    );
}

/// 62 is the usual stop signal, which then has to be another one.
#[test]
fn on_a_signal_and_in_a_child() {
    for signal in ["10", "62"] {
        let name = format!("signal-{signal}-{}.", std::process::id());
        let pattern =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name.strip_suffix('.').unwrap());
        let file = format!("{}.%p", pattern.display());
        let env = [
            LEAKS,
            ("DUNEGC_LEAKS_SIGNAL", signal),
            ("DUNEGC_LEAKS_FILE", &file),
        ];
        let o = preload(
            &build("leak_signal.c", &["-O1"]),
            &[pattern.to_str().unwrap(), signal],
            &env,
        );
        assert_ok(&o);
        let reports: Vec<String> = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with(&name))
            .map(|p| std::fs::read_to_string(p).unwrap())
            .collect();
        assert_eq!(reports.len(), 2, "{reports:?}");
        let children = reports
            .iter()
            .filter(|r| r.contains("Direct leak of 2048 bytes in 1 block"));
        assert_eq!(children.count(), 1, "{reports:?}");
    }
}

/// Names are looked up once for a process and its children: the second and third child cannot read the program's file any more.
#[test]
fn children_share_the_names() {
    let program = build("leak_forks.c", &["-O1", "-g"]);
    let copy = program.with_extension("gone");
    std::fs::copy(&program, &copy).unwrap();
    let o = preload(&copy, &[], &[LEAKS]);
    assert_ok(&o);
    let report = stderr(&o);
    let named = |name: &str| report.matches(name).count();
    assert_eq!(named("Direct leak of 2048 bytes in 1 block"), 3, "{report}");
    assert_eq!(named("in leak "), 3, "{report}");
    assert_eq!(named("leak_forks.c:8"), 3, "{report}");
}
