//! What runs for the bars of pauses.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::model::{Peer, Program, Variant};

/// Who manages the memory, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// libdunegc as it comes.
    Dunegc,
    /// libdunegc that marks while the world is stopped.
    DunegcStw,
    /// libdunegc that also frees what the program lost.
    DunegcReclaim,
    /// libgc as it comes.
    Libgc,
    /// libgc in incremental mode, with a target of 1 ms.
    LibgcIncremental,
    /// malloc and free of the C library: what the machine alone does.
    NoCollector,
}

impl Setup {
    /// Whose library it is.
    pub fn peer(self) -> Peer {
        match self {
            Setup::Dunegc | Setup::DunegcStw | Setup::DunegcReclaim => Peer::Dunegc,
            Setup::Libgc | Setup::LibgcIncremental => Peer::Libgc,
            Setup::NoCollector => Peer::Glibc,
        }
    }

    /// The variant of the program.
    pub fn variant(self) -> Variant {
        match self {
            Setup::NoCollector => Variant::Malloc,
            _ => Variant::Collected,
        }
    }

    /// Its environment.
    pub fn env(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Setup::DunegcStw => vec![("DUNEGC_CONCURRENT", "no")],
            Setup::DunegcReclaim => vec![("DUNEGC_MODE", "reclaim"), ("DUNEGC_CONCURRENT", "yes")],
            Setup::LibgcIncremental => vec![
                ("GC_ENABLE_INCREMENTAL", "1"),
                ("GC_PAUSE_TIME_TARGET", "1"),
            ],
            Setup::Dunegc => vec![("DUNEGC_CONCURRENT", "yes")],
            Setup::Libgc | Setup::NoCollector => Vec::new(),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Setup::Dunegc => "dunegc",
            Setup::DunegcStw => "dunegc, stop-the-world",
            Setup::DunegcReclaim => "dunegc, reclaim",
            Setup::Libgc => "libgc",
            Setup::LibgcIncremental => "libgc, incremental",
            Setup::NoCollector => "no collector",
        })
    }
}

/// How a run is watched. Each way disturbs the program, so each has runs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// Not at all: total time, and the stops as the collector counts them.
    Plain,
    /// The mutators stamp their progress: allocation stalls and utilisation.
    Stamps,
    /// A thread reads the clock in a loop.
    Clock,
    /// redis-server: latency as its clients see it.
    Clients,
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Watch::Plain => "plain",
            Watch::Stamps => "stamps",
            Watch::Clock => "clock",
            Watch::Clients => "clients",
        })
    }
}

/// One row of workloads.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Name on the command line and in the report.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// The program; none is redis-server.
    pub program: Option<Program>,
    /// Its arguments.
    pub args: &'static [&'static str],
    /// Its arguments with `--quick`.
    pub quick: &'static [&'static str],
    /// What runs and how it is watched.
    pub runs: &'static [(Watch, &'static [Setup])],
}

use Setup::{Dunegc, DunegcReclaim, DunegcStw, Libgc, LibgcIncremental, NoCollector};

const SEEN: &[Setup] = &[Dunegc, Libgc, LibgcIncremental, NoCollector];
/// Everything.
const FULL: &[(Watch, &[Setup])] = &[
    (Watch::Plain, &[Dunegc, DunegcStw, Libgc, LibgcIncremental]),
    (Watch::Stamps, SEEN),
    (Watch::Clock, SEEN),
];
/// The library under test alone, with the machine beside it.
const OURS: &[(Watch, &[Setup])] = &[
    (Watch::Plain, &[Dunegc, DunegcStw]),
    (Watch::Stamps, &[Dunegc, NoCollector]),
    (Watch::Clock, &[Dunegc, NoCollector]),
];

