//! Work in numbered parts that helpers share with a collection's leader while the world is stopped and nothing is marked yet: their processors
//! have nothing else to do.
//!
//! One errand at a time. A part is done once, by whoever takes its number. Behind [`finish`] all are done, and no helper is at one.

use super::pool;
use crate::sys::lock::Lock;
use core::hint::spin_loop;
use core::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

#[derive(Clone, Copy)]
struct Errand {
    parts: usize,
    run: fn(usize),
}

static ERRAND: Lock<Option<Errand>> = Lock::new(None);
/// The next part's number.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// The leader has not come to the end.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);
/// Helpers between taking the errand and leaving it.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Asks the helpers to call `run` for each of `0..parts`, at once.
pub fn begin(parts: usize, run: fn(usize)) {
    {
        let mut errand = ERRAND.lock();
        NEXT.store(0, Relaxed);
        UNDER_WAY.store(true, Relaxed);
        *errand = Some(Errand { parts, run });
    }
    pool::wake();
}

/// Does what is left, and waits for those at work.
pub fn finish() {
    let errand = ERRAND.lock().take();
    if let Some(e) = errand {
        work(e);
    }
    while AT_WORK.load(Acquire) != 0 {
        spin_loop();
    }
    UNDER_WAY.store(false, Relaxed);
}

fn work(e: Errand) {
    loop {
        let part = NEXT.fetch_add(1, Relaxed);
        if part >= e.parts {
            return;
        }
        (e.run)(part);
    }
}

/// For a helper: takes part in what is under way. Then it stays awake until the leader comes to the end, because marking follows.
pub fn help() {
    /// Some hundred microseconds.
    const PATIENCE: u32 = 10_000;
    let errand = {
        let errand = ERRAND.lock();
        if errand.is_some() {
            AT_WORK.fetch_add(1, Relaxed);
        }
        *errand
    };
    let Some(e) = errand else {
        return;
    };
    work(e);
    AT_WORK.fetch_sub(1, Release);
    for _ in 0..PATIENCE {
        if !UNDER_WAY.load(Relaxed) {
            return;
        }
        spin_loop();
    }
}

/// In a fork child: the helpers are gone.
pub fn after_fork_child() {
    // SAFETY: only this thread exists, and it forked with no errand of its own under way.
    unsafe { ERRAND.reset() };
    *ERRAND.lock() = None;
    AT_WORK.store(0, Relaxed);
    UNDER_WAY.store(false, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const PARTS: usize = 300;
    static DONE: [AtomicUsize; PARTS] = [const { AtomicUsize::new(0) }; PARTS];

    #[test]
    fn every_part_is_done_once_and_none_behind_the_end() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let helpers: std::vec::Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(|| {
                    while !STOP.load(Relaxed) {
                        help();
                    }
                })
            })
            .collect();
        for round in 1..2000 {
            let parts = 1 + round % PARTS;
            begin(parts, |i| {
                DONE[i].fetch_add(1, Relaxed);
            });
            if round % 3 == 0 {
                thread::yield_now();
            }
            finish();
            for (i, done) in DONE.iter().enumerate() {
                assert_eq!(done.swap(0, Relaxed), usize::from(i < parts), "part {i}");
            }
        }
        STOP.store(true, Relaxed);
        helpers.into_iter().for_each(|h| h.join().unwrap());
    }
}
