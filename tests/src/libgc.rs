//! This project's libgc.so.1 in the place of Debian's.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::library::target;
use crate::run::{Outcome, Run, scratch};

/// The names under which programs look for the libraries.
pub const LIBGC: [(&str, &str); 2] = [("libgc.so.1", "libgc.so"), ("libgccpp.so.1", "libgccpp.so")];

/// A folder for `LD_LIBRARY_PATH` with this project's libgc, and nothing else: of `DUNEGC_LIBGC_DIR`, or of the release build.
///
/// # Panics
/// When there is none; the message says how to build it.
pub fn libgc_dir() -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let built =
            env::var_os("DUNEGC_LIBGC_DIR").map_or_else(|| target().join("release"), PathBuf::from);
        // One folder for each build, shared by test processes: each link appears under its name in one step.
        let name = built.display().to_string().replace('/', "-");
        let dir = target().join("dunegc-tests").join(format!("libgc{name}"));
        fs::create_dir_all(&dir).expect("create the folder of the library");
        let fresh = scratch("links");
        for (soname, file) in LIBGC {
            let library = built.join(file);
            for name in [soname, file] {
                if library.is_file() {
                    symlink(&library, fresh.join(name)).expect("link the library");
                    fs::rename(fresh.join(name), dir.join(name)).expect("move the link");
                }
            }
        }
        let _ = fs::remove_dir_all(fresh);
        assert!(
            dir.join("libgc.so").exists(),
            "{}: no libgc.so; build it with `cargo build --release -p dunegc-libgc`, or set DUNEGC_LIBGC_DIR",
            built.display()
        );
        dir
    })
    .clone()
}

/// `run` with this project's libgc; forced collections and others beside the program as in the other suites.
pub fn with_libgc(mut run: Run) -> Run {
    run = run.env("LD_LIBRARY_PATH", libgc_dir());
    if let Some(every) = env::var_os("DUNEGC_TEST_ZEAL") {
        run = run.env("DUNEGC_ZEAL", every);
    }
    if env::var_os("DUNEGC_TEST_CONCURRENT").is_some() {
        run = run.env("DUNEGC_CONCURRENT", "yes");
    }
    if env::var_os("DUNEGC_TEST_GENERATIONAL").is_some() {
        run = run.env("DUNEGC_GENERATIONAL", "yes");
    }
    run
}

/// Runs what `make` makes in a fresh directory each: with Debian's library, with this one by LD_LIBRARY_PATH and by LD_PRELOAD.
/// Output, exit status and `made` (files left behind, say) must be the same. The dynamic loader is asked what it loads.
///
/// # Panics
/// When they differ, or when this project's library is not loaded.
pub fn same_program(
    name: &str,
    make: impl Fn(&Path) -> Run,
    made: impl Fn(&Path, &Outcome) -> String,
) {
    let run = |prepare: &dyn Fn(Run) -> Run| {
        let dir = scratch(name);
        let outcome = prepare(make(&dir)).output();
        let made = made(&dir, &outcome);
        let shown = (outcome.stdout.clone() + &made).replace(&*dir.to_string_lossy(), "DIR");
        let _ = fs::remove_dir_all(dir);
        (outcome, shown)
    };
    let (expected, shown) = run(&|run| run);
    assert!(!shown.is_empty(), "{expected}");
    let library = libgc_dir();
    let by_preload = |run: Run| run.env("LD_PRELOAD", library.join("libgc.so.1"));
    for prepare in [&with_libgc as &dyn Fn(Run) -> Run, &by_preload] {
        let (got, got_shown) = run(prepare);
        let differs = shown
            .lines()
            .zip(got_shown.lines())
            .find(|(left, right)| left != right);
        assert!(
            expected.code() == got.code() && shown == got_shown,
            "first difference: {differs:?}\n=== Debian's libgc1\n{expected}\n=== this one\n{got}"
        );
    }
    let log = scratch("loader");
    let run = |dir: &Path| {
        with_libgc(make(dir))
            .env("LD_DEBUG", "files")
            .env("LD_DEBUG_OUTPUT", log.join("log"))
    };
    let dir = scratch(name);
    run(&dir).output();
    let ours = format!("{}/libgc.so.1", library.display());
    let loaded = fs::read_dir(&log).expect("the loader's logs").any(|entry| {
        let path = entry.expect("the loader's logs").path();
        fs::read_to_string(path).is_ok_and(|text| text.contains(&ours))
    });
    assert!(loaded, "{name} does not load {ours}");
    let _ = fs::remove_dir_all(log);
    let _ = fs::remove_dir_all(dir);
}
