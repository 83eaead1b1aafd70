//! The handler for SIGSEGV of the source `mprotect`: it comes first, and the program's, installed before or after it, is called for faults that
//! are not the collector's.

use super::failure::Failure;
use crate::sys::lock::Lock;
use crate::sys::signal::{self, Handler, KernelSigaction};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

/// Ours is installed.
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Held, with every signal blocked, by whoever changes the disposition.
static CHANGING: Lock<()> = Lock::new(());
/// What the program wants.
static THEIRS: Theirs = Theirs {
    handler: AtomicUsize::new(0),
    flags: AtomicU64::new(0),
    mask: AtomicU64::new(0),
};

/// A `sigaction` in atomics.
struct Theirs {
    handler: AtomicUsize,
    flags: AtomicU64,
    mask: AtomicU64,
}

impl Theirs {
    fn get(&self) -> KernelSigaction {
        KernelSigaction {
            handler: self.handler.load(Acquire),
            flags: self.flags.load(Relaxed),
            mask: self.mask.load(Relaxed),
            ..KernelSigaction::default()
        }
    }

    fn set(&self, to: &KernelSigaction) {
        self.flags.store(to.flags, Relaxed);
        self.mask.store(to.mask, Relaxed);
        self.handler.store(to.handler, Release);
    }
}

fn exclusively<R>(f: impl FnOnce() -> R) -> R {
    let mask = signal::set_mask(!0);
    let guard = CHANGING.lock();
    let r = f();
    drop(guard);
    signal::set_mask(mask);
    r
}

/// Our handler is in place; installs it if nobody's or the program's is there.
pub(super) fn install(ours: Handler) -> Result<(), Failure> {
    let failed = |e| Failure::Call("sigaction(SIGSEGV)", e);
    exclusively(|| {
        let now = signal::disposition(libc::SIGSEGV).map_err(failed)?;
        if now.handler != ours as *const () as usize {
            THEIRS.set(&now);
            signal::install(libc::SIGSEGV, ours).map_err(failed)?;
        }
        INSTALLED.store(true, Release);
        Ok(())
    })
}

/// For an interposed `sigaction` of SIGSEGV: what the program wants is remembered, and ours stays. What it wanted before; `None` if ours is not
/// installed, and `pass_on` was called instead.
pub fn change(to: Option<&KernelSigaction>, pass_on: impl FnOnce()) -> Option<KernelSigaction> {
    exclusively(|| {
        if !INSTALLED.load(Acquire) {
            pass_on();
            return None;
        }
        let old = THEIRS.get();
        if let Some(to) = to {
            THEIRS.set(to);
        }
        Some(old)
    })
}

/// The fault is not ours: does what the kernel would have done without us.
pub(super) fn pass_on(sig: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let theirs = THEIRS.get();
    if theirs.handler == libc::SIG_DFL || theirs.handler == libc::SIG_IGN {
        // The faulting instruction runs again, and then the default action ends the process as it would have without us.
        let _ = signal::set_default(sig);
        return;
    }
    let has = |flag: i32| theirs.flags & flag as u64 != 0;
    if has(libc::SA_RESETHAND) {
        THEIRS.handler.store(libc::SIG_DFL, Release);
    }
    // As the kernel would have entered it.
    // SAFETY: with SA_SIGINFO the third argument is the interrupted context.
    let interrupted = unsafe {
        (&raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask)
            .cast::<u64>()
            .read()
    };
    let own = if has(libc::SA_NODEFER) {
        0
    } else {
        signal::bit(sig)
    };
    signal::set_mask(interrupted | theirs.mask | own);
    // SAFETY: the program installed this function as a handler; the flags say with which arguments. A function of one
    // argument ignores the other two.
    let f: Handler = unsafe { core::mem::transmute::<usize, Handler>(theirs.handler) };
    f(sig, info, context);
}

/// Before a fork.
pub(super) fn before_fork() {
    CHANGING.acquire();
}

/// After it, in parent and child.
///
/// # Safety
/// After [`before_fork`], by the thread that called it or its copy in the child.
pub(super) unsafe fn after_fork() {
    // SAFETY: by this function's contract the lock is held.
    unsafe { CHANGING.release() };
}
