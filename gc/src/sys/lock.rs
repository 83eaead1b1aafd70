//! A futex mutex without poisoning, allocation or thread-local state: usable before `main` and across `fork`.
//!
//! States as in Drepper, "Futexes Are Tricky", mutex 3: 0 free, 1 held, 2 held with waiters.

use super::clock::now_ns;
use super::futex;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

/// Mutual exclusion over a `T`.
pub struct Lock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: access to `value` goes through the guard, which only one thread holds at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Access to the value until dropped.
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Lock {
            state: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        if self
            .state
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.contended();
        }
        Guard { lock: self }
    }

    /// Waits for the lock, at most so long.
    pub fn lock_for(&self, ns: u64) -> Option<Guard<'_, T>> {
        let until = now_ns().saturating_add(ns);
        if let Some(g) = self.try_lock() {
            return Some(g);
        }
        while self.state.swap(2, Ordering::Acquire) != 0 {
            let left = until.saturating_sub(now_ns());
            if left == 0 {
                return None;
            }
            futex_wait_for(&self.state, 2, left);
        }
        Some(Guard { lock: self })
    }

    /// The lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let got = self
            .state
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        got.ok().map(|_| Guard { lock: self })
    }

    #[cold]
    fn contended(&self) {
        for _ in 0..100 {
            core::hint::spin_loop();
            if self.state.load(Ordering::Relaxed) == 0
                && self
                    .state
                    .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
        }
        while self.state.swap(2, Ordering::Acquire) != 0 {
            futex_wait(&self.state, 2);
        }
    }

    /// Takes the lock and keeps it until [`Self::release`]: for the fork protocol, where no guard can be carried.
    pub fn acquire(&self) {
        core::mem::forget(self.lock());
    }

    /// Undoes [`Self::acquire`].
    ///
    /// # Safety
    /// The caller holds the lock by `acquire`; in a fork child, its parent thread did.
    pub unsafe fn release(&self) {
        if self.state.swap(0, Ordering::Release) == 2 {
            futex_wake(&self.state, 1);
        }
    }

    /// Makes the lock free, whoever held it.
    ///
    /// # Safety
    /// Only the calling thread exists, as in a fork child, and it holds no guard.
    pub unsafe fn reset(&self) {
        self.state.store(0, Ordering::Release);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard proves that this thread holds the lock, and `&mut self` that no other reference exists.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard holds the lock and ends here.
        unsafe { self.lock.release() }
    }
}

/// Sleeps while `*word == expected` (spurious returns allowed). `errno` is left alone, as by all three.
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    let _ = futex::wait(word, expected, None);
}

/// As [`futex_wait`], at most `ns` nanoseconds.
pub fn futex_wait_for(word: &AtomicU32, expected: u32, ns: u64) {
    let _ = futex::wait(word, expected, Some(ns));
}

/// Wakes up to `n` sleepers on `word`.
pub fn futex_wake(word: &AtomicU32, n: i32) {
    futex::wake(word, n as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_time_gives_up_or_gets_the_lock() {
        let lock = Lock::new(0);
        let held = lock.lock();
        assert!(lock.lock_for(5_000_000).is_none());
        std::thread::scope(|s| {
            s.spawn(|| *lock.lock_for(60_000_000_000).expect("the lock") = 1);
            s.spawn(|| assert!(lock.lock_for(1).is_none()));
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(held);
        });
        assert_eq!(*lock.lock_for(0).expect("a free lock"), 1);
    }

    #[test]
    fn lock_excludes() {
        static N: Lock<usize> = Lock::new(0);
        let threads: std::vec::Vec<_> = (0..4)
            .map(|i| {
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        if i % 2 == 0 {
                            *N.lock() += 1;
                        } else {
                            N.acquire();
                            // SAFETY: this thread has acquired the lock, and nobody else has a reference.
                            unsafe { *N.value.get() += 1 };
                            // SAFETY: as above.
                            unsafe { N.release() };
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*N.lock(), 80_000);
    }
}
