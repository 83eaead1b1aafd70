//! Collectors by what they know of writes, in the shape of the original system's table: collections, bytes allocated, heap, time or instructions, faults
//! and exits of guest mode.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::compile::{self, Build, binary_path};
use crate::model::{Peer, Program, Variant};

#[derive(Args)]
pub struct CollectorsArgs {
    /// Directory of the programs, as `build` makes them [default: they are built].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// `libdune.so` [default: beside this program].
    #[arg(long)]
    libdune: Option<PathBuf>,
    /// Ticks of the time-stamp counter are instructions: the machine is an emulator that counts.
    #[arg(long)]
    instructions: bool,
    /// Runs of each, in turn; the median counts.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

/// Programs with their arguments, and those for the emulator, which takes a hundred times as long.
const PROGRAMS: [(Program, [&str; 2], [&str; 2]); 4] = [
    (
        Program::Gcbench,
        ["--long-lived", "16"],
        ["--long-lived", "14"],
    ),
    (Program::List, ["--slots", "1000"], ["--slots", "150"]),
    (Program::Hashmap, ["--live", "300000"], ["--live", "60000"]),
    (Program::Xml, ["--parses", "12"], ["--parses", "4"]),
];

/// Name, value of `DUNEGC_DIRTY` (empty: Debian's libgc1), in guest mode, value of `DUNE_FLUSH`.
const SOURCES: [(&str, &str, bool, &str); 7] = [
    ("libgc1", "", false, ""),
    ("mprotect", "mprotect", false, ""),
    ("soft-dirty", "soft-dirty", false, ""),
    ("pagemap-scan", "pagemap-scan", false, ""),
    ("dune-wp, full flushes", "dune-wp", true, "full"),
    ("dune-wp, INVLPG", "dune-wp", true, ""),
    ("dune", "dune", true, ""),
];

/// The last line of a program's output.
#[derive(Deserialize)]
struct Report {
    checksum: String,
    elapsed_ms: f64,
    rss_peak_kib: i64,
    collections: Option<u64>,
    heap_bytes: Option<u64>,
    allocated_bytes: Option<u64>,
}

/// One run.
struct Sample {
    report: Report,
    /// Of the time-stamp counter, from the program's start to its end.
    ticks: u64,
    /// Faults dealt with in the guest, and exits.
    guest: Option<(u64, u64)>,
}

/// Builds what is not there, runs everything, prints one table in Markdown.
pub fn run(args: &CollectorsArgs, scratch: PathBuf, dunegc: Option<PathBuf>) -> Result<()> {
    let dir = args.dir.clone().unwrap_or(scratch);
    if args.dir.is_none() {
        let programs = PROGRAMS.map(|(program, ..)| program);
        let peers = [Peer::Libgc, Peer::Dunegc];
        let built = compile::all(&dir, &programs, &peers, dunegc.as_deref(), &[Build::Plain])?;
        built.left_out.iter().for_each(|line| eprintln!("{line}"));
    }
    let beside = std::env::current_exe()?.with_file_name("libdune.so");
    let libdune = args.libdune.clone().unwrap_or(beside);
    let unit = if args.instructions {
        "million instructions"
    } else {
        "ms"
    };
    println!(
        "| program | source | collections | MB allocated | heap, MB | peak RSS, MiB | {unit} | faults in the guest | exits |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for (program, large, small) in PROGRAMS {
        let arguments = if args.instructions { small } else { large };
        let mut samples: HashMap<&str, Vec<Sample>> = HashMap::new();
        let mut missing: HashMap<&str, String> = HashMap::new();
        for _ in 0..args.runs.max(1) {
            for (name, dirty, guest, flush) in SOURCES {
                let peer = if dirty.is_empty() {
                    Peer::Libgc
                } else {
                    Peer::Dunegc
                };
                let path = binary_path(&dir, program, Variant::Collected, peer, Build::Plain);
                let mut command = Command::new(path);
                command.args(arguments).env("DUNEGC_CONCURRENT", "yes");
                command.env("DUNEGC_DIRTY", dirty);
                if guest {
                    command.env("LD_PRELOAD", &libdune);
                    command.env("DUNE", "stats").env("DUNE_FLUSH", flush);
                }
                match sample(&mut command, guest) {
                    Ok(sample) => samples.entry(name).or_default().push(sample),
                    Err(e) => _ = missing.insert(name, format!("{e:#}")),
                }
            }
        }
        let mut checksums = samples.values().flatten().map(|s| &s.report.checksum);
        let first = checksums.next();
        if checksums.any(|other| Some(other) != first) {
            bail!("{program}: the checksums differ");
        }
        for (name, ..) in SOURCES {
            match samples.get(name) {
                Some(runs) => println!("{}", row(program, name, runs, args.instructions)),
                None => eprintln!("{program}, {name}: {}", missing[name]),
            }
        }
    }
    Ok(())
}

/// Medians of the runs.
fn row(program: Program, name: &str, runs: &[Sample], instructions: bool) -> String {
    let of = |figure: &dyn Fn(&Sample) -> Option<f64>, digits: usize| {
        let mut all: Vec<f64> = runs.iter().filter_map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2)
            .map_or("—".to_owned(), |m| format!("{m:.digits$}"))
    };
    let mega = |bytes: Option<u64>| bytes.map(|b| b as f64 / 1e6);
    let time = |s: &Sample| {
        Some(if instructions {
            s.ticks as f64 / 1e6
        } else {
            s.report.elapsed_ms
        })
    };
    format!(
        "| {program} | {name} | {} | {} | {} | {} | {} | {} | {} |",
        of(&|s| s.report.collections.map(|n| n as f64), 0),
        of(&|s| mega(s.report.allocated_bytes), 0),
        of(&|s| mega(s.report.heap_bytes), 0),
        of(&|s| Some(s.report.rss_peak_kib as f64 / 1024.0), 0),
        of(&time, 0),
        of(&|s| s.guest.map(|(faults, _)| faults as f64), 0),
        of(&|s| s.guest.map(|(_, exits)| exits as f64), 0),
    )
}

