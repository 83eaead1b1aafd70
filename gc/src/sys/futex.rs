//! Private futexes and a small lock on them. Nothing here touches errno.
use super::raw::{Errno, syscall};
use core::sync::atomic::{AtomicU32, Ordering::*};

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

/// A mutual-exclusion lock without poisoning, owner or data; 0 free, 1 held, 2 held with sleepers.
pub struct Lock(AtomicU32);

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl Lock {
    /// A free lock.
    pub const fn new() -> Lock {
        Lock(AtomicU32::new(0))
    }

    /// Waits until the lock is ours.
    pub fn acquire(&self) {
        if self.0.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
            return;
        }
        while self.0.swap(2, Acquire) != 0 {
            let _ = wait(&self.0, 2, None);
        }
    }

    /// Gives the lock back; the caller must hold it.
    pub fn release(&self) {
        if self.0.swap(0, Release) == 2 {
            wake(&self.0, 1);
        }
    }

    /// Makes the lock free whoever held it: for the child of a fork, where no other thread exists.
    pub fn reset(&self) {
        self.0.store(0, Release);
    }
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

    #[test]
    fn lock_excludes() {
        static L: Lock = Lock::new();
        static mut N: usize = 0;
        let ts: std::vec::Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..20_000 {
                        L.acquire();
                        // SAFETY: N is only touched with L held.
                        unsafe { N += 1 };
                        L.release();
                    }
                })
            })
            .collect();
        ts.into_iter().for_each(|t| t.join().unwrap());
        // SAFETY: all threads have ended.
        assert_eq!(unsafe { N }, 80_000);
    }
}