/// All workloads in the order of the report. The runs of one workload are interleaved.
pub const ALL: &[Workload] = &[
    Workload {
        name: "gcbench-22",
        title: "GCBench with a long-lived tree of depth 22 (268 MB)",
        program: Some(Program::Gcbench),
        args: &["--long-lived", "22"],
        quick: &["--long-lived", "19"],
        runs: FULL,
    },
    Workload {
        name: "gcbench-22m",
        title: "The same; after one of 1000 allocations two random subtrees change places",
        program: Some(Program::Gcbench),
        args: &["--long-lived", "22", "--swap", "100"],
        quick: &["--long-lived", "19", "--swap", "100"],
        runs: FULL,
    },
    Workload {
        name: "gcbench-22x",
        title: "The same after one of 50 allocations: the tree is dirty all the time",
        program: Some(Program::Gcbench),
        args: &["--long-lived", "22", "--swap", "2000"],
        quick: &["--long-lived", "19", "--swap", "2000"],
        runs: OURS,
    },
    Workload {
        name: "list",
        title: "Linked lists built and dropped, about 100 MB alive",
        program: Some(Program::List),
        args: &[],
        quick: &["--slots", "320", "--rounds", "2000"],
        runs: FULL,
    },
    Workload {
        name: "list-m",
        title: "The same; after one of 1000 allocations two random lists exchange their tails",
        program: Some(Program::List),
        args: &["--mutate", "100"],
        quick: &["--slots", "320", "--rounds", "2000", "--mutate", "100"],
        runs: OURS,
    },
    Workload {
        name: "hashmap",
        title: "Chained hash map with string keys, about 1.1 million entries alive",
        program: Some(Program::Hashmap),
        args: &[],
        quick: &["--live", "150000", "--churn", "150000"],
        runs: FULL,
    },
    Workload {
        name: "hashmap-m",
        title: "The same; after one of 10 steps the chain of a random bucket is turned round",
        program: Some(Program::Hashmap),
        args: &["--mutate", "10000"],
        quick: &["--live", "150000", "--churn", "150000", "--mutate", "10000"],
        runs: OURS,
    },
    Workload {
        name: "xml",
        title: "libxml2 parses 3 MB again and again, 6 trees alive",
        program: Some(Program::Xml),
        args: &[],
        quick: &["--parses", "8", "--records", "6000"],
        runs: FULL,
    },
    Workload {
        name: "xml-m",
        title: "The same; after each 4 KiB four records of random trees are moved",
        program: Some(Program::Xml),
        args: &["--mutate", "4"],
        quick: &["--parses", "8", "--records", "6000", "--mutate", "4"],
        runs: OURS,
    },
    Workload {
        name: "gcbench-26",
        title: "GCBench with a long-lived tree of depth 26 (4.3 GB)",
        program: Some(Program::Gcbench),
        args: &["--long-lived", "26"],
        quick: &["--long-lived", "21"],
        runs: &[(Watch::Plain, &[Dunegc, DunegcStw])],
    },
    Workload {
        name: "gcbench-26m",
        title: "The same; after one of 1000 allocations two random subtrees change places",
        program: Some(Program::Gcbench),
        args: &["--long-lived", "26", "--swap", "100"],
        quick: &["--long-lived", "21", "--swap", "100"],
        runs: &[(Watch::Plain, &[Dunegc, DunegcStw])],
    },
    Workload {
        name: "gcbench-2t",
        title: "GCBench on 2 threads, the same whole work on each",
        program: Some(Program::Gcbench),
        args: &["--threads", "2"],
        quick: &["--threads", "2"],
        runs: &[
            (Watch::Plain, &[Dunegc, DunegcStw, Libgc]),
            (Watch::Stamps, &[Dunegc, Libgc, NoCollector]),
        ],
    },
    Workload {
        name: "gcbench-64t",
        title: "GCBench on 14 threads beside 50 that sleep",
        program: Some(Program::Gcbench),
        args: &["--threads", "14", "--sleepers", "50"],
        quick: &["--threads", "14", "--sleepers", "50"],
        runs: &[(Watch::Plain, &[Dunegc, DunegcStw, Libgc])],
    },
    Workload {
        name: "redis",
        title: "redis-server under a fixed rate of requests",
        program: None,
        args: &[],
        quick: &[],
        runs: &[(Watch::Clients, &[NoCollector, Dunegc, DunegcReclaim])],
    },
];

/// The workloads that `names` select; all without names.
pub fn select(names: &[String]) -> Result<Vec<&'static Workload>> {
    for name in names {
        if !ALL.iter().any(|w| w.name == name) {
            let known: Vec<_> = ALL.iter().map(|w| w.name).collect();
            bail!(
                "--only {name}: no such workload of --pauses; the workloads are {}",
                known.join(", ")
            );
        }
    }
    Ok(ALL
        .iter()
        .filter(|w| names.is_empty() || names.iter().any(|name| w.name == name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_exactly_and_unknown_ones_are_refused() {
        let names = |of: &[&str]| {
            let of: Vec<String> = of.iter().map(|s| s.to_string()).collect();
            select(&of).map(|all| all.iter().map(|w| w.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["list"]).unwrap(), ["list"]);
        assert_eq!(names(&[]).unwrap().len(), ALL.len());
        assert!(
            names(&["lisp"])
                .unwrap_err()
                .to_string()
                .contains("gcbench-64t")
        );
    }
}
