//! GCBench and friends: peers side by side, in one interleaved run.

mod bars;
mod compile;
mod load;
mod measure;
mod model;
mod plot;
mod redis;
mod report;
mod schedule;
mod session;
mod summary;
mod workload;

use std::path::PathBuf;
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
    /// List the workloads.
    List,
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
    /// Dropped runs of each program that are repeated; after that the quietest of them count, marked `*`.
    #[arg(long, default_value_t = 5)]
    max_repeats: usize,
    /// Seconds after which a run is killed, which is a failure.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
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
        Task::Run(args) => run(args),
        Task::List => {
            for workload in workload::ALL {
                println!("{:12} {}", workload.name, workload.title);
            }
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|e| {
        eprintln!("bench-gcbench: {e:#}");
        ExitCode::FAILURE
    })
}

fn build(out: PathBuf, dunegc: Option<PathBuf>) -> Result<ExitCode> {
    let dunegc = find_dunegc(dunegc)?;
    let peers = session::available(&[Peer::Libgc, Peer::Dunegc], dunegc.as_deref());
    let built = compile::all(&out, &Program::ALL, &peers, dunegc.as_deref())?;
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

fn run(args: RunArgs) -> Result<ExitCode> {
    let dunegc = find_dunegc(args.dunegc)?;
    let workloads = workload::select(&args.only)?;
    let peers = session::available(&args.peers, dunegc.as_deref());
    let binaries = args
        .binaries
        .unwrap_or_else(|| target_dir().join("bench-c"));
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
    let plan = schedule::Plan {
        runs: args.runs.unwrap_or(if args.quick { 2 } else { 5 }).max(1),
        max_load: args.max_load,
        max_repeats: args.max_repeats,
        timeout: Duration::from_secs(args.timeout),
        quick: args.quick,
        scratch: session::scratch(&binaries)?,
    };
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
    if failed > 0 {
        eprintln!(
            "bench-gcbench: {failed} of {} contestants failed",
            outcomes.len()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
