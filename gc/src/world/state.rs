//! The one state of the world: lock, generation, table of thread records.
use super::exempt::Exempt;
use super::flags;
use crate::sys::lock::Lock;
use crate::sys::raw::{Errno, getpid, gettid, syscall};
use crate::sys::{scratch, signal};
use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*,
};

/// A stopped thread. Ranges are (first address, address behind); (0, 0) = unknown or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppedThread {
    /// The kernel's thread id.
    pub tid: i32,
    /// Stack pointer where the thread was interrupted.
    pub sp: usize,
    /// Where its general registers lie.
    pub registers: (usize, usize),
    /// Where its vector registers (XSAVE area) lie.
    pub vectors: (usize, usize),
    /// The thread pointer, 0 if it has none.
    pub fs_base: usize,
    /// Its alternate signal stack.
    pub alt_stack: (usize, usize),
    /// Whether `sp` is on the alternate stack.
    pub on_alt_stack: bool,
    /// Its stack, if it told ([`note_stack_bounds`](super::note_stack_bounds)).
    pub stack: (usize, usize),
    /// The caller of `stop`.
    pub is_caller: bool,
    /// Address behind the stack on which it said that it goes on; 0 if it said nothing.
    pub stack_end: usize,
}

/// What a record stands for, in the low word of [`Record::state`]; the generation is in the high word.
pub(super) mod phase {
    /// The signal has been sent.
    pub const SIGNALLED: u32 = 1;
    /// The handler found the thread in a critical section.
    pub const DEFERRED: u32 = 2;
    /// The thread is writing the record.
    pub const WRITING: u32 = 3;
    /// The record is written, the thread waits.
    pub const STOPPED: u32 = 4;
    /// The thread has exited.
    pub const GONE: u32 = 5;
    /// The stop was given up.
    pub const CANCELLED: u32 = 6;
    /// The thread runs again.
    pub const RESUMED: u32 = 7;
}

/// One thread in one stop.
#[repr(align(64))]
pub(super) struct Record {
    pub state: AtomicU64,
    pub tid: AtomicI32,
    /// GONE, but the kernel still lists it: a zombie or a worker of the kernel.
    pub inert: AtomicBool,
    /// When the thread ran again, valid in RESUMED.
    pub resumed_ns: AtomicU64,
    /// Written by the thread between WRITING and STOPPED, read by the stopper after STOPPED.
    pub thread: UnsafeCell<StoppedThread>,
}

impl Record {
    /// The phase in `generation`; 0 if the record is not part of it.
    pub fn phase(&self, generation: u32) -> u32 {
        let s = self.state.load(Acquire);
        if (s >> 32) as u32 == generation {
            s as u32
        } else {
            0
        }
    }

    /// Moves from phase `from` of generation `generation` to `to`; false if the record is elsewhere.
    pub fn step(&self, generation: u32, from: u32, to: u32) -> bool {
        let at = |phase: u32| u64::from(generation) << 32 | u64::from(phase);
        self.state
            .compare_exchange(at(from), at(to), AcqRel, Acquire)
            .is_ok()
    }
}

const CHUNKS: usize = 20;
const FIRST: usize = 64;

/// Records by index. Chunk `k` holds `64 << k` records and never moves: handlers keep pointers while the table grows.
pub(super) struct Table {
    chunks: [AtomicPtr<Record>; CHUNKS],
    pub len: AtomicUsize,
}

impl Table {
    fn place(i: usize) -> (usize, usize) {
        let k = ((i / FIRST) + 1).ilog2() as usize;
        (k, i - FIRST * ((1 << k) - 1))
    }

    /// The record `i`, if its chunk exists.
    pub fn get(&self, i: usize) -> Option<&Record> {
        let (k, at) = Self::place(i);
        let chunk = self.chunks.get(k)?.load(Acquire);
        // SAFETY: a non-null chunk k has 64 << k records, zeroed by mmap (a valid Record), is never unmapped, and
        // `place` gives at < 64 << k.
        (!chunk.is_null()).then(|| unsafe { &*chunk.add(at) })
    }

