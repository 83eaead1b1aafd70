//! Exceptions that the program handles itself, inside the guest and without an exit.

use crate::arch::registers::{BASE_FLAGS, USER_FLAGS};
use crate::arch::segments::Frame;
use crate::call;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::*};

/// What an exception interrupted. A handler may change registers; they count when it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Trap {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// CR2: for a page fault the address that was used.
    pub address: u64,
    /// Number of the exception.
    pub vector: u64,
    /// Its error code, zero if it has none.
    pub error: u64,
    /// Where to go on, with which flags and stack.
    pub frame: Frame,
}

// `dune_upward` builds it by pushing and takes it apart by popping.
const _: () = assert!(
    size_of::<Trap>() == 23 * 8
        && offset_of!(Trap, r15) == 14 * 8
        && offset_of!(Trap, address) == 15 * 8
        && offset_of!(Trap, frame) == 18 * 8
);

/// The page fault's error code: the page was present, so rights were missing.
pub const PRESENT: u64 = 1;
/// The page fault's error code: a store.
pub const WRITE: u64 = 2;
/// The page fault's error code: an instruction fetch.
pub const FETCH: u64 = 16;

/// The vector of division by zero.
pub const DIVIDE: u8 = 0;
/// The vector of debug exceptions.
pub const DEBUG: u8 = 1;
/// The vector of INT3.
pub const BREAKPOINT: u8 = 3;
/// The vector of an invalid instruction.
pub const INVALID: u8 = 6;
/// The vector of a general protection fault.
pub const PROTECTION: u8 = 13;
/// The vector of page faults.
pub const PAGE_FAULT: u8 = 14;

/// What a handler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is dealt with; go on where the trap's frame says.
    Resume,
    /// Not mine: the library does what it would do without a handler.
    Pass,
}

/// A handler. That of page faults is called for pages whose rights are held ([`crate::Dune::protect`]) and for what is a fault of the process itself; pages that
/// the tables do not know yet are the library's business. It runs at CPL 3 in the guest on the thread's handler stack, with all signals as they are; it may make system calls and fault.
pub type Handler = fn(&mut Trap) -> Verdict;

const NONE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// By vector.
pub(crate) static HANDLERS: [AtomicPtr<()>; 32] = [NONE; 32];

/// Bytes and components of the vector state that is saved around a handler.
pub static STATE_SIZE: AtomicU64 = AtomicU64::new(0);
/// Its components.
pub static STATE_MASK: AtomicU64 = AtomicU64::new(0);

/// How `dune_upward` walks the tables: address of the root, what is added to a frame, the bits of a frame in an entry.
pub(crate) static WALK: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// A page that gets its right to write back has everything flushed ([`crate::Config::full_flush`]).
pub(crate) static FULL_FLUSH: AtomicBool = AtomicBool::new(false);

/// What lies on the interrupt stack when `dune_upward` deals with a page fault.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub address: u64,
    pub rax: u64,
    vector: u64,
    pub error: u64,
    pub frame: Frame,
    handler_stack: [u64; 2],
    pub rcx: u64,
    pub rdx: u64,
    pub rdi: u64,
}

const _: () = assert!(
    offset_of!(Fault, frame) == 32 && offset_of!(Fault, rcx) == 88 && size_of::<Fault>() == 112
);

/// Registers a handler, or removes it; returns whether there was one.
pub fn set_handler(vector: u8, handler: Option<Handler>) -> bool {
    let new = handler.map_or(core::ptr::null_mut(), |h| h as *mut ());
    !HANDLERS[usize::from(vector)].swap(new, AcqRel).is_null()
}

/// Whether any exception of a vector goes to a handler.
pub fn has_handler(vector: u8) -> bool {
    !HANDLERS[usize::from(vector)].load(Acquire).is_null()
}

/// Called by `dune_upward` in the guest. What this function uses up to the handler's call is always known to the guest's tables
/// (`Process::prepare`), because a fault here would lead here again.
pub extern "C" fn dispatch(trap: &mut Trap) {
    if trap.vector == u64::from(PAGE_FAULT) && !held(trap.address) && call::repair(trap) {
        return;
    }
    let handler = HANDLERS[usize::from(trap.vector as u8 & 31)].load(Acquire);
    let verdict = if handler.is_null() {
        Verdict::Pass
    } else {
        // SAFETY: only `set_handler` stores here, and only handlers.
        let handler: Handler = unsafe { core::mem::transmute(handler) };
        handler(trap)
    };
    match verdict {
        Verdict::Resume => {
            let frame = &mut trap.frame;
            let flags = frame.rflags & USER_FLAGS | BASE_FLAGS;
            // A handler decides where to go on, not with which privileges.
            *frame = Frame::user(frame.rip, frame.rsp, flags);
            if let Some(record) = crate::thread::current() {
                crate::stats::count(&record.process.counters.faults);
            }
        }
        // The run loop repairs and comes back, or goes on natively at the trap.
        Verdict::Pass => call::forward(trap),
    }
}

fn held(address: u64) -> bool {
    let held = |e: &crate::arch::pte::Entry| e.load().held();
    crate::process::view()
        .and_then(|v| v.entry(address))
        .is_some_and(held)
}

/// The vector state that was saved for a trap.
pub fn saved_state(trap: *const Trap) -> *const crate::arch::xsave::State {
    ((trap as u64 - STATE_SIZE.load(Relaxed)) & !63) as *const _
}
