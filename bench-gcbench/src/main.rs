//! GCBench and friends: peers side by side, in one interleaved run.

mod bars;
mod collectors;
mod compile;
mod histogram;
mod languages;
mod load;
mod measure;
mod micro;
mod model;
mod pauses;
mod plot;
mod redis;
mod report;
mod schedule;
mod session;
mod speed;
mod summary;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::model::{Peer, Program, Variant};

/// Runs GCBench, linked lists, a hash map, libxml2, cross-thread free and redis on this collector and on its peers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the C programs and stop.
    Build {
        /// Directory for the binaries.
        #[arg(long)]
        out: PathBuf,
        /// The library under test [default: release/libdunegc.so in the target directory].
        #[arg(long)]
        dunegc: Option<PathBuf>,
    },
    /// Build, run the peers interleaved, print medians and ratios.
    Run(RunArgs),
    /// Run guile, ecl, Nim, Objective-C and w3m with Debian's libgc1 and with this project's libgc.so.1 in turn.
    Languages(languages::LanguagesArgs),
    /// Measure single operations, natively and in guest mode: system calls, faults, traps, protection, learning of writes.
    Micro(micro::MicroArgs),
    /// Run GCBench, list, hashmap and xml with each way to learn of writes, natively and in guest mode.
    Collectors(collectors::CollectorsArgs),
    /// Measure how fast programs compute in guest mode, in turns with native runs.
    Speed(speed::SpeedArgs),
    /// List the workloads.
    List {
        /// Those of `run --pauses`.
        #[arg(long)]
        pauses: bool,
    },
}

#[derive(Args)]
struct RunArgs {
    /// Runs of each program that count [default: 5; 2 with --quick].
    #[arg(long)]
    runs: Option<usize>,
    /// Workloads, by comma; see `list`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Peers, by comma.
    #[arg(long, value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Variants, by comma [default: all; with --quick only those in C].
    #[arg(long, value_delimiter = ',')]
    variants: Vec<Variant>,
    /// Write everything that was measured to this file.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Draw time and peak RSS of all contestants to this SVG file.
    #[arg(long, value_name = "PATH")]
    plot: Option<PathBuf>,
    /// Small sizes, two runs.
    #[arg(long)]
    quick: bool,
    /// Judge the bars by the ratios of this session.
    #[arg(long)]
    bars: bool,
    /// Measure pauses, stalls, utilisation and latency, and judge their bars; see `list --pauses` for the workloads.
    #[arg(long, conflicts_with_all = ["bars", "variants"])]
    pauses: bool,
    /// Tables in Markdown.
    #[arg(long)]
    markdown: bool,
    /// The library under test [default: release/libdunegc.so in the target directory].
    #[arg(long, value_name = "PATH")]
    dunegc: Option<PathBuf>,
    /// Directory with the binaries; those that are out of date are built [default: bench-c in the target directory].
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// A run during which other processes kept more CPUs than this busy is dropped and repeated.
    #[arg(long, default_value_t = 0.25)]
    max_load: f64,
    /// Dropped runs of each program that are repeated; after that the quietest of them count, marked `*`
    /// [default: 5; 1 with --quick].
    #[arg(long)]
    max_repeats: Option<usize>,
    /// Seconds after which a run is killed, which is a failure [default: 120; 300 with --pauses].
    #[arg(long)]
    timeout: Option<u64>,
}

/// The `target` directory that this program was built into.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors()
        .nth(2)
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from("target"))
}

