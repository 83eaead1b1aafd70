//! The bars of pauses, stalls and utilisation.

use crate::bars::{Bar, at_most, quotient};
use crate::pauses::workload::Setup::{self, Dunegc, DunegcStw, Libgc, LibgcIncremental};
use crate::pauses::workload::Watch::{Clients, Plain, Stamps};
use crate::pauses::{Results, Run};

/// Longest stop of the world, counted from inside.
pub fn stop_max(run: &Run) -> Option<f64> {
    run.sample.pause_max_ms
}

/// Minimum utilisation over 50 ms.
pub fn mmu_50(run: &Run) -> Option<f64> {
    run.seen.stamps.as_ref().map(|s| s.mmu[2])
}

/// Longest single allocation.
pub fn stall_max(run: &Run) -> Option<f64> {
    run.seen.stamps.as_ref().map(|s| s.stall_max_ms)
}

/// Total time.
pub fn time(run: &Run) -> Option<f64> {
    Some(run.sample.value)
}

/// The workloads with the bars of stop, stall and utilisation: name, must and aim of the longest stop.
const STOPS: [(&str, f64, f64); 8] = [
    ("gcbench-22", 1.0, 0.2),
    ("gcbench-22m", 1.0, 0.2),
    ("list", 2.0, 0.3),
    ("list-m", 2.0, 0.3),
    ("hashmap", 2.0, 0.3),
    ("hashmap-m", 2.0, 0.3),
    ("xml", 2.0, 0.3),
    ("xml-m", 2.0, 0.3),
];

/// All bars, judged by the medians in `results`.
pub fn judge(results: &Results<'_>) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (name, must, aim) in STOPS {
        let figure = |watch, of: fn(&Run) -> Option<f64>| results.median(name, Dunegc, watch, of);
        let stop = figure(Plain, stop_max);
        bars.push(in_ms(format!("{name}: longest stop"), stop, must, aim));
        let p99 = figure(Plain, |run| run.stop_p99_ms);
        bars.push(in_ms(format!("{name}: 99 % of stops"), p99, 0.5, 0.1));
        let stall = figure(Stamps, stall_max);
        let text = format!("{name}: longest single allocation");
        bars.push(in_ms(text, stall, 5.0, 1.0));
        bars.push(utilisation(name, figure(Stamps, mmu_50)));
    }
    for (large, small) in [("gcbench-26", "gcbench-22"), ("gcbench-26m", "gcbench-22m")] {
        let stop = |name| results.median(name, Dunegc, Plain, stop_max);
        let text = format!("{large} vs {small}: longest stop at 4.3 GB live vs at 0.27 GB");
        bars.push(at_most(text, quotient(stop(large), stop(small)), 1.5, 1.0));
    }
    for (name, ..) in STOPS {
        bars.push(times(results, name, DunegcStw, 1.15, 1.0));
    }
    bars.push(times(results, "gcbench-22m", Libgc, 0.6, 0.3));
    bars.push(times(results, "gcbench-22m", LibgcIncremental, 0.3, 0.15));
    bars.push(times(results, "gcbench-2t", Libgc, 0.8, 0.6));
    let stop = results.median("gcbench-64t", Dunegc, Plain, stop_max);
    let text = "gcbench-64t: longest stop with 64 threads, 50 of them asleep".to_owned();
    bars.push(in_ms(text, stop, 3.0, 1.0));

    let p999 = |setup| {
        let figure = |run: &Run| run.latency.as_ref().map(|l| l.p999_ms);
        results.median("redis", setup, Clients, figure)
    };
    let ratio = quotient(p999(Dunegc), p999(Setup::NoCollector));
    let text = "redis: 99.9 % of latencies vs glibc".to_owned();
    bars.push(at_most(text, ratio, 1.2, 1.0));
    bars
}

fn in_ms(name: String, figure: Option<f64>, must: f64, aim: f64) -> Bar {
    let mut bar = at_most(name, figure.ok_or("not measured".to_owned()), must, aim);
    bar.unit = "ms";
    bar.aim_text = format!("≤ {aim:.3} ms");
    bar
}

fn utilisation(name: &str, figure: Option<f64>) -> Bar {
    let (must, aim) = (0.6, 0.8);
    let text = format!("{name}: minimum utilisation over 50 ms");
    let mut bar = at_most(text, figure.ok_or("not measured".to_owned()), must, aim);
    bar.at_least = true;
    bar.aim_text = format!("≥ {aim:.2}");
    bar
}

