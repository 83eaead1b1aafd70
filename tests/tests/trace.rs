//! The trace file, the line per collection, and what they survive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dunegc_tests::trace::{number, parse, spans, stops};
use dunegc_tests::{Mode, Outcome, Run, compile, scratch};
use serde_json::Value;

/// The test program in a directory of its own; traces go to `t.json` there.
struct Traced {
    dir: PathBuf,
    run: Run,
}

fn traced(case: &str) -> Traced {
    let dir = scratch("trace");
    let run = Run::new(compile("trace"))
        .arg(case)
        .arg("mine")
        .dir(&dir)
        .mode(Mode::Reclaim)
        .no_zeal()
        .env("DUNEGC_MIN_HEAP", "1M")
        .env("DUNEGC_TRACE", "t.json");
    Traced { dir, run }
}

impl Traced {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.run = self.run.env(name, value);
        self
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.dir).expect("the directory");
        entries
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    /// The events of a file that must be complete.
    fn events(&self, name: &str) -> Vec<Value> {
        parse(&read(&self.dir.join(name)))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn one_line(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "{word:?} is missing\n{outcome}"
        );
    }
}

#[test]
fn events_are_balanced_and_agree_with_the_statistics() {
    let t = traced("work").env("DUNEGC_STATS", "json:stats");
    let outcome = t.run.ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("ok\n", ""),
        "{outcome}"
    );
    let events = t.events("t.json");
    let spans = spans(&events);
    let stats: Value = serde_json::from_str(&read(&t.dir.join("stats"))).expect("statistics");
    let stops = stops(&spans);
    assert!(stops.len() >= 12, "{stops:?}");
    // The trace and the statistics take the same two readings of the clock.
    assert_eq!(stops.len() as u64, number(&stats, "collections"));
    assert_eq!(stops.iter().copied().max(), stats["pause_max_ns"].as_u64());
    assert_eq!(stops.iter().sum::<u64>(), number(&stats, "pause_total_ns"));
    for name in ["cycle", "roots", "mark", "sweep", "stall"] {
        assert!(spans.contains_key(name), "no {name} in {:?}", spans.keys());
    }
    assert!(
        spans["mark"].iter().all(|(_, bytes)| *bytes > 0),
        "{spans:?}"
    );
    assert!(
        spans["stop"].iter().any(|(_, threads)| *threads >= 3),
        "{spans:?}"
    );
    for name in ["collected", "heap", "free"] {
        let counts = |e: &&Value| e["name"] == name && e["ph"] == "C";
        assert!(
            events.iter().filter(counts).count() >= stops.len(),
            "{name}"
        );
    }
}

#[test]
fn each_process_has_a_file_of_its_own() {
    for (pattern, first) in [("t.json", "t.json"), ("x.%p.json", "")] {
        let t = traced("fork").env("DUNEGC_TRACE", pattern);
        let outcome = t.run.ok();
        assert_eq!(outcome.stderr, "", "{outcome}");
        let children = outcome
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix("child "));
        let children: BTreeSet<String> = children.map(str::to_owned).collect();
        assert_eq!(children.len(), 2, "{outcome}");
        let names = t.names();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            let events = t.events(&name);
            spans(&events);
            let pids: BTreeSet<u64> = events.iter().map(|e| number(e, "pid")).collect();
            assert_eq!(pids.len(), 1, "{name}: {pids:?}");
            let pid = pids.first().expect("one").to_string();
            let forks = events.iter().filter(|e| e["name"] == "fork").count();
            let stops = stops(&spans(&events)).len();
            if children.contains(&pid) {
                assert_eq!(
                    name,
                    pattern
                        .replace("%p", &pid)
                        .replace("t.json", &format!("t.{pid}.json"))
                );
                assert_eq!((forks, stops), (0, 3), "{name}");
            } else {
                assert!(
                    name == first || name == pattern.replace("%p", &pid),
                    "{name}"
                );
                assert_eq!((forks, stops), (2, 6), "{name}");
            }
        }
    }
}

#[test]
fn a_process_started_meanwhile_takes_another_name() {
    let t = traced("work");
    let program = compile("trace");
    // The shell holds t.json until it ends.
    let run = Run::new("/bin/sh")
        .args(["-c", &format!("{0} work; {0} work; :", program.display())])
        .dir(&t.dir)
        .mode(Mode::Malloc)
        .no_zeal()
        .env("DUNEGC_TRACE", "t.json");
    let outcome = run.ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    let names = t.names();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let text = read(&t.dir.join(name));
        // The shell ends by _exit.
        let end = if name == "t.json" { "]" } else { "" };
        let stops = spans(&parse(&(text + end))).get("stop").map_or(0, Vec::len);
        assert!(name == "t.json" || stops >= 12, "{name}: {stops} stops");
    }
}