/// The library under test, if it is there.
fn find_dunegc(given: Option<PathBuf>) -> Result<Option<PathBuf>> {
    match given {
        Some(path) => path
            .canonicalize()
            .map(Some)
            .with_context(|| format!("--dunegc {}", path.display())),
        None => Ok(target_dir()
            .join("release/libdunegc.so")
            .canonicalize()
            .ok()),
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Build { out, dunegc } => build(out, dunegc),
        Task::Run(args) if args.pauses => run_pauses(args),
        Task::Run(args) => run(args),
        Task::Languages(args) => languages::run(&args, &target_dir()),
        Task::Micro(args) => micro::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Collectors(args) => find_dunegc(None).and_then(|library| {
            collectors::run(&args, target_dir().join("bench-c"), library)
                .map(|()| ExitCode::SUCCESS)
        }),
        Task::Speed(args) => {
            speed::run(&args, &target_dir().join("bench-c")).map(|()| ExitCode::SUCCESS)
        }
        Task::List { pauses } => {
            list(pauses);
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|e| {
        eprintln!("bench-gcbench: {e:#}");
        ExitCode::FAILURE
    })
}

fn list(pauses: bool) {
    let plain = workload::ALL.iter().map(|w| (w.name, w.title));
    let paused = pauses::workload::ALL.iter().map(|w| (w.name, w.title));
    let all: Vec<_> = if pauses {
        paused.collect()
    } else {
        plain.collect()
    };
    for (name, title) in all {
        println!("{name:12} {title}");
    }
}

fn build(out: PathBuf, dunegc: Option<PathBuf>) -> Result<ExitCode> {
    let dunegc = find_dunegc(dunegc)?;
    let peers = session::available(&[Peer::Libgc, Peer::Dunegc], dunegc.as_deref());
    let built = compile::all(
        &out,
        &Program::ALL,
        &peers,
        dunegc.as_deref(),
        &compile::Build::BOTH,
    )?;
    for path in &built.binaries {
        println!("{}", path.display());
    }
    for line in &built.left_out {
        eprintln!("left out: {line}");
    }
    Ok(if built.left_out.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl RunArgs {
    fn plan(&self, binaries: &Path) -> Result<schedule::Plan> {
        Ok(schedule::Plan {
            runs: self.runs.unwrap_or(if self.quick { 2 } else { 5 }).max(1),
            max_load: self.max_load,
            max_repeats: self.max_repeats.unwrap_or(if self.quick { 1 } else { 5 }),
            timeout: Duration::from_secs(self.timeout.unwrap_or(if self.pauses {
                300
            } else {
                120
            })),
            quick: self.quick,
            scratch: session::scratch(binaries)?,
        })
    }

    fn binaries(&self) -> PathBuf {
        let given = self.binaries.clone();
        given.unwrap_or_else(|| target_dir().join("bench-c"))
    }
}

fn run_pauses(args: RunArgs) -> Result<ExitCode> {
    let dunegc = find_dunegc(args.dunegc.clone())?;
    let workloads = pauses::workload::select(&args.only)?;
    let used = [Peer::Dunegc, Peer::Libgc, Peer::Glibc];
    let wanted: Vec<Peer> = used
        .into_iter()
        .filter(|p| args.peers.contains(p))
        .collect();
    let peers = session::available(&wanted, dunegc.as_deref());
    let binaries = args.binaries();
    pauses::build(&binaries, &workloads, &peers, dunegc.as_deref())?;
    let binaries = binaries
        .canonicalize()
        .with_context(|| binaries.display().to_string())?;
    let plan = args.plan(&binaries)?;
    let outcomes = pauses::run(&binaries, &workloads, &peers, dunegc.as_deref(), &plan);
    let _ = std::fs::remove_dir_all(&plan.scratch);
    if outcomes.is_empty() {
        bail!("nothing to run: no peer that can run the chosen workloads is installed");
    }

    println!("{}", pauses::report::outcomes(&outcomes, args.markdown));
    println!("{}", pauses::report::LEGEND);
    if let Some(table) = pauses::report::latencies(&outcomes, args.markdown) {
        println!("{table}");
    }
    let dropped: usize = outcomes.iter().map(|o| o.dropped).sum();
    let loaded: usize = outcomes.iter().map(|o| o.loaded).sum();
    println!(
        "Medians of {} runs, interleaved. Dropped because other processes used more than {} CPUs: {dropped}; \
         counted all the same (*): {loaded}.",
        plan.runs, plan.max_load
    );
    let judged = pauses::bars::judge(&pauses::Results(&outcomes));
    let measured: Vec<_> = judged
        .iter()
        .filter(|b| b.ratio.is_some())
        .cloned()
        .collect();
    println!(
        "{}",
        report::bars(
            if args.only.is_empty() {
                &judged
            } else {
                &measured
            },
            args.markdown
        )
    );
    if pauses::has_one_mode_only(&outcomes) {
        println!(
            "This libdunegc does not know DUNEGC_CONCURRENT: both of its setups are the same."
        );
    }
    if args.quick {
        println!("--quick runs small sizes: the bars hold for full sizes.");
    }
    if let Some(path) = &args.json {
        pauses::write_json(path, &outcomes, &judged, &plan)?;
    }
    if let Some(path) = &args.plot {
        pauses::plot::write(path, &outcomes)?;
    }
    let failed = outcomes.iter().filter(|o| o.failure.is_some()).count();
    Ok(exit_code(failed, outcomes.len()))
}

fn exit_code(failed: usize, all: usize) -> ExitCode {
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("bench-gcbench: {failed} of {all} contestants failed");
    ExitCode::FAILURE
}

fn run(args: RunArgs) -> Result<ExitCode> {
    let dunegc = find_dunegc(args.dunegc.clone())?;
    let workloads = workload::select(&args.only)?;
    let peers = session::available(&args.peers, dunegc.as_deref());
    let binaries = args.binaries();
    session::build(&binaries, &workloads, &peers, dunegc.as_deref())?;
    // Absolute, so that a binary that is missing can be told from a program found in PATH.
    let binaries = binaries
        .canonicalize()
        .with_context(|| binaries.display().to_string())?;
    let variants = match args.variants.as_slice() {
        [] => Variant::ALL
            .into_iter()
            .filter(|v| !args.quick || !v.is_rust())
            .collect(),
        given => given.to_vec(),
    };
    let contestants = session::contestants(&session::Choice {
        workloads: &workloads,
        variants: &variants,
        peers: &peers,
        dunegc: dunegc.as_deref(),
        binaries: &binaries,
        quick: args.quick,
    });
    if contestants.is_empty() {
        bail!("nothing to run: no peer that can run the chosen workloads is installed");
    }
    let plan = args.plan(&binaries)?;
    let outcomes = session::run(&contestants, &plan);
    let _ = std::fs::remove_dir_all(&plan.scratch);

    println!("{}", report::outcomes(&outcomes, args.markdown));
    let dropped: usize = outcomes.iter().map(|o| o.dropped).sum();
    let loaded: usize = outcomes.iter().map(|o| o.loaded).sum();
    println!(
        "Medians of {} runs, interleaved. Dropped because other processes used more than {} CPUs: {dropped}; \
         counted all the same (*): {loaded}. Ratios under 1.2 from few runs are ties.",
        plan.runs, plan.max_load
    );
    let judged = bars::judge(&summary::Results(&outcomes));
    if args.bars {
        println!("{}", report::bars(&judged, args.markdown));
        println!(
            "The bars are judged by time; `cpu` is the same ratio of CPU time, for a busy machine."
        );
        if args.quick {
            println!("--quick runs small sizes: the bars hold for full sizes.");
        }
    }
    if let Some(path) = &args.json {
        session::write_json(path, &outcomes, &judged, &plan)?;
    }
    if let Some(path) = &args.plot {
        plot::write(path, &outcomes)?;
    }
    let failed = outcomes.iter().filter(|o| o.failure.is_some()).count();
    Ok(exit_code(failed, outcomes.len()))
}
