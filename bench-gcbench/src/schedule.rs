//! Runs the contestants of a group in turn, round after round, and keeps the runs that were left in peace.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::measure::{Invocation, Sample, run_once};
use crate::model::{Peer, Variant};
use crate::redis;
use crate::workload::{Task, Workload};

/// One line of the report: a workload in one variant with one peer.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// The workload.
    pub workload: &'static Workload,
    /// The variant.
    pub variant: Variant,
    /// The peer.
    pub peer: Peer,
    /// What to run.
    pub invocation: Invocation,
}

/// What all runs of a contestant gave.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Name of the workload.
    pub workload: &'static str,
    /// The variant.
    pub variant: Variant,
    /// The peer.
    pub peer: Peer,
    /// The runs that count.
    pub samples: Vec<Sample>,
    /// Runs dropped because other processes kept the machine busy.
    pub dropped: usize,
    /// Runs among `samples` that count although the machine was busy: there were not enough quiet ones.
    pub loaded: usize,
    /// Why there are no more runs: a crash, a timeout, a wrong checksum.
    pub failure: Option<String>,
}

/// How to run.
pub struct Plan {
    /// Runs wanted of each contestant.
    pub runs: usize,
    /// Drop a run when other processes kept more CPUs than this busy.
    pub max_load: f64,
    /// Dropped runs of a contestant that are repeated at most.
    pub max_repeats: usize,
    /// A run is killed after this time.
    pub timeout: Duration,
    /// Small sizes.
    pub quick: bool,
    /// Directory for what the runs leave behind.
    pub scratch: PathBuf,
}

/// Runs `contestants` interleaved: A B C, A B C, …
pub fn run(contestants: &[Contestant], plan: &Plan, progress: &ProgressBar) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = contestants.iter().map(Outcome::of).collect();
    let mut set_aside: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    for _round in 0..plan.runs + plan.max_repeats {
        for (k, contestant) in contestants.iter().enumerate() {
            if outcomes[k].failure.is_some() || outcomes[k].samples.len() >= plan.runs {
                continue;
            }
            progress.set_message(contestant.label());
            match once(contestant, plan) {
                Ok(sample) if sample.foreign_load > plan.max_load => {
                    outcomes[k].dropped += 1;
                    set_aside[k].push(sample);
                }
                Ok(sample) => {
                    outcomes[k].samples.push(sample);
                    progress.inc(1);
                }
                Err(e) => {
                    let message = format!("{e:#}");
                    progress.suspend(|| eprintln!("{} failed: {message}", contestant.label()));
                    outcomes[k].failure = Some(message);
                }
            }
        }
    }
    for (outcome, mut spare) in outcomes.iter_mut().zip(set_aside) {
        spare.sort_by(|a, b| a.foreign_load.total_cmp(&b.foreign_load));
        if outcome.failure.is_none() {
            let missing = plan.runs.saturating_sub(outcome.samples.len());
            outcome.loaded = missing.min(spare.len());
            outcome.dropped -= outcome.loaded;
            outcome.samples.extend(spare.into_iter().take(missing));
            progress.inc(outcome.loaded as u64);
        }
    }
    check_checksums(&mut outcomes);
    outcomes
}

/// Sets a failure on every outcome whose checksum differs from that of most runs of its workload.
fn check_checksums(outcomes: &mut [Outcome]) {
    for k in 0..outcomes.len() {
        let workload = outcomes[k].workload;
        let all: Vec<&str> = outcomes
            .iter()
            .filter(|o| o.workload == workload)
            .flat_map(|o| o.samples.iter().map(|s| s.checksum.as_str()))
            .collect();
        let votes = |sum: &str| all.iter().filter(|other| **other == sum).count();
        let Some(agreed) = all
            .iter()
            .max_by_key(|sum| votes(sum))
            .map(|sum| sum.to_string())
        else {
            continue;
        };
        if let Some(odd) = outcomes[k].samples.iter().find(|s| s.checksum != agreed) {
            let failure = format!(
                "checksum {} where the other runs agree on {agreed}",
                odd.checksum
            );
            eprintln!(
                "{} {} {} failed: {failure}",
                workload, outcomes[k].variant, outcomes[k].peer
            );
            outcomes[k].failure = Some(failure);
        }
    }
}

fn once(contestant: &Contestant, plan: &Plan) -> Result<Sample> {
    match contestant.workload.task {
        Task::C(..) => run_once(&contestant.invocation, &plan.scratch, plan.timeout),
        Task::Redis { pipeline, requests } => {
            let requests = if plan.quick { requests.1 } else { requests.0 };
            redis::run_once(
                &contestant.invocation,
                pipeline,
                requests,
                &plan.scratch,
                plan.timeout,
            )
        }
    }
}

impl Contestant {
    /// Name for messages.
    pub fn label(&self) -> String {
        format!("{} {} {}", self.workload.name, self.variant, self.peer)
    }
}

impl Outcome {
    fn of(contestant: &Contestant) -> Self {
        Outcome {
            workload: contestant.workload.name,
            variant: contestant.variant,
            peer: contestant.peer,
            samples: Vec::new(),
            dropped: 0,
            loaded: 0,
            failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(peer: Peer, checksums: &[&str]) -> Outcome {
        let sample = |sum: &&str| Sample {
            value: 1.0,
            wall_ms: 1.0,
            user_ms: 1.0,
            system_ms: 0.0,
            pause_max_ms: None,
            collections: None,
            rss_mib: 1.0,
            foreign_load: 0.0,
            checksum: sum.to_string(),
        };
        Outcome {
            workload: "list",
            variant: Variant::Malloc,
            peer,
            samples: checksums.iter().map(sample).collect(),
            dropped: 0,
            loaded: 0,
            failure: None,
        }
    }

    #[test]
    fn one_wrong_checksum_fails_its_contestant_alone() {
        let mut all = [
            outcome(Peer::Glibc, &["a", "a"]),
            outcome(Peer::Dunegc, &["a", "b"]),
            outcome(Peer::Mimalloc, &["a"]),
        ];
        check_checksums(&mut all);
        assert!(all[0].failure.is_none() && all[2].failure.is_none());
        assert!(all[1].failure.as_ref().unwrap().contains("checksum b"));
    }
}
