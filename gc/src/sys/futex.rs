//! Private futexes. Nothing here touches errno.
use super::raw::{Errno, syscall};
use core::sync::atomic::AtomicU32;

/// Sleeps while `*word == expected`, at most `timeout_ns`. Wakes spuriously: check the word again.
pub fn wait(word: &AtomicU32, expected: u32, timeout_ns: Option<u64>) -> Result<(), Errno> {
    let ts = timeout_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    });
    let ts = ts.as_ref().map_or(core::ptr::null(), |t| t as *const _);
    // SAFETY: the word and the timespec outlive the call.
    unsafe {
        syscall!(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            ts
        )
    }
    .map(drop)
}

/// Wakes up to `n` sleepers of `word`.
pub fn wake(word: &AtomicU32, n: u32) {
    let n = n.min(i32::MAX as u32);
    // SAFETY: the kernel only uses the address as a key.
    let _ = unsafe {
        syscall!(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            n
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn wait_ends_at_the_timeout_and_when_the_word_differs() {
        let w = AtomicU32::new(1);
        let t = Instant::now();
        assert_eq!(wait(&w, 1, Some(20_000_000)), Err(Errno(libc::ETIMEDOUT)));
        assert!(t.elapsed() >= Duration::from_millis(20));
        assert_eq!(wait(&w, 2, None), Err(Errno(libc::EAGAIN)));
    }
}
