//! Stopping and resuming.
use super::error::{StopError, Why};
use super::exempt::is_exempt;
use super::handler::{fs_base, own_thread};
use super::spill::{Registers, with_spilled_registers};
use super::state::{self, Record, STATE, StoppedThread, phase::*};
use crate::sys::proc_task::{self, TaskDir};
use crate::sys::raw::{Errno, getpid, gettid, now_ns};
use crate::sys::scratch::ScratchVec;
use crate::sys::{futex, signal};
use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::*;

/// Proof that no other thread of the process runs. Resumes them when dropped.
pub struct StoppedWorld {
    threads: &'static [StoppedThread],
    mask: signal::SigSet,
    stop_ns: u64,
    not_send: PhantomData<*mut ()>,
}

/// Stops every other thread, within the configured time.
#[inline(always)]
pub fn stop() -> Result<StoppedWorld, StopError> {
    stop_within(timeout_ns())
}

/// As [`stop`], but of the caller's own stack only what lies at `regs.sp` and above counts, with these registers: what is below was
/// called later and holds no pointers of its own. `regs` are from [`with_spilled_registers`] around this call.
pub fn stop_before(regs: &Registers) -> Result<StoppedWorld, StopError> {
    stop_from(regs, timeout_ns())
}

fn timeout_ns() -> u64 {
    u64::from(STATE.timeout_ms.load(Relaxed)) * 1_000_000
}

/// Stops every other thread, within `timeout_ns` nanoseconds.
#[inline(always)]
pub fn stop_within(timeout_ns: u64) -> Result<StoppedWorld, StopError> {
    // Inlined into the caller, so that the registers are the caller's.
    with_spilled_registers(|regs| stop_from(regs, timeout_ns))
}

/// Memory of a stop, guarded by the world lock. Stable until the next stop.
struct Scratch {
    threads: ScratchVec<StoppedThread>,
    own: Registers,
}

struct Guarded(core::cell::UnsafeCell<Scratch>);
// SAFETY: only touched with the world lock held.
unsafe impl Sync for Guarded {}
static SCRATCH: Guarded = Guarded(core::cell::UnsafeCell::new(Scratch {
    threads: ScratchVec::new(),
    own: Registers::NONE,
}));

fn stop_from(regs: &Registers, timeout_ns: u64) -> Result<StoppedWorld, StopError> {
    if STATE.signal.load(Acquire) == 0 {
        return Err(StopError::NotInitialised);
    }
    state::check_fork();
    if STATE.pid.load(Acquire) != getpid() {
        return Err(StopError::SharedAddressSpace);
    }
    let tid = gettid();
    if STATE.owner.load(Relaxed) == tid {
        return Err(StopError::AlreadyStopped);
    }
    let begun = now_ns();
    let deadline = begun.saturating_add(timeout_ns);
    let mut slice = FIRST_SLICE_NS;
    // The thread that let the last stop fail had its time then.
    let culprit = STATE.culprit.load(Relaxed);
    loop {
        let now = now_ns();
        // What would be left for a further try must be worth one.
        let last = deadline.saturating_sub(now) < 2 * slice;
        let give_up = if last { deadline } else { now + slice };
        let (e, mask) = match attempt(regs, tid, begun, deadline, give_up) {
            Ok(stopped) => return Ok(stopped),
            Err(failed) => failed,
        };
        let_go(mask);
        let again =
            matches!(e, StopError::Blocked { why: Why::SignalBlocked, tid } if tid != culprit);
        if !again || last {
            if let StopError::Blocked { tid, .. } = e {
                STATE.culprit.store(tid, Relaxed);
            }
            return Err(e);
        }
        // With the world running, the thread gets what it waits for.
        let _ = futex::wait(&AtomicU32::new(0), 0, Some(slice / 8));
        slice *= 2;
    }
}

/// How long a stop first waits for a thread that blocks the signal. Such a thread may wait for a lock whose holder is
/// stopped (glibc blocks all signals while a thread begins and ends, and takes locks there), so it is let go and
/// asked again, with twice the time.
const FIRST_SLICE_NS: u64 = 8_000_000;

/// One try. A failed one leaves the world lock held, with the mask to be restored.
fn attempt(
    regs: &Registers,
    tid: i32,
    begun: u64,
    deadline: u64,
    give_up: u64,
) -> Result<StoppedWorld, (StopError, signal::SigSet)> {
    let mask = state::acquire();
    STATE.owner.store(tid, Relaxed);
    let generation = STATE.generation.load(Relaxed).wrapping_add(1).max(1);
    STATE.generation.store(generation, Relaxed);
    let stop = Stop {
        generation,
        tid,
        pid: STATE.pid.load(Relaxed),
        deadline,
        give_up,
    };
    match stop.run(regs) {
        Ok(threads) => Ok(StoppedWorld {
            threads,
            mask,
            stop_ns: now_ns() - begun,
            not_send: PhantomData,
        }),
        Err(e) => {
            for r in STATE.table.iter() {
                let _ = r.step(generation, SIGNALLED, CANCELLED)
                    || r.step(generation, DEFERRED, CANCELLED);
            }
            Err((e, mask))
        }
    }
}

