//! The stack on which a collection runs.
//!
//! A program may allocate on a stack of 16 KiB (`PTHREAD_STACK_MIN`), or on that of a coroutine, which may lie in a block of its own heap with
//! nothing behind it that would stop an overflow. A collection takes more than that. So it runs on memory of the collector's, unless the
//! thread is known to have enough. The program's frames are roots from where it entered the collector; this stack is none.
use super::aside;
use super::flags::of_thread;
use crate::sys::raw::{gettid, syscall};
use crate::sys::scratch;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of the stack, its guard page included. Handlers of the program may run on it.
const SIZE: usize = 256 << 10;
/// The page at its lower end that nobody may touch.
const GUARD: usize = 4096;
/// A thread that is known to have so many bytes left collects on its own stack.
const ENOUGH: usize = 64 << 10;

/// The address behind the stack; 0: not mapped.
static TOP: AtomicUsize = AtomicUsize::new(0);

/// Calls `f` with room for a collection. `sp` is in the calling thread's stack, in use from there on.
///
/// # Safety
/// The calling thread holds the lock under which all such calls are made: there is one stack.
pub unsafe fn call<R, F: FnOnce() -> R>(sp: usize, f: F) -> R {
    struct Job<F, R> {
        f: MaybeUninit<F>,
        r: MaybeUninit<R>,
    }
    extern "C" fn run<R, F: FnOnce() -> R>(data: *mut c_void) {
        // SAFETY: `data` is the `Job` below, alive and borrowed by nobody else; `f` is initialised and read once.
        unsafe {
            let job = &mut *data.cast::<Job<F, R>>();
            job.r.write((job.f.assume_init_read())());
        }
    }
    let top = if has_enough(sp) { 0 } else { top() };
    if top == 0 {
        let r = f();
        aside::wipe(aside::COLLECTION);
        return r;
    }
    let mut job = Job {
        f: MaybeUninit::new(f),
        r: MaybeUninit::<R>::uninit(),
    };
    // SAFETY: the stack is mapped up to `top`, a page boundary, and in use by nobody: by the contract this is the only call.
    unsafe { call_on((&raw mut job).cast(), run::<R, F>, top) };
    // SAFETY: `run` wrote the result.
    unsafe { job.r.assume_init() }
}

/// The calling thread told its stack's bounds, and there is room below `sp`.
fn has_enough(sp: usize) -> bool {
    of_thread(gettid()).is_some_and(|flags| {
        let (lo, hi) = flags.stack();
        lo != 0 && lo + ENOUGH <= sp && sp < hi
    })
}

/// The address behind the stack, which is mapped if it is not yet; 0 if that is refused.
fn top() -> usize {
    let known = TOP.load(Relaxed);
    if known != 0 {
        return known;
    }
    let Ok(lo) = scratch::map_unless_short(SIZE) else {
        return 0;
    };
    let lo = lo as usize;
    // SAFETY: the lowest page of a fresh mapping of our own. If it is refused, there is no guard.
    let _ = unsafe { syscall!(libc::SYS_mprotect, lo, GUARD, libc::PROT_NONE) };
    TOP.store(lo + SIZE, Relaxed);
    lo + SIZE
}

/// Calls `f(data)` with the stack pointer at `top`.
///
/// # Safety
/// Memory below `top`, a multiple of 16, is a stack that nobody uses.
#[unsafe(naked)]
unsafe extern "C" fn call_on(data: *mut c_void, f: extern "C" fn(*mut c_void), top: usize) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_on_the_stack_given_and_comes_back() {
        let here = 0u8;
        let here = &raw const here as usize;
        let text = std::string::String::from("a");
        // SAFETY: no other test here makes such a call, and no collection runs in this crate's unit tests meanwhile.
        let (at, text) = unsafe {
            call(here, || {
                let there = 0u8;
                (&raw const there as usize, text + "b")
            })
        };
        let top = TOP.load(Relaxed);
        assert!(top - SIZE + GUARD < at && at < top && text == "ab");
        let mut listed = false;
        scratch::for_each_mapping(|lo, hi| listed |= (lo, hi) == (top - SIZE, top));
        assert!(listed, "it would be a root");
    }
}
