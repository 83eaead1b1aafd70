//! cargo and rustc build this workspace under the library.

use std::env;
use std::fs;

use dunegc_tests::{Mode, Run, scratch, workspace};

/// Builds into a fresh target directory with cargo, rustc, build scripts and linker all under the library.
fn build(mode: Mode, args: &[&str]) {
    let target = scratch("selfhost");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let outcome = Run::new(cargo)
        .args(["build", "--offline", "--jobs", "2"])
        .args(args)
        .dir(workspace())
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_COLOR", "never")
        // rustc never frees most of what it allocates: the report goes to files.
        .env("DUNEGC_LEAKS_FILE", target.join("leaks.%p"))
        .mode(mode)
        .no_zeal()
        .limit(900)
        .ok();
    assert!(outcome.stderr.contains("Finished"), "{outcome}");
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
    println!(
        "{} {args:?}: {:.1} s",
        mode.name(),
        outcome.took.as_secs_f64()
    );
    let _ = fs::remove_dir_all(target);
}

#[test]
fn workspace_in_malloc_mode() {
    build(Mode::Malloc, &["--workspace"]);
}

/// A smaller part: a collection of rustc's heap costs more than the default mode, which makes none.
#[test]
fn library_in_reclaim_mode() {
    build(Mode::Reclaim, &["--package", "dunegc-ffi"]);
}

#[test]
fn library_in_leaks_mode() {
    build(Mode::Leaks, &["--package", "dunegc-ffi"]);
}
