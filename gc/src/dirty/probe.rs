//! Trying a system call that a seccomp filter may answer with death.

use super::failure::Failure;
use crate::sys::mem::{self, PAGE};
use crate::sys::raw::{Errno, Fd, syscall, syscall6};
use crate::sys::{signal, text};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering::*};

/// seccomp filters on the calling thread; `u32::MAX` if that cannot be found out.
pub fn filters() -> u32 {
    let mut bytes = [0; 4096];
    let mut filled = 0;
    let Ok(fd) = Fd::open(b"/proc/thread-self/status\0", libc::O_RDONLY) else {
        return u32::MAX;
    };
    while filled < bytes.len() {
        match fd.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return u32::MAX,
        }
    }
    count(&bytes[..filled])
}

/// The number in the text of the file.
fn count(status: &[u8]) -> u32 {
    let field = |name: &[u8]| {
        status.split(|b| *b == b'\n').find_map(|line| {
            let (n, _) = text::decimal(line.strip_prefix(name)?.trim_ascii_start())?;
            Some(n as u32)
        })
    };
    match (field(b"Seccomp:"), field(b"Seccomp_filters:")) {
        (Some(0), _) => 0,
        (Some(_), Some(n)) => n.max(1),
        (Some(_), None) => 1,
        // Built without seccomp.
        (None, _) => 0,
    }
}

/// What the child is given, and leaves behind.
struct Task<'t> {
    try_it: &'t dyn Fn() -> Result<(), Failure>,
    result: Result<(), Failure>,
    done: AtomicBool,
}

extern "C" fn child(task: *mut c_void) -> i32 {
    // SAFETY: the parent's task; the parent stands still until this process ends.
    let task = unsafe { &mut *task.cast::<Task<'_>>() };
    // A filter's verdict leaves no core file.
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid limit; the limit is this process' own.
    let _ = unsafe {
        syscall!(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_CORE,
            &raw const none,
            0
        )
    };
    task.result = (task.try_it)();
    task.done.store(true, Release);
    // SAFETY: ends this process without exit handlers.
    unsafe { syscall6(libc::SYS_exit, [0; 6]) };
    0
}

/// Runs `try_it` in a child that shares this process' memory but not its descriptors, with every signal blocked, so that a filter's
/// `SIGSYS` ends the child and reaches no handler.
///
/// # Errors
/// Those of `try_it`; [`Failure::Killed`].
pub fn in_child(try_it: impl Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    const STACK: usize = 16 * PAGE;
    let stack = mem::map(STACK);
    if stack.is_null() {
        return Err(Failure::Call("mmap", Errno(libc::ENOMEM)));
    }
    let mut task = Task {
        try_it: &try_it,
        result: Ok(()),
        done: AtomicBool::new(false),
    };
    let mask = signal::set_mask(!0);
    // No signal at its end, so that the program does not see a child. VFORK: this thread waits until it has ended.
    // SAFETY: the stack is fresh and the child's alone; the task outlives the child; the function keeps to system calls.
    let pid = unsafe {
        libc::clone(
            child,
            stack.add(STACK).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK,
            (&raw mut task).cast(),
        )
    };
    let error = mem::errno();
    if pid > 0 {
        // SAFETY: waits for our own child; no status is asked for.
        while unsafe { syscall!(libc::SYS_wait4, pid, 0, libc::__WALL, 0) }
            == Err(Errno(libc::EINTR))
        {}
    }
    signal::set_mask(mask);
    mem::unmap(stack as usize, STACK);
    if pid < 0 {
        return Err(Failure::Call(
            "clone, to try under a seccomp filter",
            Errno(error),
        ));
    }
    if task.done.load(Acquire) {
        task.result
    } else {
        Err(Failure::Killed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_counted() {
        assert_eq!(count(b"Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"), 0);
        assert_eq!(count(b"Seccomp:\t2\nSeccomp_filters:\t3\n"), 3);
        assert_eq!(count(b"Seccomp:\t2\n"), 1);
        assert_eq!(count(b"Name:\tx\n"), 0);
        assert!(filters() < 100);
    }

    #[test]
    fn a_child_reports_or_dies() {
        let failure = Failure::Wrong("x");
        assert_eq!(in_child(|| Err(failure)), Err(failure));
        assert_eq!(in_child(|| Ok(())), Ok(()));
        let die = || {
            // SAFETY: ends the child at once, as a filter would.
            unsafe { syscall6(libc::SYS_exit, [1, 0, 0, 0, 0, 0]) };
            Ok(())
        };
        assert_eq!(in_child(die), Err(Failure::Killed));
    }
}
