//! What the library does when the system refuses memory, threads, descriptors, signals or /proc.

use dunegc_tests::{Mode, Outcome, Run, compile, in_modes};

fn limits(case: &str) -> Run {
    Run::new(compile("limits")).arg(case)
}

/// The limit holds from the first instruction of the program.
fn under(limit: &str, case: &str) -> Run {
    Run::new("prlimit")
        .arg(limit)
        .arg(compile("limits"))
        .arg(case)
}

/// Ends well; may say on standard error, in lines of its own, what it does without.
fn ends_well(run: &Run) {
    for mode in Mode::ALL {
        let outcome = run.clone().mode(mode).ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
        if mode != Mode::Leaks {
            only_own_lines(&outcome);
        }
    }
}

/// Every line on standard error comes from the library, and there are few.
fn only_own_lines(outcome: &Outcome) {
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(
        lines.len() <= 4 && lines.iter().all(|line| line.starts_with("dunegc")),
        "{outcome}"
    );
}

#[test]
fn heap_exhausted_under_max_heap() {
    in_modes(&limits("exhaust").env("DUNEGC_MAX_HEAP", "64M").no_zeal());
}

#[test]
fn heap_exhausted_under_rlimit_as() {
    in_modes(&under("--as=268435456", "exhaust").no_zeal());
    // What is left for a collection's tables when the heap cannot grow must not be a matter of chance.
    for bytes in (250_000_000..252_000_000).step_by(200_000) {
        let run = under(&format!("--as={bytes}"), "exhaust").no_zeal();
        let outcome = run.mode(Mode::Malloc).ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    }
}

#[test]
fn heap_exhausted_under_rlimit_data() {
    in_modes(&under("--data=134217728", "exhaust").no_zeal());
}

#[test]
fn small_address_space() {
    for megabytes in [512, 96] {
        ends_well(&under(&format!("--as={}", megabytes << 20), "ordinary"));
    }
}

/// Too little even for libc: it may fail to start, but not by a crash of the library.
#[test]
fn tiny_address_space() {
    for megabytes in [4, 8, 12, 16, 24] {
        let run = under(&format!("--as={}", megabytes << 20), "ordinary");
        for mode in Mode::ALL {
            let outcome = run.clone().mode(mode).output();
            let clean = outcome.status.code().is_some() || outcome.code() == 128 + libc::SIGABRT;
            assert!(clean, "{outcome}");
        }
    }
}

#[test]
fn unlimited_stack() {
    ends_well(&under("--stack=unlimited", "ordinary"));
}

#[test]
fn thread_that_blocks_all_signals() {
    ends_well(&limits("blocked-signals"));
}

#[test]
fn threads_refused_by_a_filter() {
    ends_well(&limits("no-threads"));
}

#[test]
fn threads_refused_by_the_process_limit() {
    ends_well(&limits("process-limit"));
}

#[test]
fn no_descriptor_left() {
    ends_well(&limits("no-descriptors"));
}

#[test]
fn program_closes_all_descriptors() {
    ends_well(&limits("descriptors-closed"));
}

#[test]
fn mmap_refused() {
    ends_well(&limits("mmap-refused"));
}

#[test]
fn advice_and_other_optional_calls_refused() {
    ends_well(&limits("advice-refused"));
}

#[test]
fn proc_not_mounted() {
    ends_well(&limits("no-proc"));
}

/// Not mounted from the first instruction on.
#[test]
fn proc_never_mounted() {
    let script = "mount --make-rprivate / && umount -l /proc && exec \"$0\" ordinary";
    ends_well(
        &Run::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(compile("limits")),
    );
}
