//! Keeps helpers off the processor of the thread that wakes them.
//!
//! Where processors share no cache (virtual machines often show them so), the kernel wakes a thread on the processor that it ran
//! on last, or on the waker's; it does not look for an idle one. A helper may then take the leader's processor while another one
//! stands idle for milliseconds, and a thread of the program that goes on after the stop may find its own one taken by the
//! leader.

use super::shared::MAX_MARKERS;
use crate::sys::raw::syscall;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

/// Words of a set of processors: 1024 of them, as in libc.
const WORDS: usize = 16;
const NOWHERE: i32 = -1;

/// Kernel thread ids of the helpers by their numbers; 0 for none.
static TIDS: [AtomicU32; MAX_MARKERS] = [const { AtomicU32::new(0) }; MAX_MARKERS];
/// The processor that they were kept off last.
static KEPT_OFF: AtomicI32 = AtomicI32::new(NOWHERE);

/// The calling thread is helper number `id`.
pub fn enter(id: usize, tid: u32) {
    TIDS[id].store(tid, Relaxed);
    KEPT_OFF.store(NOWHERE, Relaxed);
}

/// In a fork child: the helpers are gone.
pub fn after_fork_child() {
    for t in &TIDS {
        t.store(0, Relaxed);
    }
    KEPT_OFF.store(NOWHERE, Relaxed);
}

/// Lets the helpers run on every processor that the calling thread may run on, but for the one where it runs now.
pub fn keep_off_here() {
    // SAFETY: no preconditions; it takes no lock.
    let here = unsafe { libc::sched_getcpu() };
    if here >= 0 && KEPT_OFF.swap(here, Relaxed) != here {
        keep_off(here as usize);
    }
}

fn keep_off(cpu: usize) {
    let mut set = [0u64; WORDS];
    let size = size_of_val(&set);
    // SAFETY: the kernel fills at most `size` bytes of the set.
    let got = unsafe { syscall!(libc::SYS_sched_getaffinity, 0, size, set.as_mut_ptr()) };
    let Some(word) = set.get_mut(cpu / 64) else {
        return;
    };
    *word &= !(1 << (cpu % 64));
    if got.is_err() || set == [0; WORDS] {
        return;
    }
    for t in TIDS.iter().map(|t| t.load(Relaxed)).filter(|&t| t != 0) {
        // Where it is refused the kernel places them as it likes.
        // SAFETY: the kernel reads `size` bytes of the set; the thread is one of the collector's own.
        let _ = unsafe { syscall!(libc::SYS_sched_setaffinity, t, size, set.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::raw::gettid;
    use std::sync::mpsc;
    use std::vec::Vec;
    use std::{mem, thread};

    fn allowed(tid: i32) -> Vec<usize> {
        // SAFETY: a zeroed set is valid, and the kernel fills at most its size.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            assert_eq!(libc::sched_getaffinity(tid, size_of_val(&set), &mut set), 0);
            (0..1024).filter(|&c| libc::CPU_ISSET(c, &set)).collect()
        }
    }

    #[test]
    fn helpers_may_run_everywhere_else() {
        let mine = allowed(0);
        if mine.len() < 2 {
            std::eprintln!("skipped: one processor");
            return;
        }
        let (say, hear) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let helper = thread::spawn(move || {
            enter(MAX_MARKERS - 1, gettid() as u32);
            say.send(gettid()).unwrap();
            let _ = stopped.recv();
            TIDS[MAX_MARKERS - 1].store(0, Relaxed);
        });
        let tid = hear.recv().unwrap();
        for &cpu in &mine {
            keep_off(cpu);
            let rest: Vec<usize> = mine.iter().copied().filter(|&c| c != cpu).collect();
            assert_eq!(allowed(tid), rest);
        }
        drop(stop);
        helper.join().unwrap();
    }
}
