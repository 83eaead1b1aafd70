//! How fast programs compute in guest mode: the time that they spend in their own code, natively and inside, in turns. What exits and the kernel take is not in
//! it; it is in the whole time, which is shown beside it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::compile::{self, Build, binary_path};
use crate::model::{Peer, Program, Variant};

#[derive(Args)]
pub struct SpeedArgs {
    /// `libdune.so` [default: beside this program].
    #[arg(long)]
    libdune: Option<PathBuf>,
    /// Pairs of runs.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
}

/// Seconds of a run: in the program's own code, in the kernel for it, from start to end.
#[derive(Clone, Copy)]
struct Times {
    user: f64,
    system: f64,
    wall: f64,
}

/// Runs everything and prints a table in Markdown.
pub fn run(args: &SpeedArgs, scratch: &Path) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("libdune.so");
    let libdune = args.libdune.clone().unwrap_or(beside);
    let programs = [Program::Gcbench, Program::Hashmap];
    let built = compile::all(scratch, &programs, &[Peer::Glibc], None, &[Build::Plain])?;
    built.left_out.iter().for_each(|line| eprintln!("{line}"));
    let numbers = scratch.join("numbers");
    let mut file = File::create(&numbers).context("a file to compress")?;
    (1..=1_200_000).try_for_each(|n| writeln!(file, "{n}"))?;
    drop(file);
    let malloc =
        |program| binary_path(scratch, program, Variant::Malloc, Peer::Glibc, Build::Plain);
    let runs = [
        ("gcbench, malloc", malloc(Program::Gcbench), vec![]),
        ("hashmap, malloc", malloc(Program::Hashmap), vec![]),
        ("xz -T1 -3 of 8 MB", "xz".into(), vec!["-T1", "-3", "-c"]),
    ];
    println!(
        "| program | own code, s: native | guest mode | native / guest mode | kernel, s | | whole, s | |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, program, arguments) in runs {
        let run = |guest: bool| {
            let mut command = Command::new(&program);
            command.args(&arguments).stdin(File::open(&numbers)?);
            if guest {
                command.env("LD_PRELOAD", &libdune);
            }
            times(command.stdout(Stdio::null()))
        };
        let mut pairs = Vec::new();
        for _ in 0..args.pairs.max(1) {
            pairs.push((run(false)?, run(true)?));
        }
        let median = |figure: &dyn Fn(&(Times, Times)) -> f64| {
            let mut all: Vec<f64> = pairs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "| {name} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
            median(&|p| p.0.user),
            median(&|p| p.1.user),
            median(&|p| p.0.user / p.1.user),
            median(&|p| p.0.system),
            median(&|p| p.1.system),
            median(&|p| p.0.wall),
            median(&|p| p.1.wall),
        );
    }
    Ok(())
}

/// Runs a program to its end.
fn times(command: &mut Command) -> Result<Times> {
    let start = Instant::now();
    let child = command.spawn().context("it does not start")?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: our own child, which nobody else waits for; the kernel fills both.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, usage.as_mut_ptr()) };
    let wall = start.elapsed().as_secs_f64();
    if waited != child.id() as i32 || status != 0 {
        bail!("it ended with wait status {status:#x}");
    }
    // SAFETY: plain data, zero or filled.
    let usage = unsafe { usage.assume_init() };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Ok(Times {
        user: seconds(usage.ru_utime),
        system: seconds(usage.ru_stime),
        wall,
    })
}
