//! The workloads: which programs run, with which arguments, in which variants.

use anyhow::{Result, bail};

use crate::model::{Program, Variant};

/// What a workload runs.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// A C program with these arguments; the second list is for `--quick`.
    C(Program, &'static [&'static str], &'static [&'static str]),
    /// redis-server under redis-benchmark with this pipeline depth.
    Redis {
        /// Commands that a client sends before it waits for the answers.
        pipeline: u32,
        /// Requests of each kind; the second figure is for `--quick`.
        requests: (u32, u32),
    },
}

/// One row of workloads.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Name on the command line and in the report.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// What runs.
    pub task: Task,
    /// Variants that make sense.
    pub variants: &'static [Variant],
    /// Workloads of one group are interleaved with each other.
    pub group: &'static str,
}

const EVERY: &[Variant] = &Variant::ALL;
const NOT_FREEING: &[Variant] = &[Variant::Collected, Variant::Malloc];
const MALLOC: &[Variant] = &[Variant::Malloc];

/// All workloads in the order of the report.
pub const ALL: &[Workload] = &[
    Workload {
        name: "gcbench",
        title: "GCBench: stretch 18, long-lived 16, depths 4 to 16",
        task: Task::C(Program::Gcbench, &[], &[]),
        variants: EVERY,
        group: "gcbench",
    },
    Workload {
        name: "gcbench-2t",
        title: "GCBench on 2 threads, the same whole work on each",
        task: Task::C(Program::Gcbench, &["--threads", "2"], &["--threads", "2"]),
        variants: NOT_FREEING,
        group: "gcbench",
    },
    Workload {
        name: "gcbench-22",
        title: "GCBench with a long-lived tree of depth 22 (268 MB)",
        task: Task::C(
            Program::Gcbench,
            &["--long-lived", "22"],
            &["--long-lived", "20"],
        ),
        variants: EVERY,
        group: "gcbench-22",
    },
    Workload {
        name: "gcbench-22m",
        title: "The same, 20 000 subtrees replaced between the phases",
        task: Task::C(
            Program::Gcbench,
            &["--long-lived", "22", "--mutate", "20000"],
            &["--long-lived", "20", "--mutate", "5000"],
        ),
        variants: NOT_FREEING,
        group: "gcbench-22m",
    },
    Workload {
        name: "list",
        title: "Linked lists built and dropped, about 100 MB alive",
        task: Task::C(Program::List, &[], &["--slots", "320", "--rounds", "3000"]),
        variants: EVERY,
        group: "list",
    },
    Workload {
        name: "hashmap",
        title: "Chained hash map with string keys, about 1.1 million entries alive",
        task: Task::C(
            Program::Hashmap,
            &[],
            &["--live", "300000", "--churn", "300000"],
        ),
        variants: EVERY,
        group: "hashmap",
    },
    Workload {
        name: "xml",
        title: "libxml2 parses 3 MB again and again, 6 trees alive",
        task: Task::C(Program::Xml, &[], &["--parses", "10", "--records", "8000"]),
        variants: EVERY,
        group: "xml",
    },
    Workload {
        name: "xmalloc",
        title: "One thread allocates, another one frees",
        task: Task::C(Program::Xmalloc, &[], &["--batches", "4000"]),
        variants: MALLOC,
        group: "xmalloc",
    },
    Workload {
        name: "redis-p1",
        title: "redis-server, redis-benchmark without pipelining",
        task: Task::Redis {
            pipeline: 1,
            requests: (40_000, 8_000),
        },
        variants: MALLOC,
        group: "redis-p1",
    },
    Workload {
        name: "redis-p16",
        title: "redis-server, redis-benchmark with pipelines of 16",
        task: Task::Redis {
            pipeline: 16,
            requests: (400_000, 80_000),
        },
        variants: MALLOC,
        group: "redis-p16",
    },
];

impl Workload {
    /// The workload of this name. Panics on a name that is not in [`ALL`].
    pub fn named(name: &str) -> &'static Workload {
        ALL.iter()
            .find(|w| w.name == name)
            .expect("the name of a workload in ALL")
    }

    /// Whether a larger value is a better one (requests per second).
    pub fn larger_is_better(&self) -> bool {
        matches!(self.task, Task::Redis { .. })
    }

    /// The unit of [`crate::measure::Sample::value`].
    pub fn unit(&self) -> &'static str {
        if self.larger_is_better() {
            "requests/s"
        } else {
            "ms"
        }
    }
}

/// The workloads that `names` select; all without names. A name that matches none exactly selects all that start
/// with it and a `-`.
pub fn select(names: &[String]) -> Result<Vec<&'static Workload>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    for name in names {
        if !ALL.iter().any(|w| matches(w, name)) {
            let known: Vec<_> = ALL.iter().map(|w| w.name).collect();
            bail!(
                "--only {name}: no such workload; the workloads are {}",
                known.join(", ")
            );
        }
    }
    Ok(ALL
        .iter()
        .filter(|w| names.iter().any(|name| matches(w, name)))
        .collect())
}

fn matches(workload: &Workload, name: &str) -> bool {
    let exact = ALL.iter().any(|w| w.name == name);
    workload.name == name
        || !exact
            && workload
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<&'static str> {
        let of: Vec<String> = of.iter().map(|s| s.to_string()).collect();
        select(&of).unwrap().iter().map(|w| w.name).collect()
    }

    #[test]
    fn an_exact_name_selects_one_workload_and_a_prefix_its_family() {
        assert_eq!(names(&["gcbench"]), ["gcbench"]);
        assert_eq!(names(&["redis"]), ["redis-p1", "redis-p16"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = select(&["gcbenhc".to_owned()]).unwrap_err().to_string();
        assert!(
            message.contains("gcbenhc") && message.contains("hashmap"),
            "{message}"
        );
    }
}
