//! The environment as a process really gets it: this test program runs itself with variables set.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What the child does instead of testing.
const CHILD: &str = "CONFIG_TEST_CHILD";
/// Threads that read the configuration first, at once.
const THREADS: usize = 3;

#[test]
fn child() {
    match std::env::var(CHILD).as_deref() {
        Ok("show") => println!("\nconfig {:?}", dunegc::config::get()),
        Ok("race") => {
            // A spinning barrier lets all go at the same moment.
            let waiting = AtomicUsize::new(THREADS);
            let get = || {
                waiting.fetch_sub(1, SeqCst);
                while waiting.load(SeqCst) != 0 {
                    std::hint::spin_loop();
                }
                std::ptr::from_ref(dunegc::config::get()) as usize
            };
            let seen: Vec<usize> = std::thread::scope(|s| {
                let threads: Vec<_> = (0..THREADS).map(|_| s.spawn(get)).collect();
                threads
                    .into_iter()
                    .map(|t| t.join().expect("a thread"))
                    .collect()
            });
            assert!(seen.iter().all(|&p| p == seen[0]), "{seen:?}");
        }
        Ok("report") => {
            dunegc::stats::report_at_exit();
            dunegc::stats::report_at_exit();
        }
        _ => {}
    }
}

fn command(program: &Path, what: &str, variables: &[(&str, &str)]) -> Command {
    let mut c = Command::new(program);
    c.args(["--exact", "child", "--nocapture"])
        .env_clear()
        .env(CHILD, what)
        .envs(variables.iter().copied());
    c
}

fn run(what: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let program = std::env::current_exe().expect("this program");
    output(
        command(&program, what, variables)
            .output()
            .expect("the child runs"),
    )
}

/// Standard output, and the collector's lines on standard error without their prefix.
fn output(o: Output) -> (String, Vec<String>) {
    let err = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.success(), "{} {err}", o.status);
    let ours = err.lines().filter_map(|l| {
        l.strip_prefix("dunegc: [")?
            .split_once("] ")
            .map(|(_, t)| t.to_owned())
    });
    (
        String::from_utf8_lossy(&o.stdout).into_owned(),
        ours.collect(),
    )
}

#[test]
fn values_arrive_and_bad_ones_are_named() {
    let (out, lines) = run(
        "show",
        &[("DUNEGC_MODE", "reclaim"), ("DUNEGC_MAX_HEAP", "1G")],
    );
    assert!(
        out.contains("mode: Reclaim") && out.contains("max_heap: Some(1073741824)"),
        "{out}"
    );
    assert!(lines.is_empty(), "{lines:?}");

    let (out, lines) = run("show", &[("DUNEGC_MODE", "fast"), ("DUNEGC_LOGG", "1")]);
    assert!(out.contains("mode: Malloc"), "{out}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines.contains(
            &"DUNEGC_MODE=fast: expected malloc, reclaim or leaks; using malloc".to_owned()
        ),
        "{lines:?}"
    );
    assert!(
        lines.contains(
            &"DUNEGC_LOGG: no such variable, ignored; the closest is DUNEGC_LOG".to_owned()
        ),
        "{lines:?}"
    );
}

#[test]
fn racing_threads_agree_and_one_speaks() {
    // A large environment keeps the first reader busy until the others arrive.
    let names: Vec<String> = (0..8000).map(|i| format!("FILLER_{i}")).collect();
    let value = "x".repeat(60);
    let mut variables: Vec<(&str, &str)> =
        names.iter().map(|n| (n.as_str(), value.as_str())).collect();
    variables.push(("DUNEGC_MODE", "fast"));
    for _ in 0..30 {
        let (_, lines) = run("race", &variables);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

#[test]
fn reports_come_once() {
    let (_, lines) = run("report", &[("DUNEGC_STATS", "1")]);
    assert_eq!(lines, ["statistics, mode malloc"]);
    let (_, lines) = run("report", &[]);
    assert!(lines.is_empty(), "{lines:?}");
    let (_, lines) = run("report", &[("DUNEGC_STATS", "json:/nonexistent/%p")]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let end = ": ENOENT: no such file or directory; they are lost";
    assert!(
        lines[0].starts_with("cannot write statistics to /nonexistent/") && lines[0].ends_with(end),
        "{lines:?}"
    );
    assert!(!lines[0].contains("%p"), "{lines:?}");
}

#[test]
fn raised_privileges_ignore_everything() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can make a set-user-id copy of this program");
        return;
    }
    let copy = std::env::temp_dir().join(format!("dunegc-suid-{}", std::process::id()));
    // By another process: a descriptor open for writing here could leak into a child of another test, and the kernel
    // refuses to run a file that is open for writing.
    let program = std::env::current_exe().expect("this program");
    let made = Command::new("install")
        .args(["-m", "4755"])
        .arg(&program)
        .arg(&copy)
        .status();
    assert!(made.expect("install runs").success());
    let result = command(
        &copy,
        "show",
        &[("DUNEGC_STATS", "json:/tmp/x"), ("DUNEGC_MODE", "reclaim")],
    )
    .uid(65534)
    .output();
    std::fs::remove_file(&copy).expect("the copy");
    let (out, lines) = output(result.expect("the child runs"));
    assert!(
        out.contains("mode: Malloc") && out.contains("stats: None"),
        "{out}"
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("raised privileges"), "{lines:?}");
}
