//! `dunegc doctor`.

mod choice;
mod guest;
mod limits;
mod preload;
mod report;
mod system;
mod written;

use crate::args::Doctor;
use report::{Check, Report, Status};
use std::process::ExitCode;

/// Examines the machine and prints what it found.
pub fn doctor(args: &Doctor) -> ExitCode {
    // Reads this process's DUNEGC_ variables, as the library would; refused values are named on stderr.
    let config = dunegc::config::get();
    let thp = system::huge_pages();
    let cores = system::cores();
    let checks: Vec<Check> = [
        vec![
            system::kernel(),
            system::libc(),
            thp.check(),
            cores.check(),
            limits::memory(),
        ],
        vec![
            limits::overcommit(),
            limits::address_space(),
            limits::map_count(),
            system::proc(),
        ],
        written::sources(),
        vec![guest::kvm()],
        vec![preload::check(args.lib.as_deref())],
    ]
    .concat();
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        checks,
        chosen: choice::choices(config, &cores, &thp),
    };
    let printed = if args.json {
        report.json()
    } else {
        report.text()
    };
    if let Err(e) = printed {
        eprintln!("dunegc doctor: standard output: {e}");
        return ExitCode::FAILURE;
    }
    let failed = report.checks.iter().any(|c| c.status == Status::Fail);
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
