//! `cargo xtask demo`: the benchmark table, from nothing; `cargo xtask collectors`: that of the ways to learn of writes.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::deps;

/// Installs what is missing, builds, runs the benchmark and prints its table.
pub fn run(context: &Context, args: &[String]) -> Result<()> {
    deps::install(context, deps::DEMO)?;
    let mut line = vec!["run"];
    if args.is_empty() {
        line.push("--quick");
    }
    line.extend(args.iter().map(String::as_str));
    build_and_bench(context, &line)
}

/// Builds the workspace and runs `bench-gcbench` with these arguments.
fn build_and_bench(context: &Context, args: &[&str]) -> Result<()> {
    context
        .cargo(&["build", "--release", "--workspace"])
        .run()?;
    let run = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "bench-gcbench",
        "--",
    ];
    context
        .cargo(&[&run, args].concat())
        .limit(Duration::from_secs(60 * 60))
        .run()
}

/// Builds, and prints both tables of collectors: natively with times, in QEMU with instructions.
pub fn collectors(context: &Context) -> Result<()> {
    deps::install_all(context)?;
    build_and_bench(context, &["collectors", "--runs", "5"])?;
    let counted = [
        "test",
        "--package",
        "dunegc-tests",
        "--test",
        "dune_long",
        "collectors",
        "--",
        "--ignored",
        "--nocapture",
    ];
    context
        .cargo(&counted)
        .env("DUNEGC_LIB", context.library())
        .limit(Duration::from_secs(60 * 60))
        .run()
}
