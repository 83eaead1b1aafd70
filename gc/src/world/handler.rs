//! What a thread does when it is asked to stop.
//!
//! The signal's value names the generation (high word) and the record (low word). A value that does not fit the stop
//! under way is stale or foreign and ignored: the record's state decides, in one compare-and-swap.
use super::flags;
use super::spill::{Registers, with_spilled_registers};
use super::state::{Record, STATE, StoppedThread, phase::*};
use crate::sys::raw::{gettid, now_ns, syscall};
use crate::sys::{futex, signal};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};

/// Handler of the stop signal. Uses no libc and no errno; runs with every signal blocked.
pub(super) extern "C" fn on_signal(_sig: i32, info: *mut libc::siginfo_t, uc: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo and ucontext to an SA_SIGINFO handler.
    let (info, uc) = unsafe { (&*info, &*uc.cast::<libc::ucontext_t>()) };
    if info.si_code != libc::SI_QUEUE {
        return;
    }
    // SAFETY: si_code SI_QUEUE means that the value is filled in.
    let value = unsafe { info.si_value() }.sival_ptr as u64;
    let (generation, index) = ((value >> 32) as u32, value as u32 as usize);
    if generation == 0 || STATE.stopping.load(SeqCst) != generation {
        return;
    }
    let Some(record) = STATE.table.get(index) else {
        return;
    };
    let fs_base = fs_base();
    let flags = if fs_base == 0 {
        None
    } else {
        flags::of_thread(record.tid.load(Relaxed))
    };
    if let Some(f) = flags
        && f.depth.load(Relaxed) != 0
    {
        if record.step(generation, SIGNALLED, DEFERRED) {
            f.pending.store(1, Relaxed);
        }
        return;
    }
    if !record.step(generation, SIGNALLED, WRITING) {
        return;
    }
    let g = &uc.uc_mcontext.gregs;
    let regs = g.as_ptr_range();
    let sp = g[libc::REG_RSP as usize] as usize;
    let alt = &uc.uc_stack;
    let alt_lo = if alt.ss_flags & libc::SS_DISABLE != 0 {
        0
    } else {
        alt.ss_sp as usize
    };
    let alt_hi = if alt_lo == 0 { 0 } else { alt_lo + alt.ss_size };
    let thread = StoppedThread {
        tid: record.tid.load(Relaxed),
        sp,
        registers: (regs.start as usize, regs.end as usize),
        vectors: xsave_area(uc.uc_mcontext.fpregs as usize),
        fs_base,
        alt_stack: (alt_lo, alt_hi),
        on_alt_stack: alt_lo < sp && sp <= alt_hi,
        stack: flags.map_or((0, 0), |f| f.stack()),
        stack_end: flags.map_or(0, |f| f.stack_end.load(Relaxed)),
        is_caller: false,
    };
    acknowledge_and_wait(record, generation, thread);
}

/// Stops the calling thread if a stop waits for it. For the end of a critical section: registers are spilled, every
/// signal is blocked meanwhile.
pub fn park_self() {
    with_spilled_registers(|regs| {
        let mask = signal::set_mask(!0);
        let generation = STATE.stopping.load(SeqCst);
        let tid = gettid();
        if generation != 0
            && let Some(record) = STATE
                .table
                .iter()
                .find(|r| r.tid.load(Relaxed) == tid && r.phase(generation) == DEFERRED)
            && record.step(generation, DEFERRED, WRITING)
        {
            acknowledge_and_wait(record, generation, own_thread(regs, tid));
        }
        signal::set_mask(mask);
    });
}

/// The calling thread, whose registers lie at `regs`.
pub(super) fn own_thread(regs: &Registers, tid: i32) -> StoppedThread {
    let fs_base = fs_base();
    let at = regs as *const Registers as usize;
    let (alt_lo, alt_hi, on_alt) = signal::alt_stack().unwrap_or((0, 0, false));
    let flags = if fs_base == 0 {
        None
    } else {
        flags::of_thread(tid)
    };
    StoppedThread {
        tid,
        sp: regs.sp,
        registers: (at, at + size_of::<Registers>()),
        vectors: (0, 0),
        fs_base,
        alt_stack: (alt_lo, alt_hi),
        on_alt_stack: on_alt,
        stack: flags.map_or((0, 0), |f| f.stack()),
        stack_end: flags.map_or(0, |f| f.stack_end.load(Relaxed)),
        is_caller: false,
    }
}

fn acknowledge_and_wait(record: &Record, generation: u32, thread: StoppedThread) {
    // SAFETY: the record is in phase WRITING, into which this thread alone brought it: nobody else reads or writes.
    unsafe { *record.thread.get() = thread };
    // A record whose stop was given up meanwhile is WRITING all the same; its next user waits for CANCELLED or STOPPED.
    record.step(generation, WRITING, STOPPED);
    let acks = STATE.acks.fetch_add(1, SeqCst) + 1;
    if acks >= STATE.wanted.load(SeqCst) {
        futex::wake(&STATE.acks, 1);
    }
    while STATE.stopping.load(SeqCst) == generation {
        let _ = futex::wait(&STATE.stopping, generation, None);
    }
    if record.phase(generation) == STOPPED {
        record.resumed_ns.store(now_ns(), Relaxed);
        record.step(generation, STOPPED, RESUMED);
    }
    fence(SeqCst);
}

/// The extended state that the kernel saved: 512 bytes and, if the kernel says so there, what follows.
fn xsave_area(lo: usize) -> (usize, usize) {
    const SW_RESERVED: usize = 464;
    const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
    if lo == 0 {
        return (0, 0);
    }
    // SAFETY: a non-null fpregs points to at least the 512-byte FXSAVE image; magic1 and the state's size are words of
    // its software-reserved part (struct _fpx_sw_bytes: magic1, extended_size, xfeatures, xstate_size).
    let (magic, size) = unsafe {
        (
            *((lo + SW_RESERVED) as *const u32),
            *((lo + SW_RESERVED + 16) as *const u32),
        )
    };
    let size = if magic == FP_XSTATE_MAGIC1 {
        (size as usize).clamp(512, 65536)
    } else {
        512
    };
    (lo, lo + size)
}

/// The thread pointer, without touching memory through it.
pub(super) fn fs_base() -> usize {
    /// 1: the RDFSBASE instruction works in user mode; 2: it does not; 0: not known yet.
    static FSGSBASE: AtomicU32 = AtomicU32::new(0);
    const HWCAP2_FSGSBASE: u64 = 2;
    let base: usize;
    let mut how = FSGSBASE.load(Relaxed);
    if how == 0 {
        // SAFETY: getauxval reads the auxiliary vector; AT_HWCAP2 always exists in it (it sets no errno then).
        how = if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE != 0 {
            1
        } else {
            2
        };
        FSGSBASE.store(how, Relaxed);
    }
    if how == 1 {
        // SAFETY: the kernel announced the instruction for user mode; it only reads a register.
        unsafe {
            core::arch::asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags))
        };
        return base;
    }
    const ARCH_GET_FS: usize = 0x1003;
    let mut out = 0usize;
    // SAFETY: `out` is valid for the result.
    let _ = unsafe { syscall!(libc::SYS_arch_prctl, ARCH_GET_FS, &raw mut out) };
    out
}
