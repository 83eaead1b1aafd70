//! `cargo xtask demo`: the benchmark table, from nothing.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::deps;

/// Installs what is missing, builds, runs the benchmark and prints its table.
pub fn run(context: &Context, args: &[String]) -> Result<()> {
    deps::install(context, deps::DEMO)?;
    context
        .cargo(&["build", "--release", "--workspace"])
        .run()?;
    let mut line = vec![
        "run",
        "--release",
        "--quiet",
        "--package",
        "bench-gcbench",
        "--",
        "run",
    ];
    if args.is_empty() {
        line.push("--quick");
    }
    line.extend(args.iter().map(String::as_str));
    context
        .cargo(&line)
        .limit(Duration::from_secs(60 * 60))
        .run()
}
