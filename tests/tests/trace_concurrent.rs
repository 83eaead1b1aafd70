//! The trace, the lines per collection and the statistics of collections beside the program tell the same.

use std::collections::BTreeMap;
use std::fs;

use dunegc_tests::trace::{ns, number, parse, spans, stops, text};
use dunegc_tests::{Mode, Run, compile, scratch};
use serde_json::Value;

/// What one collection did, by its events: the argument it ended with, and for each name in it count, sum of arguments, sum of durations.
#[derive(Debug, Default)]
struct Cycle {
    live: u64,
    inside: BTreeMap<String, (u64, u64, u64)>,
}

impl Cycle {
    fn of(&self, name: &str) -> (u64, u64, u64) {
        self.inside.get(name).copied().unwrap_or_default()
    }
}

/// The collections in the order in which they ended.
fn cycles(events: &[Value]) -> Vec<Cycle> {
    let mut open: BTreeMap<u64, (Cycle, Vec<u64>)> = BTreeMap::new();
    let mut done = Vec::new();
    for e in events {
        let (tid, name, phase) = (number(e, "tid"), text(e, "name"), text(e, "ph"));
        if name == "cycle" {
            match phase {
                "B" => drop(open.insert(tid, (Cycle::default(), Vec::new()))),
                _ => {
                    let (mut cycle, _) = open.remove(&tid).expect("a begin");
                    cycle.live = number(&e["args"], "live_bytes");
                    done.push(cycle);
                }
            }
        } else if let Some((cycle, begun)) = open.get_mut(&tid) {
            match phase {
                "B" => begun.push(ns(e)),
                "E" => {
                    let took = ns(e) - begun.pop().expect("a begin");
                    let argument = e["args"].as_object().and_then(|a| a.values().next());
                    let argument = argument.and_then(Value::as_u64).expect("an argument");
                    let entry = cycle.inside.entry(name.to_owned()).or_default();
                    *entry = (entry.0 + 1, entry.1 + argument, entry.2 + took);
                }
                _ => {}
            }
        }
    }
    done
}

fn lines(stderr: &str) -> Vec<BTreeMap<&str, &str>> {
    let line = |line| {
        let (_, fields) = str::split_once(line, "] gc ").unwrap_or_else(|| panic!("{line}"));
        fields
            .split(' ')
            .map(|f| f.split_once('=').expect("key=value"))
            .collect()
    };
    stderr.lines().map(line).collect()
}

/// The process ends in the middle of everything, since its threads allocate until then.
fn agree(seed: &str) {
    let dir = scratch("trace-concurrent");
    let outcome = Run::new(compile("until_exit"))
        .arg("2")
        .dir(&dir)
        .mode(Mode::Malloc)
        .no_zeal()
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_MIN_HEAP", "1M")
        .env("DUNEGC_ZEAL_PHASES", seed)
        .env("DUNEGC_LOG", "gc")
        .env("DUNEGC_STATS", "json:stats")
        .env("DUNEGC_TRACE", "t.json")
        .ok();
    let events = parse(&fs::read_to_string(dir.join("t.json")).expect("the trace"));
    let spans = spans(&events);
    let stats = fs::read_to_string(dir.join("stats")).expect("the statistics");
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    let stops = stops(&spans);
    assert_eq!(stops.iter().sum::<u64>(), number(&stats, "pause_total_ns"));
    assert_eq!(stops.iter().copied().max(), stats["pause_max_ns"].as_u64());
    let all = cycles(&events);
    let ended: Vec<&Cycle> = all.iter().filter(|c| c.live > 0).collect();
    assert_eq!(ended.len() as u64, number(&stats, "collections"));
    assert!(all.len() <= ended.len() + 1, "one at most is under way");
    let lines = lines(&outcome.stderr);
    assert_eq!(lines.len(), ended.len(), "{outcome}");
    for (cycle, line) in ended.iter().zip(&lines) {
        let figure = |key: &str| -> u64 { line[key].parse().expect("a number") };
        let seen = format!("{line:?} {cycle:?}");
        let (stops, _, stopped) = cycle.of("stop");
        assert_eq!(
            (stops, stopped),
            (figure("stops"), figure("stop_ns")),
            "{seen}"
        );
        let (harvest, arm) = (cycle.of("harvest"), cycle.of("arm"));
        // Of a collection beside the program its begin is the arming, which also asks for written pages.
        assert_eq!(harvest.0 + arm.0, figure("harvests"), "{seen}");
        assert_eq!(cycle.live, figure("marked_bytes"), "{seen}");
        // Beside the program there are a first stop and a last one, and one in between if much was allocated meanwhile.
        let beside = u64::from(stops > 1);
        let marks = cycle.of("mark_concurrent").0;
        assert_eq!((marks, arm.0), (beside, beside), "{seen}");
        assert!(stops <= 3, "{seen}");
    }
    for name in [
        "mark_concurrent",
        "harvest",
        "remark",
        "mark",
        "roots",
        "arm",
    ] {
        assert!(spans.contains_key(name), "no {name} in {:?}", spans.keys());
    }
    assert!(spans["harvest"].iter().any(|(_, pages)| *pages > 0));
    assert!(spans["mark_concurrent"].iter().any(|(_, bytes)| *bytes > 0));
    fs::remove_dir_all(dir).expect("remove the files");
}

#[test]
fn trace_log_and_statistics_agree() {
    agree("0");
}

#[test]
fn also_when_a_collection_is_under_way_at_the_end() {
    ["31", "32", "33"].into_iter().for_each(agree);
}