/// Runs a program. A source that does not work here is an error that says so.
fn sample(command: &mut Command, guest: bool) -> Result<Sample> {
    // SAFETY: reads a counter.
    let now = || unsafe { std::arch::x86_64::_rdtsc() };
    let start = now();
    let output = command.output().context("it does not start")?;
    let ticks = now() - start;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: {errors}", output.status);
    }
    let other = |line: &&str| line.contains("does not work here") || line.contains("natively");
    if let Some(line) = errors.lines().find(other) {
        bail!("{line}");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("it printed nothing")?;
    let guest = guest.then(|| counts(&errors)).flatten();
    Ok(Sample {
        report: serde_json::from_str(last)?,
        ticks,
        guest,
    })
}

/// Faults and exits of `DUNE=stats`.
fn counts(errors: &str) -> Option<(u64, u64)> {
    let line = errors.lines().find(|l| l.starts_with("dune: "))?;
    let count = |name: &str| -> Option<u64> {
        let (_, after) = line.split_once(&format!(" {name}: "))?;
        after.split([',', ' ']).next()?.parse().ok()
    };
    let exits = [
        "system_calls",
        "fills",
        "exceptions",
        "refused",
        "interrupted",
        "calls",
    ];
    let exits: Option<u64> = exits.into_iter().map(count).sum();
    Some((count("faults")?, exits?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_read_from_the_line_of_guest_mode() {
        let line = "dune: inside at the end, Stats { system_calls: 7, fills: 10, exceptions: 1, refused: 2, interrupted: 3, faults: 40, calls: 4, flushes: 5, enters: 1, leaves: 0 }";
        assert_eq!(super::counts(line), Some((40, 27)));
        assert_eq!(super::counts("nothing"), None);
    }
}
