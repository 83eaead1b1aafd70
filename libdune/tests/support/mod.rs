//! Tests that enter guest mode run in a child process each: the way in cannot be undone for a process.

// Each test program uses a part of this.
#![allow(dead_code)]

use libdune::{Config, Dune};
use std::io::Write;

/// Runs `test` in guest mode in a child process. Where there is no guest mode, says so and passes.
#[track_caller]
pub fn inside(test: impl FnOnce(Dune)) {
    inside_with(Config::default(), test);
}

/// The same with a configuration.
#[track_caller]
pub fn inside_with(config: Config, test: impl FnOnce(Dune)) {
    if let Err(e) = libdune::engine::any::AnyEngine::open(config.engine) {
        eprintln!("skipped: {e}");
        return;
    }
    let status = in_child(|| {
        let dune = Dune::enter(config).expect("the process enters");
        assert!(Dune::inside());
        test(dune);
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}

/// Runs `f` in a child process and returns its wait status: 0 if it came to its end.
pub fn in_child(f: impl FnOnce()) -> i32 {
    // SAFETY: the child is a copy with this thread only; it ends without running the parent's destructors.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let longer = std::env::var_os("DUNE_TEST_ROUNDS").is_some();
        // SAFETY: a guest that makes no progress ends the child.
        unsafe { libc::alarm(if longer { 3600 } else { 240 }) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        let _ = std::io::stdout().flush();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
    }
    let mut status = 0;
    // SAFETY: our own child; writes its status.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(waited, child);
    status
}

/// Fresh zero pages, never given back.
pub fn pages(count: usize) -> &'static mut [u8] {
    // SAFETY: a new mapping of this size.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            count * 4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        std::slice::from_raw_parts_mut(at.cast(), count * 4096)
    }
}