/// Releases threads, lock and signals, in this order: a pending signal's handler may want the lock. When the last thread ran again.
fn let_go(mask: signal::SigSet) -> u64 {
    STATE.stopping.store(0, SeqCst);
    futex::wake(&STATE.stopping, u32::MAX);
    let resumed = last_resumed();
    STATE.owner.store(0, Relaxed);
    state::release(mask);
    resumed
}

/// When the last thread ran again: now, unless all did already, while the caller waited for its processor.
fn last_resumed() -> u64 {
    let now = now_ns();
    let generation = STATE.generation.load(Relaxed);
    let all = STATE
        .table
        .iter()
        .try_fold(0, |last, r| match r.phase(generation) {
            STOPPED => None,
            RESUMED => Some(r.resumed_ns.load(Relaxed).max(last)),
            _ => Some(last),
        });
    match all {
        Some(last) if last != 0 => last.min(now),
        _ => now,
    }
}

/// What keeps a thread in this status from answering the signal `bit`.
fn obstacle(s: &proc_task::Status, bit: signal::SigSet) -> Option<Why> {
    match s.state {
        b't' => Some(Why::Traced),
        b'T' => Some(Why::JobStopped),
        b'D' => Some(Why::Uninterruptible),
        _ if s.blocked & bit != 0 => Some(Why::SignalBlocked),
        _ => None,
    }
}

/// Whether `tid` was inert at an earlier stop and is still.
fn known_inert(tid: i32) -> bool {
    let Some(entry) = STATE.inert.iter().find(|t| t.load(Relaxed) == tid) else {
        return false;
    };
    let still = proc_task::is_inert(tid);
    if !still {
        entry.store(0, Relaxed);
    }
    still
}

/// A stop under way.
struct Stop {
    generation: u32,
    tid: i32,
    pid: i32,
    deadline: u64,
    /// When a thread that blocks the signal is no longer waited for in this try.
    give_up: u64,
}

/// A pass over the threads.
struct Pass {
    seen: usize,
    new: usize,
}

