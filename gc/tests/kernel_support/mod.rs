//! What the tests of kernel-held pointers share.
#![allow(dead_code, reason = "each test file uses a part")]

use dunegc::roots::kernel::{KernelRoots, for_each_word};
use std::collections::BTreeSet;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One pass at a time in a test process: the passes open descriptors, and the tests count them.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a pass; what it reports and the distinct words. Checks that it leaves errno, limits and descriptors as they were.
pub fn pass() -> (KernelRoots, BTreeSet<usize>) {
    let (mut words, before) = (Vec::new(), (descriptors(), limit()));
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = 12_345 };
    let found = for_each_word(&mut |w| words.push(w));
    // SAFETY: errno of this thread.
    let errno = unsafe { *libc::__errno_location() };
    assert_eq!(errno, 12_345, "errno was changed");
    assert_eq!(
        (descriptors(), limit()),
        before,
        "descriptors or their limit changed"
    );
    assert_eq!(found.words, words.len() as u64);
    (found, words.into_iter().collect())
}

/// Open descriptors and where they lead.
pub fn descriptors() -> BTreeSet<(i32, String)> {
    let mut all: BTreeSet<_> = std::fs::read_dir("/proc/thread-self/fd")
        .unwrap()
        .filter_map(|e| {
            let fd = e
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse::<i32>()
                .unwrap();
            let target = std::fs::read_link(format!("/proc/thread-self/fd/{fd}")).ok()?;
            Some((fd, target.display().to_string()))
        })
        .collect();
    // The directory that is being read.
    all.retain(|(_, target)| !target.ends_with("/fd"));
    all
}

/// Soft and hard limit on descriptors.
pub fn limit() -> (u64, u64) {
    let mut l = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `l` is writable.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut l) }, 0);
    (l.rlim_cur, l.rlim_max)
}

/// Takes over a descriptor that a system call returned.
pub fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Runs `f` in a child process of one thread and returns its exit status; 0 if `f` returns, 99 if it panics.
pub fn in_child(f: impl FnOnce()) -> i32 {
    // SAFETY: the child runs test code only, and glibc makes its allocator usable after fork.
    match unsafe { libc::fork() } {
        0 => {
            let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(if r.is_ok() { 0 } else { 99 }) }
        }
        pid => {
            assert!(pid > 0);
            let mut status = 0;
            // SAFETY: `status` is writable, `pid` is our child.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert!(libc::WIFEXITED(status), "child ended with {status:#x}");
            libc::WEXITSTATUS(status)
        }
    }
}
