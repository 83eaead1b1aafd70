//! Handlers: one for the stop signal is remembered, so that asking gives what was set, and not installed.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::{missing, stop_signal};
use crate::next::Next;
use gc::dirty::{in_kernel, segv};
use gc::sys::signal::KernelSigaction;

type Sigaction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
type Signal = unsafe extern "C" fn(c_int, libc::sighandler_t) -> libc::sighandler_t;
type OnSignal = unsafe extern "C" fn(c_int) -> c_int;

/// What the program set for the stop signal.
static HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static FLAGS: AtomicI32 = AtomicI32::new(0);

// SAFETY: the type is that of the function.
static NEXT_SIGACTION: Next<Sigaction> = unsafe { Next::new(c"sigaction") };

/// `sigaction`: never installs a handler for the stop signal, and no handler runs with it blocked.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(
    signal: c_int,
    action: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let Some(next) = NEXT_SIGACTION.get() else {
        return missing();
    };
    if signal == stop_signal() {
        // SAFETY: an action is plain data; all zero is the default one.
        let mut previous: libc::sigaction = unsafe { core::mem::zeroed() };
        previous.sa_sigaction = HANDLER.load(Ordering::Relaxed);
        previous.sa_flags = FLAGS.load(Ordering::Relaxed);
        // SAFETY: null or readable by the caller's contract.
        if let Some(action) = unsafe { action.as_ref() } {
            HANDLER.store(action.sa_sigaction, Ordering::Relaxed);
            FLAGS.store(action.sa_flags, Ordering::Relaxed);
        }
        if !old.is_null() {
            // SAFETY: writable by the caller's contract.
            unsafe { old.write(previous) };
        }
        return 0;
    }
    if signal == libc::SIGSEGV && in_kernel::is_needed() {
        // SAFETY: by the caller's contract.
        return unsafe { for_faults(action, old, next) };
    }
    if action.is_null() {
        // SAFETY: the caller's arguments.
        return unsafe { next(signal, action, old) };
    }
    // SAFETY: readable by the caller's contract.
    let mut copy = unsafe { *action };
    super::strip(&mut copy.sa_mask);
    // SAFETY: the caller's arguments, with an action that lives through the call.
    unsafe { next(signal, &copy, old) }
}

/// `sigaction(SIGSEGV)`, when the collector has a handler too or is going to have one: its own comes first, and passes on what is the program's.
///
/// # Safety
/// As for the function.
unsafe fn for_faults(
    action: *const libc::sigaction,
    old: *mut libc::sigaction,
    next: Sigaction,
) -> c_int {
    let first_word = |set: &libc::sigset_t| {
        // SAFETY: a set is plain words, and signals 1 to 64 are its first.
        unsafe { core::ptr::from_ref(set).cast::<u64>().read() }
    };
    // SAFETY: null or readable by the caller's contract.
    let new = unsafe { action.as_ref() }.map(|a| KernelSigaction {
        handler: a.sa_sigaction,
        flags: a.sa_flags as u64,
        mask: first_word(&a.sa_mask),
        ..KernelSigaction::default()
    });
    let mut result = 0;
    // SAFETY: the caller's arguments.
    let pass_on = || result = unsafe { next(libc::SIGSEGV, action, old) };
    let Some(was) = segv::change(new.as_ref(), pass_on) else {
        return result;
    };
    if !old.is_null() {
        // SAFETY: an action is plain data; all zero is the default one.
        let mut previous: libc::sigaction = unsafe { core::mem::zeroed() };
        previous.sa_sigaction = was.handler;
        previous.sa_flags = was.flags as c_int;
        // SAFETY: as above; the set's first word.
        unsafe { (&raw mut previous.sa_mask).cast::<u64>().write(was.mask) };
        // SAFETY: writable by the caller's contract.
        unsafe { old.write(previous) };
    }
    0
}

/// `signal(SIGSEGV)` and the like, by [`for_faults`].
fn signal_for_faults(handler: libc::sighandler_t, flags: c_int) -> libc::sighandler_t {
    let Some(next) = NEXT_SIGACTION.get() else {
        missing();
        return libc::SIG_ERR;
    };
    // SAFETY: an action is plain data; all zero is the default one.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { core::mem::zeroed() };
    new.sa_sigaction = handler;
    new.sa_flags = flags;
    // SAFETY: both live through the call.
    if unsafe { for_faults(&new, &mut old, next) } == 0 {
        old.sa_sigaction
    } else {
        libc::SIG_ERR
    }
}

/// glibc's second name of [`sigaction`].
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sigaction(
    signal: c_int,
    action: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { sigaction(signal, action, old) }
}

/// A function of the family of `signal`.
macro_rules! signal_like {
    ($($name:ident: $flags:expr),*) => { $(
        #[doc = concat!("`", stringify!($name), "`: never installs a handler for the stop signal.")]
        ///
        /// # Safety
        /// As for the function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(signal: c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
            // SAFETY: the type is that of the function; the bytes end in the only NUL.
            static NEXT: Next<Signal> = unsafe {
                Next::new(core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()))
            };
            if signal == stop_signal() {
                FLAGS.store(0, Ordering::Relaxed);
                return HANDLER.swap(handler, Ordering::Relaxed);
            }
            if signal == libc::SIGSEGV && in_kernel::is_needed() {
                return signal_for_faults(handler, $flags);
            }
            let Some(next) = NEXT.get() else {
                missing();
                return libc::SIG_ERR;
            };
            // SAFETY: the caller's arguments.
            unsafe { next(signal, handler) }
        }
    )* };
}

signal_like!(
    signal: libc::SA_RESTART,
    bsd_signal: libc::SA_RESTART,
    ssignal: libc::SA_RESTART,
    sysv_signal: libc::SA_RESETHAND | libc::SA_NODEFER,
    __sysv_signal: libc::SA_RESETHAND | libc::SA_NODEFER,
    sigset: 0
);

/// A function that changes how one signal is treated.
macro_rules! on_signal {
    ($($name:ident),*) => { $(
        #[doc = concat!("`", stringify!($name), "`: does nothing to the stop signal.")]
        ///
        /// # Safety
        /// As for the function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(signal: c_int) -> c_int {
            // SAFETY: the type is that of the function; the bytes end in the only NUL.
            static NEXT: Next<OnSignal> = unsafe {
                Next::new(core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()))
            };
            if signal == stop_signal() {
                return 0;
            }
            // SAFETY: the caller's argument.
            NEXT.get().map_or_else(missing, |next| unsafe { next(signal) })
        }
    )* };
}

on_signal!(sighold, sigignore);