impl Stop {
    fn run(&self, regs: &Registers) -> Result<&'static [StoppedThread], StopError> {
        STATE.table.len.store(0, Relaxed);
        self.ask_culprit()?;
        STATE.acks.store(0, SeqCst);
        STATE.wanted.store(u32::MAX, SeqCst);
        STATE.stopping.store(self.generation, SeqCst);
        self.signal_known()?;
        let no_proc = |e: Errno| StopError::NoProc(e.0);
        let (mut dir, mut last) = (None, Pass { seen: 0, new: 1 });
        loop {
            self.wait_for_acks()?;
            // Nothing but the caller and exempt threads runs of what is known. If the kernel counts no more than that,
            // this is all; a thread that a known one created before it stopped makes the count differ.
            let count = proc_task::count().map_err(no_proc)?;
            if count == self.known() {
                break;
            }
            if dir.is_none() {
                dir = Some(TaskDir::open().map_err(no_proc)?);
            }
            let Some(dir) = &dir else { continue };
            let pass = self.pass(dir)?;
            // A complete pass that finds nothing new, or two equal ones where the kernel counts otherwise.
            if pass.new == 0 && (pass.seen == count || last.new == 0 && pass.seen == last.seen) {
                break;
            }
            last = pass;
            if now_ns() > self.deadline {
                return Err(StopError::Blocked {
                    tid: self.tid,
                    why: Why::ThreadStorm,
                });
            }
        }
        self.collect(regs)
    }

    /// Signals the threads of the last stop, which spares reading the directory when there are no others.
    fn signal_known(&self) -> Result<(), StopError> {
        // SAFETY: this thread holds the world lock; the last stop's borrowed list ended with its StoppedWorld.
        let known = unsafe { &(*SCRATCH.0.get()).threads };
        let memory = |e: Errno| StopError::Memory(e.0);
        for t in known
            .iter()
            .filter(|t| t.tid != self.tid && !is_exempt(t.tid))
        {
            let record = self.new_record(t.tid).map_err(memory)?;
            self.send(record, STATE.table.len.load(Relaxed) - 1)?;
        }
        for t in STATE
            .inert
            .iter()
            .map(|t| t.load(Relaxed))
            .filter(|t| *t != 0 && known_inert(*t))
        {
            self.inert_record(t).map_err(memory)?;
        }
        Ok(())
    }

    /// Notes a thread that is listed but does not run.
    fn inert_record(&self, tid: i32) -> Result<(), Errno> {
        let record = self.new_record(tid)?;
        record.inert.store(true, Relaxed);
        record.step(self.generation, SIGNALLED, GONE);
        Ok(())
    }

    /// Threads in the kernel's list that cannot run: caller, stopped, zombies; and the exempt ones.
    fn known(&self) -> usize {
        let stopped = STATE
            .table
            .iter()
            .filter(|r| r.phase(self.generation) == STOPPED || r.inert.load(Relaxed))
            .count();
        let exempt = STATE
            .exempt
            .iter()
            .filter(|e| ![0, self.tid as u32].contains(&e.tid.load(Relaxed)))
            .count();
        1 + stopped + exempt
    }

    /// Signals every thread that has no record yet.
    fn pass(&self, dir: &TaskDir) -> Result<Pass, StopError> {
        let mut pass = Pass { seen: 0, new: 0 };
        let (mut cursor, mut found_self, mut failed) = (0, false, None);
        let table = &STATE.table;
        let r = dir.for_each(|tid| {
            pass.seen += 1;
            if tid == self.tid {
                found_self = true;
                return Ok(());
            }
            if is_exempt(tid) {
                return Ok(());
            }
            // The kernel lists threads in the order of their creation, as the table does: look at the next record first.
            let len = table.len.load(Relaxed);
            let is = |i: usize| {
                table.get(i).is_some_and(|r| {
                    r.tid.load(Relaxed) == tid
                        && (r.phase(self.generation) != GONE || r.inert.load(Relaxed))
                })
            };
            if let Some(i) = (cursor..len).chain(0..cursor.min(len)).find(|i| is(*i)) {
                cursor = i + 1;
                return Ok(());
            }
            pass.new += 1;
            cursor = len + 1;
            if known_inert(tid) {
                return self.inert_record(tid);
            }
            let record = self.new_record(tid)?;
            self.send(record, table.len.load(Relaxed) - 1)
                .inspect_err(|e| failed = Some(*e))
                .map_err(|_| Errno(0))
        });
        match (failed, r) {
            (Some(e), _) => Err(e),
            (None, Err(Errno(libc::ENOMEM))) => Err(StopError::Memory(libc::ENOMEM)),
            (None, Err(e)) => Err(StopError::NoProc(e.0)),
            (None, Ok(())) if !found_self => Err(StopError::NoProc(libc::ESRCH)),
            (None, Ok(())) => Ok(pass),
        }
    }

    /// A fresh record in phase SIGNALLED; skips records that a thread of a given-up stop is still writing.
    fn new_record(&self, tid: i32) -> Result<&'static Record, Errno> {
        loop {
            let i = STATE.table.len.load(Relaxed);
            let record = STATE.table.ensure(i)?;
            let free = (record.state.load(Acquire) as u32) != WRITING;
            if free {
                record.tid.store(tid, Relaxed);
                record.inert.store(false, Relaxed);
                record.state.store(
                    u64::from(self.generation) << 32 | u64::from(SIGNALLED),
                    Release,
                );
            }
            STATE.table.len.store(i + 1, Release);
            if free {
                return Ok(record);
            }
        }
    }

    fn send(&self, record: &Record, index: usize) -> Result<(), StopError> {
        let sig = STATE.signal.load(Relaxed) as i32;
        let value = u64::from(self.generation) << 32 | index as u64;
        loop {
            match signal::queue(self.pid, record.tid.load(Relaxed), sig, value) {
                Ok(()) => return Ok(()),
                Err(Errno(libc::EAGAIN)) if now_ns() < self.deadline => {
                    // Each thread that stops takes a signal off the queue.
                    let _ = futex::wait(&STATE.acks, STATE.acks.load(SeqCst), Some(200_000));
                }
                Err(Errno(libc::EAGAIN)) => return Err(StopError::SignalQueueFull),
                Err(_) => {
                    record.step(self.generation, SIGNALLED, GONE);
                    return Ok(());
                }
            }
        }
    }

    /// Waits until every record is STOPPED or GONE.
    fn wait_for_acks(&self) -> Result<(), StopError> {
        let waits =
            |r: &&Record| matches!(r.phase(self.generation), SIGNALLED | DEFERRED | WRITING);
        let mut patience = 100_000;
        loop {
            let acks = STATE.acks.load(SeqCst);
            let missing = STATE.table.iter().filter(waits).count() as u32;
            if missing == 0 {
                return Ok(());
            }
            STATE.wanted.store(acks + missing, SeqCst);
            let now = now_ns();
            if now >= self.give_up {
                let late = || STATE.table.iter().filter(waits);
                let blocks = |e: &StopError| {
                    let why = Why::SignalBlocked;
                    matches!(e, StopError::Blocked { why: w, .. } if *w == why)
                };
                // One that blocks the signal explains more than one that was not scheduled in time.
                if let Some(e) = late().map(|r| self.reason(r)).find(blocks) {
                    return Err(e);
                }
                if now >= self.deadline {
                    return late().next().map_or(Ok(()), |r| Err(self.reason(r)));
                }
            }
            if STATE.acks.load(SeqCst) != acks {
                continue;
            }
            let end = if now < self.give_up {
                self.give_up
            } else {
                self.deadline
            };
            if futex::wait(&STATE.acks, acks, Some(patience.min(end - now)))
                == Err(Errno(libc::ETIMEDOUT))
            {
                STATE
                    .table
                    .iter()
                    .filter(waits)
                    .for_each(|r| self.look(r, patience));
                patience = (patience * 2).min(20_000_000);
            }
        }
    }

    /// Finds out whether a thread that does not answer has exited.
    fn look(&self, r: &Record, patience: u64) {
        let tid = r.tid.load(Relaxed);
        let gone = |inert| {
            r.inert.store(inert, Relaxed);
            let _ =
                r.step(self.generation, SIGNALLED, GONE) || r.step(self.generation, DEFERRED, GONE);
        };
        if !signal::thread_exists(self.pid, tid) {
            gone(false);
        } else if patience >= 800_000 && proc_task::is_inert(tid) {
            gone(true);
            if let Some(free) = STATE.inert.iter().find(|t| t.load(Relaxed) == 0) {
                free.store(tid, Relaxed);
            }
        }
    }

    fn reason(&self, r: &Record) -> StopError {
        let tid = r.tid.load(Relaxed);
        let bit = signal::bit(STATE.signal.load(Relaxed) as i32);
        let why = match proc_task::status(tid) {
            _ if r.phase(self.generation) == DEFERRED => Why::CriticalSection,
            None => Why::Unresponsive,
            Some(s) => obstacle(&s, bit).unwrap_or(if s.pending & bit == 0 {
                Why::SignalConsumed
            } else {
                Why::Unresponsive
            }),
        };
        StopError::Blocked { tid, why }
    }

    /// A thread that let the last stop fail is looked at first: if it still cannot be stopped after a moment, nobody else
    /// has to wait for the timeout again.
    fn ask_culprit(&self) -> Result<(), StopError> {
        const GRACE_NS: u64 = 20_000_000;
        let tid = STATE.culprit.swap(0, Relaxed);
        if tid == 0 || tid == self.tid {
            return Ok(());
        }
        let bit = signal::bit(STATE.signal.load(Relaxed) as i32);
        let end = self.deadline.min(now_ns() + GRACE_NS);
        while let Some(why) = proc_task::status(tid).and_then(|s| obstacle(&s, bit)) {
            if now_ns() >= end {
                return Err(StopError::Blocked { tid, why });
            }
            let _ = futex::wait(&STATE.acks, STATE.acks.load(SeqCst), Some(1_000_000));
        }
        Ok(())
    }

    /// The list of threads, the caller first unless it is exempt.
    fn collect(&self, regs: &Registers) -> Result<&'static [StoppedThread], StopError> {
        // SAFETY: this thread holds the world lock; the former stop's borrowed list ended with its StoppedWorld.
        let scratch = unsafe { &mut *SCRATCH.0.get() };
        scratch.own = *regs;
        scratch.threads.clear();
        let push = |t| scratch.threads.push(t).map_err(|e| StopError::Memory(e.0));
        let mut push = push;
        if !is_exempt(self.tid) {
            push(StoppedThread {
                is_caller: true,
                fs_base: fs_base(),
                ..own_thread(&scratch.own, self.tid)
            })?;
        }
        for r in STATE
            .table
            .iter()
            .filter(|r| r.phase(self.generation) == STOPPED)
        {
            // SAFETY: the thread wrote its record before STOPPED and does not touch it again in this stop.
            push(unsafe { *r.thread.get() })?;
        }
        Ok(&scratch.threads)
    }
}

impl StoppedWorld {
    /// The caller (first, unless it is exempt) and every stopped thread.
    pub fn threads(&self) -> &[StoppedThread] {
        self.threads
    }

    /// From before the first signal to after the last answer, in nanoseconds.
    pub fn stop_ns(&self) -> u64 {
        self.stop_ns
    }

    /// Lets every thread run on. When the last of them did, as far as they have said so by now; monotonic time in nanoseconds.
    pub fn resume(self) -> u64 {
        let_go(core::mem::ManuallyDrop::new(self).mask)
    }
}

impl Drop for StoppedWorld {
    fn drop(&mut self) {
        let_go(self.mask);
    }
}
