//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use dunegc::config::Opt;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Runs programs under the dunegc collector and examines the machine for it.
#[derive(Parser)]
#[command(name = "dunegc", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Run(Run),
    Doctor(Doctor),
    /// Print a man page (roff) to standard output.
    Man {
        /// The subcommand whose page is wanted; without it, the page of dunegc itself.
        #[arg(value_parser = ["run", "doctor"])]
        command: Option<String>,
    },
}

/// Run a program with libdunegc.so preloaded.
///
/// Sets LD_PRELOAD (an existing value stays, behind the library) and DUNEGC_ variables, then replaces itself by the
/// program. The program's children inherit both.
///
/// Exit status: that of the program; 125 if dunegc itself fails, 126 if the program was found but cannot be run this
/// way, 127 if it was not found.
#[derive(Args)]
pub struct Run {
    /// What happens to memory from malloc (DUNEGC_MODE).
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Print statistics to standard error at exit (DUNEGC_STATS=1).
    #[arg(long)]
    pub stats: bool,
    /// Write statistics as JSON to PATH at exit; %p stands for the process id (DUNEGC_STATS=json:PATH).
    #[arg(long, value_name = "PATH", conflicts_with = "stats")]
    pub stats_json: Option<OsString>,
    /// Largest heap, with suffix K, M, G or T (DUNEGC_MAX_HEAP).
    #[arg(long, value_name = "SIZE", value_parser = max_heap)]
    pub max_heap: Option<String>,
    /// Run the program in guest mode: libdune.so, next to this command or in ../lib, is preloaded. libdunegc.so is preloaded
    /// behind it if another option asks for something of the collector's. Refused if the machine does not allow it.
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,
    /// The library to preload. Otherwise: DUNEGC_LIB, libdunegc.so next to this command, or in ../lib. With --engine, a folder
    /// that holds both libraries, or libdune.so.
    #[arg(long, value_name = "PATH")]
    pub lib: Option<PathBuf>,
    /// Set an environment variable for the program. May be repeated; DUNEGC_ variables are checked.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// The program and its arguments. From PROG on nothing is an option of dunegc's, with or without -- before it.
    #[arg(required = true, trailing_var_arg = true, value_names = ["PROG", "ARGS"])]
    pub command: Vec<OsString>,
}

/// Examine the machine: what is available to the collector, what would be chosen and why.
///
/// Exit status: 0, also with warnings; 1 if programs cannot be run under the collector at all.
#[derive(Args)]
pub struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The library to examine. Otherwise as for run.
    #[arg(long, value_name = "PATH")]
    pub lib: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Mode {
    /// free() frees; what is not freed stays.
    Malloc,
    /// The collector also frees what the program lost.
    Reclaim,
    /// Report what the program lost, with allocation stacks.
    Leaks,
}

/// How a program gets into guest mode.
#[derive(Clone, Copy, ValueEnum)]
pub enum Engine {
    /// Through /dev/kvm.
    Kvm,
    /// Through /dev/dune, the project's kernel module.
    Kmod,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Malloc => "malloc",
            Mode::Reclaim => "reclaim",
            Mode::Leaks => "leaks",
        })
    }
}

fn max_heap(value: &str) -> Result<String, String> {
    check("DUNEGC_MAX_HEAP", value)?;
    Ok(value.to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            check(name, value)?;
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Checks the value of a DUNEGC_ variable with the library's own parser; other variables pass.
fn check(name: &str, value: &str) -> Result<(), String> {
    let option = Opt::find(name.as_bytes());
    match option.map_or(Ok(()), |o| o.check(value.as_bytes())) {
        Ok(()) => Ok(()),
        Err(e) => Err(format!("expected {}", e.expected())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn modes_are_those_of_the_library() {
        let option = Opt::find(b"DUNEGC_MODE").expect("a mode option");
        for mode in Mode::value_variants() {
            assert!(option.check(mode.to_string().as_bytes()).is_ok(), "{mode}");
        }
    }
}
