//! `run --pauses`: stops, stalls and utilisation, from inside and from outside.

pub mod bars;
pub mod mmu;
pub mod plot;
pub mod probe;
pub mod report;
pub mod workload;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::bars::Bar;
use crate::compile::{self, Build};
use crate::histogram::Histogram;
use crate::measure::{Invocation, Sample, run_once};
use crate::model::Peer;
use crate::redis::{self, latency};
use crate::schedule::{self, Plan, Subject, Taken};
use crate::session;
use crate::summary::median;
use workload::{Setup, Watch, Workload};

/// Seconds of requests to redis-server: full and with `--quick`.
const REDIS_SECONDS: (f64, f64) = (10.0, 2.0);

/// A workload under one setup, watched in one way.
struct Contestant {
    workload: &'static Workload,
    setup: Setup,
    watch: Watch,
    invocation: Invocation,
}

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Time, stops, memory.
    pub sample: Sample,
    /// What the probes saw.
    pub seen: probe::Seen,
    /// What the clients of redis-server saw.
    pub latency: Option<latency::Latency>,
    /// Stops of the world as libdunegc counts them: 99 % were not longer.
    pub stop_p99_ms: Option<f64>,
    /// All stops of the world as libdunegc counts them.
    pub stops: Option<Histogram>,
}

/// What all runs of a contestant gave; the fields are those of [`schedule::Outcome`].
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Name of the workload.
    pub workload: &'static str,
    /// Who managed the memory.
    pub setup: Setup,
    /// How it was watched.
    pub watch: Watch,
    /// The runs that count.
    pub runs: Vec<Run>,
    /// Runs dropped on a busy machine.
    pub dropped: usize,
    /// Runs that count although the machine was busy.
    pub loaded: usize,
    /// Why there are no more runs.
    pub failure: Option<String>,
}

/// All outcomes of a session.
pub struct Results<'a>(pub &'a [Outcome]);

impl Results<'_> {
    /// The outcome of one contestant.
    pub fn find(&self, workload: &str, setup: Setup, watch: Watch) -> Option<&Outcome> {
        self.0
            .iter()
            .find(|o| o.workload == workload && o.setup == setup && o.watch == watch)
    }

    /// The median over the runs of `figure`. None without runs, after a failure, or if any run lacks it.
    pub fn median(
        &self,
        workload: &str,
        setup: Setup,
        watch: Watch,
        figure: impl Fn(&Run) -> Option<f64>,
    ) -> Option<f64> {
        let outcome = self.find(workload, setup, watch)?;
        if outcome.failure.is_some() {
            return None;
        }
        let values: Option<Vec<f64>> = outcome.runs.iter().map(figure).collect();
        median(values?)
    }
}

impl Subject for Contestant {
    type Sample = Run;

    fn label(&self) -> String {
        format!("{} {} {}", self.workload.name, self.setup, self.watch)
    }

    fn once(&self, plan: &Plan) -> Result<Run> {
        if self.watch == Watch::Clients {
            let (full, quick) = REDIS_SECONDS;
            let seconds = if plan.quick { quick } else { full };
            let (sample, latency) = latency::run_once(&self.invocation, seconds, &plan.scratch)?;
            return Ok(Run {
                sample,
                seen: probe::Seen::default(),
                latency: Some(latency),
                stop_p99_ms: None,
                stops: None,
            });
        }
        let mut invocation = self.invocation.clone();
        let log = plan.scratch.join("probe.json");
        let _ = std::fs::remove_file(&log);
        if self.watch != Watch::Plain {
            let path = log.to_str().context("the scratch directory is not UTF-8")?;
            invocation
                .args
                .extend(["--probe-log".to_owned(), path.to_owned()]);
        }
        if self.watch == Watch::Clock {
            invocation
                .args
                .extend(["--clock".to_owned(), "1".to_owned()]);
        }
        let sample = run_once(&invocation, &plan.scratch, plan.timeout)?;
        let seen = match self.watch {
            Watch::Plain => probe::Seen::default(),
            _ => probe::Log::read(&log)?.evaluate()?,
        };
        let _ = std::fs::remove_file(&log);
        Ok(Run {
            stop_p99_ms: sample.stops.as_ref().map(|s| s.p99_ms),
            stops: sample
                .stops
                .as_ref()
                .map(|s| Histogram::from_pairs(&s.histogram)),
            sample,
            seen,
            latency: None,
        })
    }

    fn foreign_load(run: &Run) -> f64 {
        run.sample.foreign_load
    }
}

/// Builds what `workloads` need.
pub fn build(
    out: &Path,
    workloads: &[&Workload],
    peers: &[Peer],
    dunegc: Option<&Path>,
) -> Result<()> {
    let mut programs: Vec<_> = workloads.iter().filter_map(|w| w.program).collect();
    programs.sort();
    programs.dedup();
    for line in compile::all(out, &programs, peers, dunegc, &Build::BOTH)?.left_out {
        eprintln!("left out: {line}");
    }
    Ok(())
}

