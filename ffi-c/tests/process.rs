//! exec, threads that end in unusual ways, signal masks, and reports of programs that close stderr.
mod common;
use common::*;
use std::process::Command;

#[test]
fn exec_family() {
    let program = build("exec.c", &["-O1"]);
    assert_ok(&Command::new(&program).output().unwrap());
    for mode in ["malloc", "reclaim", "leaks"] {
        assert_ok(&preload(
            &program,
            &[],
            &[("DUNEGC_MODE", mode), ("DUNEGC_LEAKS_FILE", "/dev/null")],
        ));
    }
}

#[test]
fn statistics_of_a_program_that_closes_stderr() {
    let o = preload(
        std::path::Path::new("/bin/echo"),
        &["hi"],
        &[("DUNEGC_STATS", "1")],
    );
    assert!(
        String::from_utf8_lossy(&o.stderr).contains("statistics"),
        "{}",
        text(&o)
    );
}

#[test]
fn the_stop_signal_cannot_be_blocked_or_taken() {
    let dir = library().parent().unwrap().display().to_string();
    let program = build(
        "signals.c",
        &[
            "-O1",
            "-pthread",
            &format!("-L{dir}"),
            "-ldunegc",
            &format!("-Wl,-rpath,{dir}"),
        ],
    );
    for signal in ["62", "40"] {
        let run = Command::new("timeout")
            .args(["60"])
            .arg(&program)
            .arg(signal)
            .env("DUNEGC_SIGNAL", signal)
            .output();
        assert_ok(&run.unwrap());
    }
}

#[test]
fn threads_that_end_in_every_way() {
    for level in ["-O0", "-O2"] {
        let program = build("thread_end.cc", &["-std=c++17", level, "-pthread"]);
        for mode in ["malloc", "reclaim", "leaks"] {
            for library in [library(), release_library()] {
                let run = Command::new("timeout")
                    .args(["60"])
                    .arg(&program)
                    .env("LD_PRELOAD", library)
                    .envs([("DUNEGC_MODE", mode), ("DUNEGC_LEAKS_FILE", "/dev/null")])
                    .output();
                assert_ok(&run.unwrap());
            }
        }
    }
}