#[test]
fn an_old_file_is_overwritten() {
    let t = traced("work");
    fs::write(t.dir.join("t.json"), "x".repeat(10_000_000)).expect("an old file");
    t.run.ok();
    spans(&t.events("t.json"));
}

#[test]
fn what_a_killed_process_leaves_lacks_only_the_bracket() {
    let t = traced("kill");
    assert_eq!(t.run.output().code(), 128 + libc::SIGKILL);
    let text = read(&t.dir.join("t.json"));
    assert!(!text.trim_end().ends_with(']'), "{text}");
    let spans = spans(&parse(&format!("{text}]")));
    assert!(stops(&spans).len() >= 12, "{spans:?}");
}

#[test]
fn the_descriptor_is_out_of_the_way() {
    traced("descriptor").run.ok();
}

#[test]
fn a_closed_or_replaced_descriptor_ends_the_trace_with_one_line() {
    for (case, word) in [("close", "closed"), ("replace", "another file")] {
        let t = traced(case);
        let outcome = t.run.ok();
        one_line(&outcome, &["the trace ends here", word]);
        assert_eq!(read(&t.dir.join("mine")), "mine", "{case}");
        let events = parse(&format!("{}]", read(&t.dir.join("t.json"))));
        assert!(events.len() > 10, "{case}: {events:?}");
    }
}

#[test]
fn the_file_size_limit_is_kept() {
    let t = traced("limit");
    let outcome = t.run.ok();
    one_line(&outcome, &["the trace ends here", "EFBIG"]);
    let text = read(&t.dir.join("t.json"));
    let events = parse(&format!("{text}]"));
    assert!(events.len() > 10, "{text}");
}

#[test]
fn a_file_that_cannot_be_written_costs_one_line() {
    for (path, word) in [
        ("/no/such/directory/t.json", "ENOENT"),
        ("/dev/full", "regular"),
        ("/proc/self/t.json", "ENOENT"),
        ("/", "EISDIR"),
    ] {
        let outcome = traced("work").env("DUNEGC_TRACE", path).run.ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
        one_line(&outcome, &[path, word, "going on without"]);
    }
}

#[test]
fn nothing_is_written_when_off() {
    let t = traced("work").env("DUNEGC_TRACE", "");
    let outcome = t.run.ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("ok\n", ""),
        "{outcome}"
    );
    assert_eq!(t.names(), BTreeSet::new());
}

#[test]
fn a_line_per_collection() {
    let t = traced("work")
        .env("DUNEGC_TRACE", "")
        .env("DUNEGC_LOG", "gc")
        .env("DUNEGC_STATS", "json:stats");
    let outcome = t.run.ok();
    let stats: Value = serde_json::from_str(&read(&t.dir.join("stats"))).expect("statistics");
    let (mut total, mut longest, mut why) = (0, 0, BTreeSet::new());
    for (i, line) in outcome.stderr.lines().enumerate() {
        let fields = line
            .split_once("] gc ")
            .unwrap_or_else(|| panic!("{line}"))
            .1;
        let fields: BTreeMap<&str, &str> = fields
            .split(' ')
            .map(|f| f.split_once('=').unwrap_or_else(|| panic!("{f} in {line}")))
            .collect();
        let figure =
            |key: &str| -> u64 { fields[key].parse().unwrap_or_else(|e| panic!("{key}: {e}")) };
        assert_eq!(figure("cycle"), i as u64 + 1, "{line}");
        assert_eq!(figure("stops"), 1, "{line}");
        assert!(figure("duration_ns") >= figure("stop_ns"), "{line}");
        assert!(
            figure("marked_bytes") > 0 && figure("marked_objects") > 0,
            "{line}"
        );
        assert!(figure("markers") >= 1, "{line}");
        assert_eq!(
            figure("freed_bytes"),
            figure("before_bytes").saturating_sub(figure("after_bytes")),
            "{line}"
        );
        total += figure("stop_ns");
        longest = longest.max(figure("stop_max_ns"));
        why.insert(fields["why"]);
    }
    assert_eq!(
        outcome.stderr.lines().count() as u64,
        number(&stats, "collections")
    );
    assert_eq!(total, number(&stats, "pause_total_ns"));
    assert_eq!(longest, number(&stats, "pause_max_ns"));
    assert_eq!(why, BTreeSet::from(["explicit", "growth"]));
}
