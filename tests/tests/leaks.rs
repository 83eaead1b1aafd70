//! Leaks mode: what the report says, where it goes, and that it changes nothing else.

use std::fs;

use dunegc_tests::{Mode, Outcome, Run, compile, scratch};

fn leaky(case: &str) -> Run {
    Run::new(compile("leaky"))
        .arg(case)
        .mode(Mode::Leaks)
        .no_zeal()
}

/// Number of blocks in the group whose stack names `function`, from "... of B bytes in N blocks ...".
fn blocks_of(function: &str, report: &str) -> Option<u32> {
    let stack = report
        .split("\n\n")
        .find(|group| group.contains(function))?;
    let (_, counted) = stack.split_once(" bytes in ")?;
    counted.split_whitespace().next()?.parse().ok()
}

/// Both places are reported, with function name and count; what is reachable is not.
fn reports_both(report: &str, outcome: &Outcome) {
    // Conservative: a stale pointer may hide one or two of them.
    let first = blocks_of("first_leak", report);
    assert!(
        matches!(first, Some(8..=10)),
        "first_leak: {first:?}\n{report}\n{outcome}"
    );
    let second = blocks_of("second_leak", report);
    assert!(
        matches!(second, Some(2..=3)),
        "second_leak: {second:?}\n{report}\n{outcome}"
    );
    assert!(
        !report.contains("in reachable "),
        "reachable blocks are reported\n{report}\n{outcome}"
    );
}

#[test]
fn report_at_exit() {
    let outcome = leaky("leaks").ok();
    assert_eq!(outcome.stdout, "standard output\n", "{outcome}");
    reports_both(&outcome.stderr, &outcome);
}

#[test]
fn exit_status_is_unchanged() {
    let outcome = leaky("fails").output();
    assert_eq!(outcome.code(), 3, "{outcome}");
    reports_both(&outcome.stderr, &outcome);
}

#[test]
fn exit_status_as_asked() {
    let outcome = leaky("leaks").env("DUNEGC_LEAKS_EXITCODE", "23").output();
    assert_eq!(outcome.code(), 23, "{outcome}");
    assert_eq!(outcome.stdout, "standard output\n", "{outcome}");
    let outcome = leaky("clean").env("DUNEGC_LEAKS_EXITCODE", "23").output();
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert!(!outcome.stderr.contains("first_leak"), "{outcome}");
}

#[test]
fn report_into_a_file() {
    let file = scratch("leaks").join("report");
    let outcome = leaky("leaks").env("DUNEGC_LEAKS_FILE", &file).ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("standard output\n", ""),
        "{outcome}"
    );
    reports_both(&fs::read_to_string(&file).expect("the report"), &outcome);
}

#[test]
fn report_on_a_signal() {
    let outcome = leaky("signal")
        .env("DUNEGC_LEAKS_SIGNAL", libc::SIGUSR2.to_string())
        .ok();
    assert_eq!(
        outcome.stdout, "standard output\nafter the signal\n",
        "{outcome}"
    );
    reports_both(&outcome.stderr, &outcome);
}
