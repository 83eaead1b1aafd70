//! `dunegc man`.

use crate::args::Cli;
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use dunegc::config::OPTIONS;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints the page of `command`, or of dunegc itself.
pub fn man(command: Option<&str>) -> ExitCode {
    let page = match page(command) {
        Ok(page) => page,
        Err(e) => {
            eprintln!("dunegc man: {e}");
            return ExitCode::FAILURE;
        }
    };
    match io::stdout().write_all(&page) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("dunegc man: standard output: {e}");
            ExitCode::FAILURE
        }
    }
}

fn page(command: Option<&str>) -> io::Result<Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let mut out = Vec::new();
    let wanted = match command {
        None => root,
        Some(name) => {
            let found = root.find_subcommand(name).cloned();
            let found =
                found.ok_or_else(|| io::Error::other(format!("{name}: no such command")))?;
            // "dunegc run" is documented in dunegc-run(1).
            found.display_name(format!("dunegc-{name}"))
        }
    };
    // A date would make the page differ from build to build.
    Man::new(wanted)
        .date("")
        .source(concat!("dunegc ", env!("CARGO_PKG_VERSION")))
        .render(&mut out)?;
    if command != Some("doctor") {
        environment().to_writer(&mut out)?;
    }
    Ok(out)
}

/// The variables that the library reads.
fn environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(
        "Read by the library. A value that it refuses is named in one line on standard error.",
    )]);
    for option in OPTIONS {
        roff.control("TP", []);
        roff.text([bold(option.name)]);
        roff.text([roman(format!(
            "{}. Takes {}. Default: {}.",
            option.about, option.expected, option.default
        ))]);
    }
    roff.control("TP", []);
    roff.text([bold("DUNEGC_LIB")]);
    roff.text([roman(
        "The library that dunegc run preloads, if --lib does not name one.",
    )]);
    roff
}
