//! Calls of the library, inside the guest, to the run loop of its thread.

use crate::monitor::{FLUSH_ALL, FLUSH_PAGES, stubs};
use crate::table::Flush;
use crate::trap::{FULL_FLUSH, Trap};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering::*};

/// INT reaches the gates of the guest. Found out before the first thread enters.
pub static SOFTWARE_INTERRUPTS: AtomicBool = AtomicBool::new(false);

/// What is asked, in RAX. Arguments lie in RDI and RSI; the answer comes in RAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    /// Go on natively.
    Leave = 1,
    /// RDI: a [`Trap`] that the program does not handle.
    Forward = 2,
    /// Flush the other vCPUs and wait until they have reached the epoch RDI; RSI 1: flush this one, too.
    FlushOthers = 3,
    /// Fill the tables for the addresses RDI to RSI.
    Map = 4,
    /// Flush this vCPU.
    Flush = 6,
    /// RDI: a page fault. Have the tables filled for it; the answer is 0 if the instruction can be tried again.
    Repair = 7,
    /// Exceptions of vector RDI go to their handler from now on (RSI 1) or not (0).
    Gate = 5,
    /// RDI: a [`crate::trap::Fault`]. The program has no handler of page faults.
    Fault = 8,
}

impl Call {
    /// The call of a number.
    pub fn of(number: u64) -> Option<Call> {
        Some(match number {
            1 => Call::Leave,
            2 => Call::Forward,
            3 => Call::FlushOthers,
            4 => Call::Map,
            5 => Call::Gate,
            6 => Call::Flush,
            7 => Call::Repair,
            8 => Call::Fault,
            _ => return None,
        })
    }
}

/// Makes a call. Only inside the guest: natively, the instruction is a fault.
fn call(call: Call, a: u64, b: u64) -> i64 {
    let entry = if SOFTWARE_INTERRUPTS.load(Relaxed) {
        stubs::call()
    } else {
        stubs::call_int3()
    };
    let result: i64;
    // SAFETY: the run loop changes RAX only, and memory that the call names.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) entry,
            inlateout("rax") call as u64 => result,
            in("rdi") a, in("rsi") b,
        );
    }
    result
}

/// Leaves guest mode. Returns natively.
pub fn leave() {
    call(Call::Leave, 0, 0);
}

/// Hands a trap to the run loop.
pub fn forward(trap: &mut Trap) {
    call(Call::Forward, core::ptr::from_mut(trap) as u64, 0);
}

/// Has the tables filled for a page fault; whether the instruction can be tried again.
pub fn repair(trap: &Trap) -> bool {
    call(Call::Repair, core::ptr::from_ref(trap) as u64, 0) == 0
}

/// Has the tables filled for `start..end`; negative: an error number.
pub fn map(start: u64, end: u64) -> i64 {
    call(Call::Map, start, end)
}

/// Opens or closes the way of a vector to its handler.
pub fn gate(vector: u8, open: bool) -> i64 {
    call(Call::Gate, vector.into(), open.into())
}

/// Has all other vCPUs flush, and waits until they have reached `epoch`. Whether this one has flushed, too: where that is an exit, it is the same one.
pub fn flush_others(epoch: u64) -> bool {
    let own = !SOFTWARE_INTERRUPTS.load(Relaxed);
    call(Call::FlushOthers, epoch, own.into());
    own
}

/// Flushes this vCPU, without an exit where INT reaches the gates of the guest.
pub fn flush_own(flush: &Flush) {
    if !SOFTWARE_INTERRUPTS.load(Relaxed) {
        call(Call::Flush, 0, 0);
        return;
    }
    match flush.pages().filter(|_| !FULL_FLUSH.load(Relaxed)) {
        // SAFETY: the gate reads the list, changes the three registers and nothing else.
        Some(pages) => unsafe {
            asm!(
                "int {vector}",
                vector = const FLUSH_PAGES,
                inout("rdi") pages.as_ptr() => _,
                inout("rsi") pages.len() => _,
                out("rax") _,
            );
        },
        // SAFETY: the gate changes RAX and nothing else.
        None => unsafe { asm!("int {vector}", vector = const FLUSH_ALL, out("rax") _) },
    }
}
