//! Before main, threads, fork, exec, dlopen, exit: the library works at every moment of a process.

use std::fs;
use std::path::PathBuf;

use dunegc_tests::{Mode, Run, compare, compile, compile_shared, in_modes, library, scratch};

fn program(name: &str, case: &str) {
    in_modes(&Run::new(compile(name)).arg(case));
}

#[test]
fn before_and_after_main() {
    in_modes(&Run::new(compile("before_main")));
}

#[test]
fn threads_allocate_and_free() {
    program("threads", "churn");
}

#[test]
fn short_lived_threads_leave_blocks_to_others() {
    program("threads", "short-lived");
}

#[test]
fn pthread_exit_cancel_and_destructors() {
    program("threads", "pthread-exit");
}

#[test]
fn main_ends_by_pthread_exit() {
    program("threads", "main-exits");
}

#[test]
fn exit_with_running_threads() {
    let run = Run::new(compile("threads")).arg("exit-running");
    for _ in 0..10 {
        in_modes(&run);
    }
}

#[test]
fn collections_on_small_stacks() {
    program("threads", "small-stacks");
}

#[test]
fn thread_made_by_clone() {
    program("threads", "raw-clone");
}

#[test]
fn fork_alone() {
    program("fork", "alone");
}

#[test]
fn fork_while_threads_allocate() {
    program("fork", "allocating");
}

#[test]
fn fork_while_a_thread_collects() {
    program("fork", "collecting");
}

#[test]
fn vfork_spawn_system_popen() {
    program("spawn", "all");
}

#[test]
fn exec_with_running_threads() {
    program("spawn", "exec-running");
}

/// Modules with static and dynamic thread-local data.
fn modules() -> PathBuf {
    let dir = scratch("modules");
    let fixed = compile_shared("tls_static", "tls_static.so", &[]);
    let dynamic = compile_shared("tls_dynamic", "tls_dynamic.so", &[]);
    // The same file under many names would be the same module; copies are not.
    for number in 0..60 {
        fs::copy(&fixed, dir.join(format!("static{number}.so"))).expect("copy a module");
    }
    for number in 0..10 {
        fs::copy(&dynamic, dir.join(format!("dynamic{number}.so"))).expect("copy a module");
    }
    dir
}

#[test]
fn modules_with_thread_local_data() {
    in_modes(&Run::new(compile("dlopen")).arg("plain").arg(modules()));
}

#[test]
fn modules_after_static_tls_is_exhausted() {
    in_modes(&Run::new(compile("dlopen")).arg("exhausted").arg(modules()));
}

#[test]
fn restartable_system_calls_are_not_interrupted() {
    in_modes(&Run::new(compile("interrupted")));
}

#[test]
fn surroundings_are_unchanged() {
    compare(&Run::new(compile("unchanged")));
}

/// A child inherits the library through the environment; with a cleared one it runs without.
#[test]
fn environment_clears_and_inherits() {
    let script =
        "cat /proc/self/maps | grep -c libdunegc; env -i cat /proc/self/maps | grep -c libdunegc";
    let name = library()
        .file_name()
        .expect("a file")
        .to_string_lossy()
        .into_owned();
    let script = script.replace("libdunegc", &name);
    let outcome = Run::new("sh")
        .args(["-c", &script])
        .mode(Mode::Malloc)
        .output();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(
        lines.len() == 2 && lines[0] != "0" && lines[1] == "0",
        "{outcome}"
    );
}