    /// The records of this stop.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        (0..self.len.load(Acquire)).filter_map(|i| self.get(i))
    }

    /// Maps the chunk of record `i` if need be. Under the world lock.
    pub fn ensure(&self, i: usize) -> Result<&Record, Errno> {
        let k = Self::place(i).0;
        let slot = self.chunks.get(k).ok_or(Errno(libc::ENOMEM))?;
        if slot.load(Relaxed).is_null() {
            slot.store(
                scratch::map((FIRST << k) * size_of::<Record>())?.cast(),
                Release,
            );
        }
        self.get(i).ok_or(Errno(libc::ENOMEM))
    }
}

/// The state of the world.
pub(super) struct State {
    pub signal: AtomicU32,
    pub timeout_ms: AtomicU32,
    pub flags_fn: AtomicUsize,
    /// Held by the stopper, and by whoever changes what a stop reads.
    pub lock: Lock<()>,
    /// Thread that has stopped the world, 0 if none.
    pub owner: AtomicI32,
    /// Last generation used.
    pub generation: AtomicU32,
    /// The generation while threads shall stop, 0 otherwise: stopped threads sleep on it.
    pub stopping: AtomicU32,
    /// Records that reached STOPPED in this stop: the stopper sleeps on it.
    pub acks: AtomicU32,
    /// The ack count at which the stopper wants to be woken.
    pub wanted: AtomicU32,
    pub table: Table,
    /// The collector's own threads.
    pub exempt: [Exempt; 256],
    pub pid: AtomicI32,
    /// Threads that were inert at an earlier stop: looked at before they are sent a signal.
    pub inert: [AtomicI32; 64],
    /// The thread for which the last stop was given up.
    pub culprit: AtomicI32,
    /// A word in a page that is empty in a fork child (MADV_WIPEONFORK) but not in a vfork child.
    pub fork_witness: AtomicPtr<AtomicU32>,
    /// The signal mask of the thread between `before_fork` and its end; `forking` is 1 then.
    pub fork_mask: AtomicU64,
    pub forking: AtomicU32,
}

// SAFETY: everything is atomic but `Record::thread`, whose owner the record's state names.
unsafe impl Sync for State {}

pub(super) static STATE: State = State {
    signal: AtomicU32::new(0),
    timeout_ms: AtomicU32::new(5000),
    flags_fn: AtomicUsize::new(0),
    lock: Lock::new(()),
    owner: AtomicI32::new(0),
    generation: AtomicU32::new(0),
    stopping: AtomicU32::new(0),
    acks: AtomicU32::new(0),
    wanted: AtomicU32::new(0),
    table: Table {
        chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS],
        len: AtomicUsize::new(0),
    },
    exempt: [Exempt::FREE; 256],
    pid: AtomicI32::new(0),
    inert: [const { AtomicI32::new(0) }; 64],
    culprit: AtomicI32::new(0),
    fork_witness: AtomicPtr::new(core::ptr::null_mut()),
    fork_mask: AtomicU64::new(0),
    forking: AtomicU32::new(0),
};

/// Maps what a stop needs. Under the world lock, once.
pub(super) fn prepare() -> Result<(), Errno> {
    STATE.table.ensure(0)?;
    // Finds out how to read the thread pointer, outside of any handler.
    super::handler::fs_base();
    let page = scratch::map(4096)?;
    // SAFETY: our own fresh page. A kernel before 4.14 refuses: then only `after_fork_child` tells of forks.
    if unsafe { syscall!(libc::SYS_madvise, page, 4096, libc::MADV_WIPEONFORK) }.is_ok() {
        STATE.fork_witness.store(page.cast(), Release);
    }
    mark_witness();
    STATE.pid.store(getpid(), Release);
    Ok(())
}

fn mark_witness() {
    // SAFETY: null or the page that `prepare` mapped and nobody unmaps.
    if let Some(w) = unsafe { STATE.fork_witness.load(Acquire).as_ref() } {
        w.store(1, Release);
    }
}

/// Notices a fork that nobody told about.
pub(super) fn check_fork() {
    // SAFETY: as in `mark_witness`.
    if unsafe { STATE.fork_witness.load(Acquire).as_ref() }.is_some_and(|w| w.load(Acquire) == 0) {
        after_fork_child();
    }
}

