//! The parser as a whole, and the table of options through it.

use super::*;
use crate::config::{Dirty, Generational, HugePages, Mode, OnError, StatsSink};
use proptest::prelude::*;
use std::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

fn run(vars: &[&str], secure: bool) -> (Config, Vec<String>) {
    let mut lines = Vec::new();
    let mut arena = Arena::Room(Box::leak(vec![0; Arena::SIZE].into_boxed_slice()));
    let c = parse(
        vars.iter().map(|v| v.as_bytes()),
        secure,
        &mut arena,
        &mut |p| lines.push(p.to_string()),
    );
    (c, lines)
}

fn one(var: &str) -> Config {
    let (c, lines) = run(&[var], false);
    assert!(lines.is_empty(), "{lines:?}");
    c
}

#[test]
fn every_default_parses_to_the_default() {
    assert_eq!(OPTIONS.len(), OPTIONS_LEN);
    for o in OPTIONS {
        assert_eq!(
            one(&format!("{}={}", o.name, o.default)),
            Config::DEFAULT,
            "{}",
            o.name
        );
        assert!((o.valid)(&Config::DEFAULT), "{}", o.name);
    }
}

#[test]
fn every_option_is_read() {
    let (c, lines) = run(
        &[
            "PATH=/bin",
            "DUNEGC_MODE=leaks",
            "DUNEGC_STATS=json:/tmp/s.%p",
            "DUNEGC_MAX_HEAP=512M",
            "DUNEGC_MIN_HEAP=1m",
            "DUNEGC_GROWTH=75",
            "DUNEGC_DECAY=-1",
            "DUNEGC_HUGEPAGES=off",
            "DUNEGC_MARKERS=3",
            "DUNEGC_BACKGROUND=no",
            "DUNEGC_CONCURRENT=yes",
            "DUNEGC_DIRTY=mprotect",
            "DUNEGC_GENERATIONAL=no",
            "DUNEGC_SIGNAL=40",
            "DUNEGC_STOP_TIMEOUT=50",
            "DUNEGC_ON_ERROR=warn",
            "DUNEGC_RECLAIM_ONLY=liba.so, ,libb.so",
            "DUNEGC_LEAKS_EXITCODE=23",
            "DUNEGC_LEAKS_FILE=/tmp/l",
            "DUNEGC_LEAKS_SIGNAL=12",
            "DUNEGC_LEAKS_DEPTH=8",
            "DUNEGC_LOG=2",
            "DUNEGC_TRACE=/tmp/t",
            "DUNEGC_ZEAL=7",
            "DUNEGC_ZEAL_PHASES=8",
            "DUNEGC_LIB=/x",
        ],
        false,
    );
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(c.mode, Mode::Leaks);
    assert_eq!(
        (c.dirty, c.generational),
        (Dirty::Mprotect, Generational::No)
    );
    assert_eq!(c.stats, StatsSink::Json(b"/tmp/s.%p"));
    assert_eq!(
        (c.max_heap, c.min_heap, c.growth),
        (Some(512 << 20), 1 << 20, 75)
    );
    assert_eq!(
        (c.decay_ms, c.huge_pages, c.markers),
        (None, HugePages::Off, Some(3))
    );
    assert_eq!(
        (c.background, c.concurrent, c.signal, c.stop_timeout_ms),
        (false, true, Some(40), 50)
    );
    assert_eq!(c.on_error, OnError::Warn);
    assert_eq!(
        c.reclaim_only_modules().collect::<Vec<_>>(),
        [b"liba.so", b"libb.so"]
    );
    assert_eq!(
        (c.leaks.exit_code, c.leaks.signal, c.leaks.depth),
        (Some(23), Some(12), 8)
    );
    assert_eq!(c.leaks.file, Some(&b"/tmp/l"[..]));
    assert_eq!((c.log, c.zeal, c.zeal_phases), (2, 7, 8));
    assert_eq!(c.trace, Some(&b"/tmp/t"[..]));
    // Nothing kept its default: each option above is really wired.
    for o in OPTIONS {
        assert!(!(o.same)(&c, &Config::DEFAULT), "{}", o.name);
    }
}

#[test]
fn a_refused_value_gets_one_line_and_the_default() {
    for o in OPTIONS {
        // json: without a path and an empty list are the only bad values of the options that take any text.
        let bad = match o.name {
            "DUNEGC_RECLAIM_ONLY" | "DUNEGC_LEAKS_FILE" | "DUNEGC_TRACE" => "x".repeat(3000),
            _ => "bogus".to_string(),
        };
        let (c, lines) = run(&[&format!("{}={bad}", o.name)], false);
        assert_eq!(c, Config::DEFAULT, "{}", o.name);
        assert_eq!(lines.len(), 1, "{}", o.name);
        let shown = if bad.len() > 100 {
            format!("{}...", &bad[..100])
        } else {
            bad.clone()
        };
        let line = format!(
            "{}={shown}: expected {}; using {}",
            o.name, o.expected, o.default
        );
        assert_eq!(lines[0], line);
        assert!(o.check(bad.as_bytes()).is_err() && o.check(o.default.as_bytes()).is_ok());
    }
}

