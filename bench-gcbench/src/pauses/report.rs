//! The tables of `run --pauses`.

use comfy_table::{Cell, Table};

use crate::pauses::bars::{mmu_50, stall_max, stop_max, time};
use crate::pauses::workload::{ALL, Setup, Watch};
use crate::pauses::{Outcome, Results, Run};
use crate::report::new_table;

const SETUPS: [Setup; 6] = [
    Setup::Dunegc,
    Setup::DunegcStw,
    Setup::DunegcReclaim,
    Setup::Libgc,
    Setup::LibgcIncremental,
    Setup::NoCollector,
];

/// What the columns are.
pub const LEGEND: &str = "\
Milliseconds, medians over the runs. Stops: from inside, as the collector counts them. Longest gap: between two readings
of a clock by a thread of the program; no waits: less the time it could have run but had no CPU. Longest stall: a single
allocation call. MMU: minimum utilisation of a mutator over windows of so many ms, waits for a CPU included and, once,
taken out. The lines without a collector are what this machine does by itself. ': time of a run with stamps.";

fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) if v >= 1.0 => format!("{v:.2}"),
        Some(v) => format!("{v:.3}"),
    }
}

/// One line for each workload and setup.
pub fn outcomes(all: &[Outcome], markdown: bool) -> Table {
    let header = [
        "workload",
        "setup",
        "time ms",
        "GCs",
        "longest stop",
        "p99 stop",
        "longest gap",
        "… no waits",
        "longest stall",
        "p99.9 stall",
        "MMU 5",
        "20",
        "50",
        "… no waits",
        "200",
        "RSS MiB",
        "load",
        "dropped",
    ];
    let mut table = new_table(markdown, &header, 2);
    let results = Results(all);
    for workload in ALL.iter().filter(|w| w.program.is_some()) {
        for setup in SETUPS {
            let of_it: Vec<&Outcome> = all
                .iter()
                .filter(|o| o.workload == workload.name && o.setup == setup)
                .collect();
            if of_it.is_empty() {
                continue;
            }
            if let Some((watch, failure)) = of_it
                .iter()
                .find_map(|o| Some((o.watch, o.failure.as_ref()?)))
            {
                let short: String = failure.chars().take(60).collect();
                eprintln!("{} {setup} {watch} FAILED: {short}", workload.name);
            }
            let median = |watch, of: &dyn Fn(&Run) -> Option<f64>| {
                figure(results.median(workload.name, setup, watch, of))
            };
            let mmu = |k: usize| {
                median(Watch::Stamps, &|run| {
                    run.seen.stamps.as_ref().map(|s| s.mmu[k])
                })
            };
            let clock = |of: fn(&crate::pauses::probe::Clock) -> f64| {
                median(Watch::Clock, &|run| run.seen.clock.as_ref().map(of))
            };
            // What is not measured in a run of its own comes from the one with stamps, or else from the clock's.
            let main = of_it[0].watch;
            let failed = of_it.iter().any(|o| o.failure.is_some());
            table.add_row([
                workload.name.to_owned(),
                if failed {
                    format!("{setup}: FAILED")
                } else {
                    setup.to_string()
                },
                median(main, &time) + if main == Watch::Plain { "" } else { "'" },
                results
                    .median(workload.name, setup, main, |r| {
                        r.sample.collections.map(|n| n as f64)
                    })
                    .map_or("–".to_owned(), |n| format!("{n:.0}")),
                median(main, &stop_max),
                median(main, &|run| run.stop_p99_ms),
                clock(|c| c.max_ms),
                clock(|c| c.max_without_waits_ms),
                median(Watch::Stamps, &stall_max),
                median(Watch::Stamps, &|run| {
                    run.seen.stamps.as_ref().map(|s| s.stall_p999_ms)
                }),
                mmu(0),
                mmu(1),
                median(Watch::Stamps, &mmu_50),
                median(Watch::Stamps, &|run| {
                    run.seen.stamps.as_ref().map(|s| s.mmu_without_waits[2])
                }),
                mmu(3),
                median(main, &|run| Some(run.sample.rss_mib)),
                load(&of_it),
                dropped(&of_it),
            ]);
        }
    }
    table
}

/// One line for each allocator under redis-server; none if it did not run.
pub fn latencies(all: &[Outcome], markdown: bool) -> Option<Table> {
    let header = [
        "workload", "setup", "p50 ms", "p99", "p99.9", "longest", "RSS MiB", "load", "dropped",
    ];
    let mut table = new_table(markdown, &header, 2);
    let results = Results(all);
    for outcome in all.iter().filter(|o| o.watch == Watch::Clients) {
        let median = |of: &dyn Fn(&Run) -> Option<f64>| {
            figure(results.median(outcome.workload, outcome.setup, outcome.watch, of))
        };
        let setup = match outcome.setup {
            Setup::NoCollector => "glibc".to_owned(),
            other => other.to_string(),
        };
        let latency = |of: fn(&crate::redis::latency::Latency) -> f64| {
            median(&|run| run.latency.as_ref().map(of))
        };
        table.add_row([
            Cell::new(outcome.workload),
            Cell::new(setup),
            Cell::new(latency(|l| l.p50_ms)),
            Cell::new(latency(|l| l.p99_ms)),
            Cell::new(latency(|l| l.p999_ms)),
            Cell::new(latency(|l| l.max_ms)),
            Cell::new(median(&|run| Some(run.sample.rss_mib))),
            Cell::new(load(&[outcome])),
            Cell::new(dropped(&[outcome])),
        ]);
    }
    (!table.is_empty()).then_some(table)
}

fn load(of_it: &[&Outcome]) -> String {
    let runs = of_it.iter().flat_map(|o| &o.runs);
    let load = crate::summary::median(runs.map(|r| r.sample.foreign_load)).unwrap_or(0.0);
    let flag = if of_it.iter().any(|o| o.loaded > 0) {
        "*"
    } else {
        ""
    };
    format!("{load:.2}{flag}")
}

fn dropped(of_it: &[&Outcome]) -> String {
    of_it.iter().map(|o| o.dropped).sum::<usize>().to_string()
}
