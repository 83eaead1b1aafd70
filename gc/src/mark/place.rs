//! Keeps threads of the collector off the processor of the thread that wakes them.
//!
//! Where processors share no cache (virtual machines often show them so), the kernel wakes a thread on the processor that it ran
//! on last, or on the waker's; it does not look for an idle one. A helper may then take the leader's processor while another one
//! stands idle for milliseconds, and a thread of the program that goes on after the stop may find its own one taken by the
//! leader.

use super::shared::MAX_MARKERS;
use crate::sys::raw::syscall;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Words of a set of processors: 1024 of them, as in libc.
const WORDS: usize = 16;
const NOWHERE: i32 = -1;

/// The processors that the process may use, as the first thread that asked had them: those of the collector's own threads change.
static ALLOWED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

fn allowed() -> [u64; WORDS] {
    let mut set = [0; WORDS];
    if ALLOWED.iter().all(|w| w.load(Relaxed) == 0) {
        let size = size_of_val(&set);
        // SAFETY: the kernel fills at most `size` bytes of the set.
        let _ = unsafe { syscall!(libc::SYS_sched_getaffinity, 0, size, set.as_mut_ptr()) };
        for (known, &w) in ALLOWED.iter().zip(&set) {
            known.store(w, Relaxed);
        }
        return set;
    }
    for (known, w) in ALLOWED.iter().zip(&mut set) {
        *w = known.load(Relaxed);
    }
    set
}

/// How many processors the process may use.
pub fn processors() -> usize {
    let n: u32 = allowed().iter().map(|w| w.count_ones()).sum();
    (n as usize).max(1)
}

/// Threads that are woken by the same one.
pub struct Group<const N: usize> {
    /// Kernel thread ids; 0 for none.
    tids: [AtomicU32; N],
    /// The processor that they were kept off last.
    kept_off: AtomicI32,
}

/// The helpers, by their numbers.
pub static HELPERS: Group<MAX_MARKERS> = Group::new();
/// The thread that collects beside the program.
pub static COLLECTOR: Group<1> = Group::new();

impl<const N: usize> Group<N> {
    const fn new() -> Self {
        Group {
            tids: [const { AtomicU32::new(0) }; N],
            kept_off: AtomicI32::new(NOWHERE),
        }
    }

    /// The thread `tid` is number `id` of the group.
    pub fn enter(&self, id: usize, tid: i32) {
        // Before its own set changes.
        allowed();
        self.tids[id].store(tid as u32, Relaxed);
        self.kept_off.store(NOWHERE, Relaxed);
    }

    /// In a fork child: its threads are gone.
    pub fn after_fork_child(&self) {
        for t in &self.tids {
            t.store(0, Relaxed);
        }
        self.kept_off.store(NOWHERE, Relaxed);
    }

    /// Lets them run on every processor that the calling thread may run on, but for the one where it runs now.
    pub fn keep_off_here(&self) {
        // SAFETY: no preconditions; it takes no lock.
        let here = unsafe { libc::sched_getcpu() };
        if here >= 0 && self.kept_off.swap(here, Relaxed) != here {
            self.keep_off(here as usize);
        }
    }

    fn keep_off(&self, cpu: usize) {
        let mut set = allowed();
        let Some(word) = set.get_mut(cpu / 64) else {
            return;
        };
        *word &= !(1 << (cpu % 64));
        if set == [0; WORDS] {
            return;
        }
        let size = size_of_val(&set);
        let tids = self.tids.iter().map(|t| t.load(Relaxed));
        for t in tids.filter(|&t| t != 0) {
            // Where it is refused the kernel places them as it likes.
            // SAFETY: the kernel reads `size` bytes of the set; the thread is one of the collector's own.
            let _ = unsafe { syscall!(libc::SYS_sched_setaffinity, t, size, set.as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::raw::gettid;
    use std::sync::mpsc;
    use std::vec::Vec;
    use std::{mem, thread};

    fn allowed_to(tid: i32) -> Vec<usize> {
        // SAFETY: a zeroed set is valid, and the kernel fills at most its size.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            assert_eq!(libc::sched_getaffinity(tid, size_of_val(&set), &mut set), 0);
            (0..1024).filter(|&c| libc::CPU_ISSET(c, &set)).collect()
        }
    }

    static GROUP: Group<1> = Group::new();

    #[test]
    fn helpers_may_run_everywhere_else() {
        let mine = allowed_to(0);
        if mine.len() < 2 {
            std::eprintln!("skipped: one processor");
            return;
        }
        let (say, hear) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let helper = thread::spawn(move || {
            GROUP.enter(0, gettid());
            say.send(gettid()).unwrap();
            let _ = stopped.recv();
        });
        let tid = hear.recv().unwrap();
        for &cpu in &mine {
            GROUP.keep_off(cpu);
            let rest: Vec<usize> = mine.iter().copied().filter(|&c| c != cpu).collect();
            assert_eq!(allowed_to(tid), rest);
        }
        drop(stop);
        helper.join().unwrap();
    }
}
