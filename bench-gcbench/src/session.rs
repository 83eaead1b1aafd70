//! A session: finds the peers, builds the programs, runs the groups, writes what was measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::bars::Bar;
use crate::compile::{self, Build};
use crate::measure::Invocation;
use crate::model::{Peer, Program, Variant};
use crate::redis;
use crate::schedule::{self, Contestant, Outcome, Plan};
use crate::workload::{Task, Workload};

/// The peers of `wanted` that are installed; one line on stderr for each of the others.
pub fn available(wanted: &[Peer], dunegc: Option<&Path>) -> Vec<Peer> {
    let (found, missing): (Vec<Peer>, Vec<Peer>) = wanted
        .iter()
        .copied()
        .partition(|peer| peer.library(dunegc).is_some());
    for peer in missing {
        eprintln!(
            "{peer} is skipped, it is not installed: {}",
            peer.how_to_install()
        );
    }
    found
}

/// What to run: the words of the command line.
pub struct Choice<'a> {
    /// The workloads.
    pub workloads: &'a [&'static Workload],
    /// The variants.
    pub variants: &'a [Variant],
    /// The peers that are there.
    pub peers: &'a [Peer],
    /// The library under test.
    pub dunegc: Option<&'a Path>,
    /// Absolute directory of the C programs.
    pub binaries: &'a Path,
    /// Small sizes.
    pub quick: bool,
}

/// The contestants of `choice` in the order in which a round visits them.
pub fn contestants(choice: &Choice<'_>) -> Vec<Contestant> {
    let has_redis = redis::is_installed();
    let mut all = Vec::new();
    let mut not_built: Vec<PathBuf> = Vec::new();
    for &workload in choice.workloads {
        if matches!(workload.task, Task::Redis { .. }) && !has_redis {
            eprintln!(
                "{} is skipped: apt-get install redis-server redis-tools",
                workload.name
            );
            continue;
        }
        for &variant in workload
            .variants
            .iter()
            .filter(|v| choice.variants.contains(v))
        {
            for &peer in choice.peers.iter().filter(|p| p.runs(variant)) {
                let invocation = choice.invocation(workload, variant, peer);
                let program = &invocation.program;
                if !program.is_absolute() || program.exists() {
                    all.push(Contestant {
                        workload,
                        variant,
                        peer,
                        invocation,
                    });
                } else if !not_built.contains(program) {
                    not_built.push(program.clone());
                }
            }
        }
    }
    for program in not_built {
        let how = match program
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("rust-"))
        {
            true => "; build it with: cargo build --release -p bench-gcbench",
            false => "",
        };
        eprintln!("skipped, not built: {}{how}", program.display());
    }
    all
}

impl Choice<'_> {
    fn invocation(&self, workload: &Workload, variant: Variant, peer: Peer) -> Invocation {
        let by_preload =
            variant == Variant::Malloc || variant == Variant::RustBox && peer != Peer::Dunegc;
        let preload = by_preload.then(|| peer.library(self.dunegc)).flatten();
        match workload.task {
            Task::C(program, args, quick_args) => {
                let args = if self.quick { quick_args } else { args }
                    .iter()
                    .map(|s| s.to_string());
                let name = variant.is_rust().then(|| program.to_string());
                Invocation {
                    program: compile::binary_path(
                        self.binaries,
                        program,
                        variant,
                        peer,
                        Build::Plain,
                    ),
                    args: name.into_iter().chain(args).collect(),
                    // A program that loads no allocator of its own has the one of the C library.
                    preload: preload.filter(|_| peer != Peer::Glibc),
                    env: Vec::new(),
                    has_dunegc_stats: peer == Peer::Dunegc,
                }
            }
            // Debian's redis-server is linked with jemalloc; glibc's malloc comes first when libc is preloaded.
            Task::Redis { .. } => Invocation {
                program: "redis-server".into(),
                args: Vec::new(),
                preload,
                env: Vec::new(),
                has_dunegc_stats: false,
            },
        }
    }
}

/// Builds what `workloads` need.
pub fn build(
    out: &Path,
    workloads: &[&Workload],
    peers: &[Peer],
    dunegc: Option<&Path>,
) -> Result<()> {
    let mut programs: Vec<Program> = Vec::new();
    for workload in workloads {
        if let Task::C(program, ..) = workload.task
            && !programs.contains(&program)
        {
            programs.push(program);
        }
    }
    for line in compile::all(out, &programs, peers, dunegc, &[Build::Plain])?.left_out {
        eprintln!("left out: {line}");
    }
    Ok(())
}

/// A bar on stderr for that many runs.
pub fn progress_bar(runs: usize) -> ProgressBar {
    let target = ProgressDrawTarget::stderr();
    let progress = ProgressBar::with_draw_target(Some(runs as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}")
    {
        progress.set_style(style);
    }
    progress.enable_steady_tick(std::time::Duration::from_millis(500));
    progress
}

/// Runs all contestants, group by group.
pub fn run(contestants: &[Contestant], plan: &Plan) -> Vec<Outcome> {
    let progress = progress_bar(contestants.len() * plan.runs);
    let mut groups: Vec<&str> = Vec::new();
    for contestant in contestants {
        if !groups.contains(&contestant.workload.group) {
            groups.push(contestant.workload.group);
        }
    }
    let mut outcomes = Vec::new();
    for group in groups {
        if progress.is_hidden() {
            eprintln!("running {group}");
        }
        let members: Vec<Contestant> = contestants
            .iter()
            .filter(|c| c.workload.group == group)
            .cloned()
            .collect();
        outcomes.extend(schedule::run(&members, plan, &progress));
    }
    progress.finish_and_clear();
    outcomes
}

/// Writes everything that was measured as JSON.
pub fn write_json(path: &Path, outcomes: &[Outcome], bars: &[Bar], plan: &Plan) -> Result<()> {
    let value = json!({
        "machine": machine(),
        "runs": plan.runs,
        "quick": plan.quick,
        "max_load": plan.max_load,
        "outcomes": outcomes,
        "bars": bars,
    });
    let text = serde_json::to_string_pretty(&value).context("cannot format the results")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// What a reader must know of the machine to judge the figures.
pub fn machine() -> serde_json::Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpu = read("/proc/cpuinfo").lines().find_map(|l| {
        l.strip_prefix("model name")
            .map(|v| v.trim_start_matches([' ', '\t', ':']).to_owned())
    });
    json!({
        "cpu": cpu,
        "cpus": std::thread::available_parallelism().map(|n| n.get()).ok(),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "transparent_hugepages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "load_average": read("/proc/loadavg"),
    })
}

/// A directory for what the runs leave behind, inside `binaries`.
pub fn scratch(binaries: &Path) -> Result<PathBuf> {
    let scratch = binaries.join(format!("scratch-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot create {}", scratch.display()))?;
    Ok(scratch)
}
