//! Collections and finalizers on request.

use super::finalizer_thread;
use crate::raw::{self, CollectError};
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

/// Collects all garbage now. On return its memory is free; finalizers are due or on their way.
///
/// Conservatism: an object stays while a word anywhere in the roots looks like its address; most often a stale one on a
/// stack. It goes in a later collection, when the word has been overwritten.
///
/// # Errors
/// When the collection could not take place; see [`CollectError`]. Nothing was freed then.
pub fn collect() -> Result<(), CollectError> {
    finalizer_thread::ensure_restarted();
    raw::collect()
}

/// Stops automatic collections until the result is dropped. Guards nest. The heap grows meanwhile; [`collect`] still collects,
/// and so does an allocation that finds the heap exhausted.
///
/// ```
/// let quiet = dunegc::disable();
/// let before = dunegc::stats().collections;
/// for n in 0..100_000 {
///     dunegc::Gc::new([n; 20]); // 16 MB of garbage
/// }
/// assert_eq!(dunegc::stats().collections, before);
/// drop(quiet);
/// ```
#[must_use = "collections are enabled again when this is dropped"]
pub fn disable() -> Disabled {
    raw::disable();
    Disabled(PhantomData)
}

/// Automatic collections are disabled while this exists; made by [`disable`].
#[derive(Debug)]
pub struct Disabled(PhantomData<()>);

impl Drop for Disabled {
    fn drop(&mut self) {
        raw::enable();
    }
}

/// Runs the finalizers that are due on the calling thread, and returns how many ran. The finalizer thread does so by itself;
/// this is for programs that could not start it, or want to wait. Do not call it with a lock held that a `Drop` takes.
pub fn run_finalizers() -> usize {
    raw::run_finalizers()
}

/// Number of values that the finalizer thread has yet to drop.
pub fn finalizers_pending() -> usize {
    raw::finalizers_pending().load(core::sync::atomic::Ordering::Relaxed) as usize
}

/// Waits until no finalizer is due or runs on the finalizer thread; false after `timeout`. Not for use in a `Drop`.
pub fn wait_for_finalizers(timeout: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(1);
    finalizer_thread::ensure_restarted();
    let mut left = timeout;
    while finalizer_thread::is_busy() {
        if !finalizer_thread::is_running() {
            raw::run_finalizers();
        }
        if left.is_zero() {
            return false;
        }
        let step = libc::timespec {
            tv_sec: 0,
            tv_nsec: i64::from(STEP.subsec_nanos()),
        };
        // SAFETY: the timespec lives in this frame; the remainder is not asked for.
        unsafe { libc::nanosleep(&step, core::ptr::null_mut()) };
        left = left.saturating_sub(STEP);
    }
    true
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectError::ThreadBlocked(tid) => write!(
                f,
                "no collection: thread {tid} could not be stopped in time"
            ),
            CollectError::NoProc => {
                f.write_str("no collection: /proc cannot be read, so the threads cannot be found")
            }
            CollectError::Busy => f.write_str(
                "no collection: they are disabled, or this was called from inside a collection",
            ),
            CollectError::NoMemory => {
                f.write_str("no collection: memory for the mark stacks was refused")
            }
            CollectError::Unavailable => {
                f.write_str("no collection: the stop signal could not be set up")
            }
        }
    }
}

impl core::error::Error for CollectError {}
