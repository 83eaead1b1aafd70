//! `cargo xtask`: everything that people and CI run.
//!
//! `demo` builds and shows the benchmark table, `test` runs every check of the project, `vm-test` those that boot a machine,
//! `torture` runs the stress program for as long as wanted, `install` puts the product in place,
//! `install-deps` brings in the Debian packages that the other three need.

mod beside;
mod context;
mod demo;
mod deps;
mod fuzz;
mod install;
mod report;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use context::Context;

/// Build, show and check dunegc.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build, run GCBench on this collector and on the peers, print the table.
    Demo {
        /// Arguments handed to `bench-gcbench run` in place of `--quick`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every check: style, unit, loom, C API, real programs, paranoid, sanitizer, torture.
    Test(TestArgs),
    /// Run the checks that boot a machine, in QEMU or Bochs: other dirty sources, guest mode, the kernel module.
    VmTest,
    /// Run the stress program (threads, fork, dlopen, signals, small and big objects).
    Torture {
        /// How long, in minutes, all modes together.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// In guest mode, through KVM.
        #[arg(long)]
        kvm: bool,
    },
    /// Measure collectors by what they know of writes: times here, instructions and exits in QEMU. Takes about half an hour.
    Collectors,
    /// Build and install libraries, headers, pkg-config files, the command and its man pages.
    Install(install::InstallArgs),
    /// Install the Debian packages that demo and test need (as root), or print the command.
    InstallDeps,
}

/// Options of `cargo xtask test`.
#[derive(Args)]
struct TestArgs {
    /// Run only these steps (repeatable, or a comma-separated list).
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// List the steps and stop.
    #[arg(long)]
    list: bool,
    /// Stop at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let context = Context::new()?;
    match Cli::parse().command {
        Command::Demo { args } => demo::run(&context, &args),
        Command::Test(args) => steps::test(&context, &args.only, args.list, args.fail_fast),
        Command::VmTest => {
            let steps = [
                "deps",
                "build",
                "qemu",
                "dune",
                "dune-qemu",
                "kmod",
                "bochs",
                "bochs-long",
                "kmod-newest",
            ];
            let steps = steps.map(String::from);
            steps::test(&context, &steps, false, false)
        }
        Command::Torture { minutes, kvm } => steps::torture(&context, minutes, kvm),
        Command::Collectors => demo::collectors(&context),
        Command::Install(args) => install::run(&context, args),
        Command::InstallDeps => deps::install_all(&context),
    }
}
