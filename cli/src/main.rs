//! The `dunegc` command.

mod args;
mod doctor;
mod library;
mod man;
mod pipe;
mod program;
mod run;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let failed = match Cli::parse().command {
        // Does not return if it succeeds.
        Command::Run(run) => run::run(&run),
        Command::Doctor(doctor) => return doctor::doctor(&doctor),
        Command::Man { command } => return man::man(command.as_deref()),
    };
    eprintln!("dunegc run: {}", failed.message);
    ExitCode::from(failed.status)
}
