//! The step `fuzz`: builds `fuzz/` with coverage counters on the stable compiler and runs it for a while.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::report::Outcome;

/// The only platform; naming it keeps the counters out of build scripts.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// What `cargo fuzz` passes, without comparison hooks: the input holds steps, nothing to compare with.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cdebug-assertions=on";
const SECONDS: u64 = 20;

/// Style, build, and a bounded run from the committed seeds; what the run adds stays in the target directory.
pub fn run(context: &Context) -> Result<Outcome> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    context
        .cargo(&[&["fmt", "--all", "--check"], &manifest[..]].concat())
        .run()?;
    let target = context.target().join("fuzz");
    // Both for the same profile, so that libFuzzer is compiled once.
    let same = [&["--release", "--target", PLATFORM], &manifest[..]].concat();
    let cargo = |first: &[&str], last: &[&str]| {
        context
            .cargo(&[first, &same[..], last].concat())
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", FLAGS)
            .run()
    };
    cargo(&["clippy", "--all-targets"], &["--", "-D", "warnings"])?;
    cargo(&["build"], &[])?;
    let (corpus, found) = (target.join("corpus"), target.join("found"));
    for dir in [&corpus, &found] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let program = target.join(PLATFORM).join("release/c_api");
    let result = context
        .command(
            program,
            &[
                &corpus.display().to_string(),
                "fuzz/seeds/c_api",
                &format!("-max_total_time={SECONDS}"),
                &format!("-artifact_prefix={}/", found.display()),
                "-max_len=600",
                "-len_control=0",
                "-print_final_stats=1",
                "-verbosity=0",
            ],
        )
        .limit(Duration::from_secs(SECONDS + 280))
        .run();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    let line = format!(
        "test result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; c_api fuzzed for {SECONDS} s",
        u32::from(result.is_ok()),
        u32::from(result.is_err())
    );
    println!("{line}");
    context.note(line);
    if let Err(error) = result {
        bail!(
            "{error:#}; the input is in {}, see fuzz/README.md",
            found.display()
        );
    }
    Ok(Outcome::Passed)
}
