//! Stress: DUNEGC_TORTURE_SECONDS (default 8) of threads, fork, dlopen and signals, split over the modes; in guest mode if DUNEGC_TORTURE_KVM is 1.

use std::env;
use std::fs;
use std::path::PathBuf;

use dunegc_tests::{Mode, Run, compile, compile_shared, scratch};

/// Seconds for one part out of `parts`.
fn share(parts: f64) -> f64 {
    let total = env::var("DUNEGC_TORTURE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    (total.unwrap_or(8.0_f64) / parts).max(1.0)
}

fn modules() -> PathBuf {
    let dir = scratch("torture-modules");
    let module = compile_shared("tls_dynamic", "tls_dynamic.so", &[]);
    for number in 0..10 {
        fs::copy(&module, dir.join(format!("dynamic{number}.so"))).expect("copy a module");
    }
    dir
}

fn torture(mode: Mode, env: &[(&str, &str)]) {
    let seconds = share(4.0);
    let dir = modules();
    let mut run = Run::new(compile("torture"))
        .arg(seconds.to_string())
        .arg(&dir)
        .mode(mode)
        .no_zeal()
        .limit(seconds as u64 * 2 + 120);
    for (name, value) in env {
        run = run.env(name, value);
    }
    let guest = env::var("DUNEGC_TORTURE_KVM").is_ok_and(|kvm| kvm == "1");
    if guest {
        let library = dunegc_tests::preload_dune().expect("guest mode");
        let both = format!(
            "{}:{}",
            library.display(),
            dunegc_tests::library().display()
        );
        run = run.env("LD_PRELOAD", both).env("DUNE", "stats");
    }
    let outcome = run.ok();
    let mut lines = outcome.stdout.lines();
    println!(
        "{} {env:?}: {} ({:.0} s)",
        mode.name(),
        lines.next().unwrap_or(""),
        outcome.took.as_secs_f64()
    );
    assert_eq!(lines.last(), Some("ok"), "{outcome}");
    let mut errors = outcome.stderr.lines();
    if guest {
        assert!(
            outcome.stderr.contains("dune: inside at the end"),
            "{outcome}"
        );
    }
    // In guest mode on a machine without hardware for it, threads may be too slow for a collection, which is then put off.
    let late = |line: &str| {
        guest && (line.starts_with("dune: ") || line.ends_with("this collection is put off"))
    };
    assert!(errors.all(late), "{outcome}");
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn malloc_mode() {
    torture(Mode::Malloc, &[]);
}

#[test]
fn malloc_mode_with_zeal() {
    torture(Mode::Malloc, &[("DUNEGC_ZEAL", "211")]);
}

#[test]
fn reclaim_mode() {
    torture(Mode::Reclaim, &[]);
}

#[test]
fn reclaim_mode_with_zeal() {
    torture(Mode::Reclaim, &[("DUNEGC_ZEAL", "211")]);
}