fn times(results: &Results<'_>, name: &str, other: Setup, must: f64, aim: f64) -> Bar {
    let of = |setup| results.median(name, setup, Plain, time);
    let cpu = |setup| {
        let figure = |run: &Run| Some(run.sample.user_ms + run.sample.system_ms);
        results.median(name, setup, Plain, figure)
    };
    let text = format!("{name}: time vs {other}");
    let mut bar = at_most(text, quotient(of(Dunegc), of(other)), must, aim);
    bar.cpu_ratio = quotient(cpu(Dunegc), cpu(other)).ok();
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::measure::Sample;
    use crate::pauses::Outcome;
    use crate::pauses::probe::{Seen, Stamps as Seconds};
    use crate::pauses::workload::Watch;
    use crate::redis::latency::Latency;

    /// A run of `time` ms with stops up to `stop` ms.
    fn run(time: f64, stop: f64) -> Run {
        let sample = Sample {
            value: time,
            wall_ms: time,
            user_ms: time,
            system_ms: 0.0,
            pause_max_ms: Some(stop),
            stops: None,
            stderr: String::new(),
            collections: None,
            rss_mib: 1.0,
            foreign_load: 0.0,
            checksum: String::new(),
        };
        Run {
            sample,
            seen: Seen::default(),
            latency: None,
            stop_p99_ms: Some(stop),
            stops: None,
        }
    }

    fn stamped(stall: f64, mmu: f64) -> Run {
        let mut run = run(1.0, 1.0);
        run.seen.stamps = Some(Seconds {
            stall_max_ms: stall,
            stall_p999_ms: stall,
            mmu: [0.0, 0.0, mmu, 1.0],
            mmu_without_waits: [1.0; 4],
            stalls: Histogram::default(),
        });
        run
    }

    fn outcome(workload: &'static str, setup: Setup, watch: Watch, runs: Vec<Run>) -> Outcome {
        Outcome {
            workload,
            setup,
            watch,
            runs,
            dropped: 0,
            loaded: 0,
            failure: None,
        }
    }

    fn verdict(all: &[Outcome], name: &str) -> (Option<bool>, Option<bool>) {
        let bars = judge(&Results(all));
        let bar = bars.iter().find(|b| b.name == name).expect(name);
        (bar.must_holds(), bar.aim_holds())
    }

    #[test]
    fn the_median_of_the_longest_stops_is_held_against_the_bar() {
        let with = |stops: &[f64]| {
            let runs = stops.iter().map(|&stop| run(1.0, stop)).collect();
            let all = [outcome("gcbench-22m", Dunegc, Plain, runs)];
            verdict(&all, "gcbench-22m: longest stop")
        };
        assert_eq!(with(&[0.1, 0.2, 9.0]), (Some(true), Some(true)));
        assert_eq!(with(&[0.1, 1.0, 9.0]), (Some(true), Some(false)));
        assert_eq!(with(&[0.1, 1.1, 9.0]), (Some(false), Some(false)));
        assert_eq!(with(&[]), (None, None));
    }

    #[test]
    fn utilisation_is_better_when_larger() {
        let with = |mmu| {
            let all = [outcome("xml", Dunegc, Stamps, vec![stamped(1.0, mmu)])];
            verdict(&all, "xml: minimum utilisation over 50 ms")
        };
        assert_eq!(with(0.59), (Some(false), Some(false)));
        assert_eq!(with(0.6), (Some(true), Some(false)));
        assert_eq!(with(0.8), (Some(true), Some(true)));
    }

    #[test]
    fn stalls_come_from_the_runs_with_stamps_and_stops_from_those_without() {
        let all = [
            outcome("list", Dunegc, Stamps, vec![stamped(6.0, 1.0)]),
            outcome("list", Dunegc, Plain, vec![run(1.0, 0.1)]),
        ];
        let stall = verdict(&all, "list: longest single allocation");
        assert_eq!(stall, (Some(false), Some(false)));
        assert_eq!(
            verdict(&all, "list: longest stop"),
            (Some(true), Some(true))
        );
    }

    #[test]
    fn times_are_ratios_and_a_failure_gives_none() {
        let mut all = [
            outcome("hashmap", Dunegc, Plain, vec![run(116.0, 0.1)]),
            outcome("hashmap", DunegcStw, Plain, vec![run(100.0, 50.0)]),
        ];
        let name = "hashmap: time vs dunegc, stop-the-world";
        assert_eq!(verdict(&all, name), (Some(false), Some(false)));
        all[0].runs[0].sample.value = 115.0;
        assert_eq!(verdict(&all, name), (Some(true), Some(false)));
        all[1].failure = Some("signal: 11".into());
        assert_eq!(verdict(&all, name), (None, None));
    }

    #[test]
    fn the_large_heap_is_held_against_the_small_one() {
        let with = |large| {
            let all = [
                outcome("gcbench-26", Dunegc, Plain, vec![run(1.0, large)]),
                outcome("gcbench-22", Dunegc, Plain, vec![run(1.0, 0.5)]),
            ];
            let name = "gcbench-26 vs gcbench-22: longest stop at 4.3 GB live vs at 0.27 GB";
            verdict(&all, name)
        };
        assert_eq!(with(0.75), (Some(true), Some(false)));
        assert_eq!(with(0.76), (Some(false), Some(false)));
        assert_eq!(with(0.5), (Some(true), Some(true)));
    }

    #[test]
    fn redis_is_held_against_glibc() {
        let with = |p999_ms| {
            let mut run = run(p999_ms, 0.0);
            run.latency = Some(Latency {
                p50_ms: 0.0,
                p99_ms: 0.0,
                p999_ms,
                max_ms: 0.0,
                histogram: Histogram::default(),
            });
            run
        };
        let all = [
            outcome("redis", Dunegc, Clients, vec![with(1.3)]),
            outcome("redis", Setup::NoCollector, Clients, vec![with(1.0)]),
        ];
        let name = "redis: 99.9 % of latencies vs glibc";
        assert_eq!(verdict(&all, name), (Some(false), Some(false)));
    }

    #[test]
    fn nothing_measured_is_neither_pass_nor_fail() {
        for bar in judge(&Results(&[])) {
            assert_eq!(
                (bar.must_holds(), bar.aim_holds()),
                (None, None),
                "{}",
                bar.name
            );
        }
    }
}