/// Before a fork: waits for the end of a stop under way and keeps the tables consistent until [`after_fork_parent`] and
/// [`after_fork_child`]. Signals other than the stop signal are blocked meanwhile, in the child too.
pub fn before_fork() {
    let mask = acquire();
    STATE.fork_mask.store(mask, Relaxed);
    STATE.forking.store(1, Relaxed);
}

/// Undoes [`before_fork`] in the parent.
pub fn after_fork_parent() {
    if STATE.forking.swap(0, Relaxed) != 0 {
        release(STATE.fork_mask.load(Relaxed));
    }
}

/// Forgets the parent's threads: call it in the only thread of a forked child before anything else of this module. (A fork
/// that went past it is noticed at the next stop where the kernel has MADV_WIPEONFORK, Linux 4.14.)
pub fn after_fork_child() {
    let tid = gettid();
    STATE.owner.store(0, Relaxed);
    // The flags still name the parent's thread.
    let f = STATE.flags_fn.load(Acquire);
    if f != 0 {
        // SAFETY: only `init` stores here, a `fn() -> *const CriticalFlags`.
        let f: fn() -> *const flags::CriticalFlags = unsafe { core::mem::transmute(f) };
        // SAFETY: null or the calling thread's flags. `tid` 0 means shared flags of no thread, which nobody may write.
        if let Some(flags) = unsafe { f().as_ref() }
            && flags.tid.load(Relaxed) != 0
        {
            flags.tid.store(tid as u32, Relaxed);
            flags.pending.store(0, Relaxed);
        }
    }
    for e in &STATE.exempt {
        e.tid.store(0, Relaxed);
    }
    for i in 0.. {
        let Some(r) = STATE.table.get(i) else { break };
        r.state.store(0, Relaxed);
    }
    STATE.table.len.store(0, Relaxed);
    STATE.stopping.store(0, Relaxed);
    STATE.inert.iter().for_each(|t| t.store(0, Relaxed));
    STATE.culprit.store(0, Relaxed);
    STATE.pid.store(getpid(), Relaxed);
    mark_witness();
    // SAFETY: a fork child has no other threads, and this one, if it held the lock, did so for the fork.
    unsafe { STATE.lock.reset() };
    if STATE.forking.swap(0, Relaxed) != 0 {
        signal::set_mask(STATE.fork_mask.load(Relaxed));
    }
}

/// Runs `f` with the world lock: no stop is under way or begins meanwhile. The calling thread can be stopped while it waits,
/// also in a critical section (it must be consistent here). Signals other than the stop signal are blocked while `f` runs.
pub fn with_lock<R>(f: impl FnOnce() -> R) -> R {
    let mask = acquire();
    let r = f();
    release(mask);
    r
}

/// Takes the world lock with all signals but the stop signal blocked; returns the former mask for [`release`].
pub(super) fn acquire() -> signal::SigSet {
    check_fork();
    let sig = STATE.signal.load(Acquire);
    let stop = if sig == 0 { 0 } else { signal::bit(sig as i32) };
    let mask = signal::set_mask(!stop);
    if sig == 0 {
        STATE.lock.acquire();
        return mask;
    }
    // While it waits, the thread must be stoppable.
    let flags = flags::of_thread(gettid());
    let depth = flags.map_or(0, |f| f.depth.swap(0, SeqCst));
    if flags.is_some_and(|f| f.pending.swap(0, SeqCst) != 0) {
        super::park_self();
    }
    STATE.lock.acquire();
    if let Some(f) = flags {
        f.depth.store(depth, SeqCst);
    }
    mask
}

/// Undoes [`acquire`].
pub(super) fn release(mask: signal::SigSet) {
    // SAFETY: the caller took it by `acquire`.
    unsafe { STATE.lock.release() };
    signal::set_mask(mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_dense() {
        let mut next = (0, 0);
        for i in 0..20_000 {
            assert_eq!(Table::place(i), next, "record {i}");
            next = if next.1 + 1 == FIRST << next.0 {
                (next.0 + 1, 0)
            } else {
                (next.0, next.1 + 1)
            };
        }
    }
}
