//! For unit tests of the heap's parts: the address slice is one per process, so they run one at a time, each on a slice of its own.

use super::{layout, own};
use crate::sys::mem;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for other tests, and unmaps the slice that they used.
pub fn fresh_slice() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if layout::base() != 0 {
        // Nothing but heaps of tests lies where slices are placed.
        mem::unmap(layout::base(), layout::table::END);
    }
    layout::set_limit(0);
    layout::set_base(0);
    own::forget_skipped();
    guard
}

/// Runs a test that uses the whole heap, of which a process has one, or depends on what other threads map and fork, in a process of its own. `path` is the test's path from
/// the crate on.
pub fn in_own_process(path: &str, test: impl FnOnce()) {
    const INSIDE: &str = "TEST_IN_ITS_OWN_PROCESS";
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let (_, name) = path.split_once("::").expect("a path");
    let run = Command::new(std::env::current_exe().expect("the test program"))
        .args([name, "--exact"])
        .env(INSIDE, "1")
        .output()
        .expect("the test program runs");
    let text = std::string::String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && text.contains(" 1 passed"),
        "{}\n{text}{}",
        run.status,
        std::string::String::from_utf8_lossy(&run.stderr)
    );
}