fn contestants(
    binaries: &Path,
    workloads: &[&'static Workload],
    peers: &[Peer],
    dunegc: Option<&Path>,
    quick: bool,
) -> Vec<Contestant> {
    let mut all = Vec::new();
    for &workload in workloads {
        if workload.program.is_none() && !redis::is_installed() {
            eprintln!(
                "{} is skipped: apt-get install redis-server redis-tools",
                workload.name
            );
            continue;
        }
        for &(watch, setups) in workload.runs {
            for &setup in setups.iter().filter(|s| peers.contains(&s.peer())) {
                let build = match watch {
                    Watch::Stamps | Watch::Clock => Build::Probed,
                    Watch::Plain | Watch::Clients => Build::Plain,
                };
                let args = if quick { workload.quick } else { workload.args };
                let path = |program| {
                    compile::binary_path(binaries, program, setup.variant(), setup.peer(), build)
                };
                let program = workload.program.map_or("redis-server".into(), path);
                if program.is_absolute() && !program.exists() {
                    eprintln!("skipped, not built: {}", program.display());
                    continue;
                }
                // Debian's redis-server is linked with jemalloc: every allocator comes by preload.
                let preload = match workload.program {
                    None => setup.peer().library(dunegc),
                    Some(_) => None,
                };
                all.push(Contestant {
                    workload,
                    setup,
                    watch,
                    invocation: Invocation {
                        program,
                        args: args.iter().map(|s| s.to_string()).collect(),
                        preload,
                        env: setup.env(),
                        has_dunegc_stats: workload.program.is_some()
                            && setup.peer() == Peer::Dunegc,
                    },
                });
            }
        }
    }
    all
}

/// Runs `workloads`, one after the other, the runs of each interleaved.
pub fn run(
    binaries: &Path,
    workloads: &[&'static Workload],
    peers: &[Peer],
    dunegc: Option<&Path>,
    plan: &Plan,
) -> Vec<Outcome> {
    let all = contestants(binaries, workloads, peers, dunegc, plan.quick);
    let progress = session::progress_bar(all.len() * plan.runs);
    let mut outcomes = Vec::new();
    let mut rest = all.as_slice();
    while let Some(first) = rest.first() {
        let same = |c: &&Contestant| c.workload.name == first.workload.name;
        let (members, others) = rest.split_at(rest.iter().take_while(same).count());
        if progress.is_hidden() {
            eprintln!("running {}", first.workload.name);
        }
        let taken = schedule::interleave(members, plan, &progress);
        outcomes.extend(
            members
                .iter()
                .zip(taken)
                .map(|(c, taken)| Outcome::of(c, taken)),
        );
        rest = others;
    }
    progress.finish_and_clear();
    check_checksums(&mut outcomes);
    outcomes
}

impl Outcome {
    fn of(contestant: &Contestant, taken: Taken<Run>) -> Self {
        Outcome {
            workload: contestant.workload.name,
            setup: contestant.setup,
            watch: contestant.watch,
            runs: taken.samples,
            dropped: taken.dropped,
            loaded: taken.loaded,
            failure: taken.failure,
        }
    }
}

fn check_checksums(outcomes: &mut [Outcome]) {
    let sums = |o: &Outcome| o.runs.iter().map(|r| r.sample.checksum.clone()).collect();
    let odd = schedule::odd_ones(outcomes, |o| o.workload, sums);
    for (outcome, failure) in outcomes.iter_mut().zip(odd) {
        if let Some(failure) = failure {
            let (workload, setup, watch) = (outcome.workload, outcome.setup, outcome.watch);
            eprintln!("{workload} {setup} {watch} failed: {failure}");
            outcome.failure = Some(failure);
        }
    }
}

/// Whether the library under test has no concurrent marking to switch off: it said that it does not know the variable.
pub fn has_one_mode_only(outcomes: &[Outcome]) -> bool {
    let mut runs = outcomes
        .iter()
        .filter(|o| o.setup == Setup::DunegcStw)
        .flat_map(|o| &o.runs);
    runs.any(|run| {
        run.sample
            .stderr
            .contains("DUNEGC_CONCURRENT: no such variable")
    })
}

/// Writes everything that was measured as JSON.
pub fn write_json(path: &Path, outcomes: &[Outcome], bars: &[Bar], plan: &Plan) -> Result<()> {
    let value = json!({
        "machine": session::machine(),
        "runs": plan.runs,
        "quick": plan.quick,
        "max_load": plan.max_load,
        "mmu_windows_ms": probe::WINDOWS,
        "one_mode_only": has_one_mode_only(outcomes),
        "outcomes": outcomes,
        "bars": bars,
    });
    let text = serde_json::to_string(&value).context("cannot format the results")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
