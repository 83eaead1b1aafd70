//! How fast programs compute in guest mode: the time that they spend in their own code, natively and inside, in turns. What exits and the kernel take is not in
//! it; it is in the whole time, which is shown beside it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bench_gcbench::boxed::gcbench_once;
use clap::Args;
use libdune::{Config, Dune};

use crate::compile::{self, Build, binary_path};
use crate::model::{Peer, Program, Variant};
use crate::summary;

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
    let programs = [Program::Gcbench];
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
        ("xz -T1 -3 of 8 MB", "xz".into(), vec!["-T1", "-3", "-c"]),
    ];
    in_one_process(args.pairs)?;
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
            summary::median(pairs.iter().map(figure)).expect("at least one pair")
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

/// GCBench with malloc again and again in one process, once natively and once inside in turns: all of its memory is known and present, so that a round has hardly an
/// exit.
fn in_one_process(pairs: usize) -> Result<()> {
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = rounds(pairs);
        if let Err(e) = &done {
            println!("in one process: {e:#}");
        }
        let _ = std::io::stdout().flush();
        // SAFETY: ends the child, which is in guest mode for good.
        unsafe { libc::_exit(done.is_err().into()) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, &mut status, 0) };
    if status != 0 {
        bail!("in one process: wait status {status:#x}");
    }
    Ok(())
}

fn rounds(pairs: usize) -> Result<()> {
    // SAFETY: malloc keeps what is freed, so that memory that was used once stays.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
    }
    let error = |e| anyhow::anyhow!("{e}");
    let dune = Dune::enter(Config::default()).map_err(error)?;
    let checksum = gcbench_once();
    let mut all = Vec::new();
    let mut exits = 0;
    for _ in 0..pairs.max(1) {
        let before = dune.stats().exits();
        let start = Instant::now();
        let same = gcbench_once() == checksum;
        let inside = start.elapsed().as_secs_f64();
        exits = dune.stats().exits() - before;
        dune.leave_thread().map_err(error)?;
        let start = Instant::now();
        let same = gcbench_once() == checksum && same;
        let native = start.elapsed().as_secs_f64();
        dune.enter_thread().map_err(error)?;
        if !same {
            bail!("the checksums differ");
        }
        all.push((native, inside));
    }
    let median = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        summary::median(all.iter().map(figure)).expect("at least one round")
    };
    println!(
        "GCBench with malloc in one process, native and inside in turns: {:.3} and {:.3} s, native / guest mode {:.3}, {exits} exits a round\n",
        median(&|p| p.0),
        median(&|p| p.1),
        median(&|p| p.0 / p.1),
    );
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
