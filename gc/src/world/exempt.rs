//! Threads of the collector itself: neither stopped nor scanned.
use super::spill::with_spilled_registers;
use super::state::{STATE, with_lock};
use crate::sys::{proc_maps, raw::gettid, signal};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};

/// An exempt thread; `tid` 0 is a free entry.
pub(super) struct Exempt {
    pub tid: AtomicU32,
    stack_lo: AtomicUsize,
    stack_hi: AtomicUsize,
}

impl Exempt {
    pub const FREE: Exempt = Exempt {
        tid: AtomicU32::new(0),
        stack_lo: AtomicUsize::new(0),
        stack_hi: AtomicUsize::new(0),
    };
}

/// So much of the stack below [`exempt_self`]'s caller is left out of the roots: markers leave addresses of objects there.
/// A part of the stack for sure, and more than they use.
const STACK: usize = 96 << 10;

/// Makes the calling thread run on while the world is stopped; blocks every signal in it. It must hold no pointers
/// that keep objects alive; its stack must be 128 KiB or more. False when the table is full (256):
/// the thread is treated as any other.
pub fn exempt_self() -> bool {
    with_spilled_registers(|regs| {
        let sp = regs.sp;
        let mut lo = sp;
        // The part in the mapping of this frame: not what may follow below a guard page.
        let _ = proc_maps::for_each(|m| {
            if m.start <= sp && sp < m.end {
                lo = m.start.max(sp.saturating_sub(STACK));
            }
        });
        let tid = gettid() as u32;
        let done = with_lock(|| {
            STATE.exempt.iter().any(|e| {
                let free = e.tid.load(Relaxed) == 0;
                if free {
                    e.stack_lo.store(lo, Relaxed);
                    e.stack_hi.store(sp, Relaxed);
                    e.tid.store(tid, Release);
                }
                free
            })
        });
        if done {
            signal::set_mask(!0);
        }
        done
    })
}

/// Calls `f(lo, hi)` for the stacks of exempt threads, with the world lock held.
pub fn for_each_exempt_stack(mut f: impl FnMut(usize, usize)) {
    for e in STATE.exempt.iter().filter(|e| e.tid.load(Acquire) != 0) {
        f(e.stack_lo.load(Relaxed), e.stack_hi.load(Relaxed));
    }
}

/// Undoes [`exempt_self`] before the thread ends. The signal mask stays.
pub fn unexempt_self() {
    let tid = gettid() as u32;
    with_lock(|| {
        for e in &STATE.exempt {
            let _ = e.tid.compare_exchange(tid, 0, AcqRel, Relaxed);
        }
    });
}

/// Whether `tid` is exempt; stable while the world lock is held.
pub(crate) fn is_exempt(tid: i32) -> bool {
    STATE
        .exempt
        .iter()
        .any(|e| e.tid.load(Relaxed) == tid as u32)
}
