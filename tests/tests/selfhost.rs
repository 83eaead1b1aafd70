//! cargo and rustc build this workspace under the library.

use std::env;
use std::fs;

use dunegc_tests::{Mode, Run, scratch, workspace};

/// Builds the workspace into a fresh target directory with cargo, rustc, build scripts and linker all under the library.
fn build(mode: Mode) {
    let target = scratch("selfhost");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let outcome = Run::new(cargo)
        .args(["build", "--workspace", "--offline", "--jobs", "2"])
        // Not optimised: it is the library under the compiler that is tested, in three modes.
        .args(["--profile", "selfhost"])
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
    println!("{}: {:.1} s", mode.name(), outcome.took.as_secs_f64());
    let _ = fs::remove_dir_all(target);
}

#[test]
fn in_malloc_mode() {
    build(Mode::Malloc);
}

#[test]
fn in_reclaim_mode() {
    build(Mode::Reclaim);
}

#[test]
fn in_leaks_mode() {
    build(Mode::Leaks);
}
