//! What the tests of the Rust interface share.

#![allow(dead_code)]

use std::hint::black_box;
use std::time::Duration;

/// Runs `f` on a thread of its own, so that little of its stack is left behind.
pub fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        scope
            .spawn(f)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Overwrites the part of the stack that earlier calls used.
#[inline(never)]
pub fn wipe_stack() {
    let zeros = [0u64; 4096];
    black_box(&zeros);
}

/// Collects, and waits for the finalizers that became due.
pub fn collect() {
    wipe_stack();
    dunegc::collect().expect("the threads of the test can be stopped");
    assert!(
        dunegc::wait_for_finalizers(Duration::from_secs(20)),
        "finalizers are still running"
    );
}

/// Collects until `done`, at most 20 times.
pub fn collect_until(mut done: impl FnMut() -> bool) {
    for _ in 0..20 {
        collect();
        if done() {
            return;
        }
    }
}

/// Lets one test of a program run at a time: the stacks of others hold stale pointers to its objects.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
