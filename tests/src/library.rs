//! The library under test and its modes.

use std::env;
use std::path::{Path, PathBuf};

/// A value of `DUNEGC_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `free` frees, what is not freed stays.
    Malloc,
    /// Unreachable blocks are freed by the collector.
    Reclaim,
    /// Unreachable blocks are reported at exit.
    Leaks,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Malloc, Self::Reclaim, Self::Leaks];

    /// As `DUNEGC_MODE` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malloc => "malloc",
            Self::Reclaim => "reclaim",
            Self::Leaks => "leaks",
        }
    }
}

/// The workspace root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
}

/// The target directory of this build.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

/// `libdunegc.so`: `DUNEGC_LIB`, or the workspace's release build.
///
/// # Panics
/// When there is none; the message says how to build it.
pub fn library() -> PathBuf {
    let path = env::var_os("DUNEGC_LIB")
        .map_or_else(|| target().join("release/libdunegc.so"), PathBuf::from);
    assert!(
        path.is_file(),
        "{}: no such library; build it with `cargo build --release -p dunegc-ffi`, or set DUNEGC_LIB",
        path.display()
    );
    path
}

/// `dunegc run --engine kvm`, built now: what a command is run under. `None` where there is no guest mode.
///
/// # Panics
/// When it cannot be built.
pub fn engine_kvm() -> Option<impl Fn(crate::Run) -> crate::Run> {
    let library = preload_dune()?;
    let command = build_command();
    Some(move |run: crate::Run| {
        let args = ["run", "--engine", "kvm", "--lib"].map(std::ffi::OsString::from);
        let library = [library.clone().into_os_string(), "--".into()];
        run.through(&command, args.into_iter().chain(library))
    })
}

/// `libdune.so`, built now; `None` where there is no guest mode.
///
/// # Panics
/// When it cannot be built.
pub fn preload_dune() -> Option<PathBuf> {
    if let Err(e) = libdune::Dune::probe() {
        eprintln!("skipped: {e}");
        return None;
    }
    Some(build_preload())
}

/// `libdune.so`, built now, wherever it will run.
///
/// # Panics
/// When it cannot be built.
pub fn build_preload() -> PathBuf {
    let args = ["build", "--release", "--package", "libdune-preload"];
    built(&args, "/libdune.so")
}

/// The command `dunegc`, built now.
///
/// # Panics
/// When it cannot be built.
pub fn build_command() -> PathBuf {
    built_with_test("doctor", "/dunegc")
}

/// The command `bench-gcbench`, built now.
///
/// # Panics
/// When it cannot be built.
pub fn build_benchmarks() -> PathBuf {
    built_with_test("runner", "/bench-gcbench")
}

/// A program that cargo builds for a test of its package, as it does when it builds all tests: with dependencies that are the same.
fn built_with_test(test: &str, end: &str) -> PathBuf {
    built(&["test", "--workspace", "--test", test, "--no-run"], end)
}

/// What cargo builds with these arguments and names with this end.
fn built(what: &[&str], end: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let messages = crate::Run::new(cargo)
        .args(what)
        .arg("--message-format=json")
        .dir(workspace())
        .limit(600)
        .ok()
        .stdout;
    let path = messages
        .split('"')
        .find(|word| word.ends_with(end) && Path::new(word).is_file());
    PathBuf::from(path.expect("cargo names what it has built"))
}