#[test]
fn unknown_variables_name_the_closest() {
    let (c, lines) = run(&["DUNEGC_MOD=leaks", "DUNEGC_=1", "DUNEGC_STAT\n=1"], false);
    assert_eq!(c, Config::DEFAULT);
    assert_eq!(
        lines[0],
        "DUNEGC_MOD: no such variable, ignored; the closest is DUNEGC_MODE"
    );
    assert_eq!(lines.len(), 3);
    assert!(lines[2].starts_with("DUNEGC_STAT\\n: "));
}

#[test]
fn first_of_two_counts_and_empty_is_unset() {
    assert_eq!(run(&["DUNEGC_LOG=1", "DUNEGC_LOG=2"], false).0.log, 1);
    assert_eq!(
        run(&["DUNEGC_LOG=", "DUNEGC_LOG=2"], false),
        (
            Config {
                log: 2,
                ..Config::DEFAULT
            },
            vec![]
        )
    );
}

#[test]
fn secure_execution_ignores_everything_with_one_line() {
    let (c, lines) = run(
        &["DUNEGC_STATS=json:/etc/passwd", "DUNEGC_MODE=reclaim"],
        true,
    );
    assert_eq!(c, Config::DEFAULT);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("DUNEGC_STATS: "), "{}", lines[0]);
    assert!(run(&["HOME=/"], true).1.is_empty());
}

#[test]
fn contradicting_signals() {
    let (c, lines) = run(&["DUNEGC_SIGNAL=40", "DUNEGC_LEAKS_SIGNAL=40"], false);
    assert_eq!((c.signal, c.leaks.signal), (None, Some(40)));
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("DUNEGC_SIGNAL=40: expected "),
        "{}",
        lines[0]
    );
    assert_eq!(c.stop_signal(), 62);
    assert_eq!(one("DUNEGC_LEAKS_SIGNAL=62").stop_signal(), 61);
    assert_eq!(one("DUNEGC_SIGNAL=40").stop_signal(), 40);
}

#[test]
fn four_longest_texts_fit() {
    let p = "p".repeat(crate::config::parse::PATH_LIMIT - 1);
    let vars = [
        format!("DUNEGC_STATS=json:{p}"),
        format!("DUNEGC_LEAKS_FILE={p}"),
        format!("DUNEGC_RECLAIM_ONLY={p}"),
        format!("DUNEGC_TRACE={p}"),
    ];
    let (c, lines) = run(&vars.each_ref().map(String::as_str), false);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(c.leaks.file, Some(p.as_bytes()));
    assert_eq!(c.trace, Some(p.as_bytes()));
}

#[test]
fn log_levels_have_names() {
    assert_eq!(one("DUNEGC_LOG=gc").log, 1);
    assert_eq!(one("DUNEGC_LOG=1").log, 1);
    assert_eq!(run(&["DUNEGC_LOG=gcc"], false).1.len(), 1);
}

#[test]
fn the_process_environment_is_found_without_environ() {
    // SAFETY: no test changes the environment.
    let live: Vec<_> = unsafe { process() }.map(<[u8]>::to_vec).collect();
    // SAFETY: as above; the loader set the stack end.
    let initial = unsafe { Variables(__libc_stack_end.add(2 + *__libc_stack_end).cast()) };
    let initial: Vec<_> = initial.map(<[u8]>::to_vec).collect();
    assert!(!live.is_empty());
    assert_eq!(live, initial);
}

proptest! {
    #[test]
    fn any_text_gives_a_valid_configuration(
        vars in proptest::collection::vec((0..OPTIONS_LEN, "[0-9a-z:%/,. -]{0,12}|[0-9]{1,4}[KMGT]?|json:/[a-z]{1,5}"), 0..8)
    ) {
        let vars: Vec<String> = vars.iter().map(|(i, v)| format!("{}={v}", OPTIONS[*i].name)).collect();
        let (c, lines) = run(&vars.iter().map(String::as_str).collect::<Vec<_>>(), false);
        prop_assert!(c.check().is_ok());
        prop_assert!(lines.len() <= vars.len());
        // What was parsed, shown, parses to the same again.
        let shown: Vec<String> = OPTIONS.iter().map(|o| format!("{}={}", o.name, o.value(&c))).collect();
        let (again, lines) = run(&shown.iter().map(String::as_str).collect::<Vec<_>>(), false);
        prop_assert!(lines.is_empty(), "{:?}", lines);
        prop_assert_eq!(again, c);
    }
}
