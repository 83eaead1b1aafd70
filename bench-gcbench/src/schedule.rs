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

/// Something that is run again and again beside others.
pub trait Subject {
    /// What one run gives.
    type Sample;
    /// Name for messages.
    fn label(&self) -> String;
    /// One run.
    fn once(&self, plan: &Plan) -> Result<Self::Sample>;
    /// CPUs that other processes kept busy during the run.
    fn foreign_load(sample: &Self::Sample) -> f64;
}

/// What all runs of a subject gave; see [`Outcome`] for the fields.
pub struct Taken<S> {
    /// The runs that count.
    pub samples: Vec<S>,
    /// Runs dropped because the machine was busy.
    pub dropped: usize,
    /// Runs among `samples` that count although the machine was busy.
    pub loaded: usize,
    /// Why there are no more runs.
    pub failure: Option<String>,
}

/// Runs `subjects` interleaved: A B C, A B C, … Runs on a busy machine are dropped and repeated.
pub fn interleave<T: Subject>(
    subjects: &[T],
    plan: &Plan,
    progress: &ProgressBar,
) -> Vec<Taken<T::Sample>> {
    let empty = || Taken {
        samples: Vec::new(),
        dropped: 0,
        loaded: 0,
        failure: None,
    };
    let mut all: Vec<Taken<T::Sample>> = subjects.iter().map(|_| empty()).collect();
    let mut set_aside: Vec<Vec<T::Sample>> = subjects.iter().map(|_| Vec::new()).collect();
    for _round in 0..plan.runs + plan.max_repeats {
        for (k, subject) in subjects.iter().enumerate() {
            if all[k].failure.is_some() || all[k].samples.len() >= plan.runs {
                continue;
            }
            progress.set_message(subject.label());
            match subject.once(plan) {
                Ok(sample) if T::foreign_load(&sample) > plan.max_load => {
                    all[k].dropped += 1;
                    set_aside[k].push(sample);
                }
                Ok(sample) => {
                    all[k].samples.push(sample);
                    progress.inc(1);
                }
                Err(e) => {
                    let message = format!("{e:#}");
                    progress.suspend(|| eprintln!("{} failed: {message}", subject.label()));
                    all[k].failure = Some(message);
                }
            }
        }
    }
    for (taken, mut spare) in all.iter_mut().zip(set_aside) {
        spare.sort_by(|a, b| T::foreign_load(a).total_cmp(&T::foreign_load(b)));
        if taken.failure.is_none() {
            let missing = plan.runs.saturating_sub(taken.samples.len());
            taken.loaded = missing.min(spare.len());
            taken.dropped -= taken.loaded;
            taken.samples.extend(spare.into_iter().take(missing));
            progress.inc(taken.loaded as u64);
        }
    }
    all
}

impl Subject for Contestant {
    type Sample = Sample;

    fn label(&self) -> String {
        format!("{} {} {}", self.workload.name, self.variant, self.peer)
    }

    fn once(&self, plan: &Plan) -> Result<Sample> {
        match self.workload.task {
            Task::C(..) => run_once(&self.invocation, &plan.scratch, plan.timeout),
            Task::Redis { pipeline, requests } => {
                let requests = if plan.quick { requests.1 } else { requests.0 };
                let scratch = &plan.scratch;
                redis::run_once(&self.invocation, pipeline, requests, scratch, plan.timeout)
            }
        }
    }

    fn foreign_load(sample: &Sample) -> f64 {
        sample.foreign_load
    }
}

/// Runs `contestants` interleaved.
pub fn run(contestants: &[Contestant], plan: &Plan, progress: &ProgressBar) -> Vec<Outcome> {
    let taken = interleave(contestants, plan, progress);
    let mut outcomes: Vec<Outcome> = contestants
        .iter()
        .zip(taken)
        .map(|(contestant, taken)| Outcome {
            workload: contestant.workload.name,
            variant: contestant.variant,
            peer: contestant.peer,
            samples: taken.samples,
            dropped: taken.dropped,
            loaded: taken.loaded,
            failure: taken.failure,
        })
        .collect();
    check_checksums(&mut outcomes);
    outcomes
}

/// Sets a failure on every outcome whose checksum differs from that of most runs of its workload.
fn check_checksums(outcomes: &mut [Outcome]) {
    let sums = |o: &Outcome| o.samples.iter().map(|s| s.checksum.clone()).collect();
    let odd = odd_ones(outcomes, |o| o.workload, sums);
    for (outcome, failure) in outcomes.iter_mut().zip(odd) {
        if let Some(failure) = failure {
            eprintln!(
                "{} {} {} failed: {failure}",
                outcome.workload, outcome.variant, outcome.peer
            );
            outcome.failure = Some(failure);
        }
    }
}

/// For each of `all` what is wrong with its checksums: one that differs from that of most runs of its workload.
pub fn odd_ones<T>(
    all: &[T],
    workload: impl Fn(&T) -> &'static str,
    checksums: impl Fn(&T) -> Vec<String>,
) -> Vec<Option<String>> {
    let of_each: Vec<(&str, Vec<String>)> =
        all.iter().map(|t| (workload(t), checksums(t))).collect();
    of_each
        .iter()
        .map(|(workload, own)| {
            let sums: Vec<&String> = of_each
                .iter()
                .filter(|(other, _)| other == workload)
                .flat_map(|(_, sums)| sums)
                .collect();
            let votes = |sum: &String| sums.iter().filter(|other| **other == sum).count();
            let agreed = sums.iter().max_by_key(|sum| votes(sum))?;
            let odd = own.iter().find(|sum| sum != agreed)?;
            Some(format!(
                "checksum {odd} where the other runs agree on {agreed}"
            ))
        })
        .collect()
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
            stops: None,
            stderr: String::new(),
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
