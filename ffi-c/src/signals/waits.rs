//! Waiting for signals: the stop signal is nobody's to take.

use core::ffi::c_int;

use super::{Stripped, missing};
use crate::kernel_writes;
use crate::next::Next;

// SAFETY: the type is that of the function.
static NEXT_SIGWAIT: Next<unsafe extern "C" fn(*const libc::sigset_t, *mut c_int) -> c_int> =
    unsafe { Next::new(c"sigwait") };

/// `sigwait`, for other signals than the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigwait(set: *const libc::sigset_t, signal: *mut c_int) -> c_int {
    let Some(next) = NEXT_SIGWAIT.get() else {
        return libc::ENOSYS;
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    unsafe { next(stripped.as_ptr(), signal) }
}

// SAFETY: the type is that of the function.
static NEXT_SIGWAITINFO: Next<
    unsafe extern "C" fn(*const libc::sigset_t, *mut libc::siginfo_t) -> c_int,
> = unsafe { Next::new(c"sigwaitinfo") };

/// `sigwaitinfo`, for other signals than the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigwaitinfo(
    set: *const libc::sigset_t,
    info: *mut libc::siginfo_t,
) -> c_int {
    let Some(next) = NEXT_SIGWAITINFO.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(stripped.as_ptr(), info) };
    kernel_writes::with(&[info as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_SIGTIMEDWAIT: Next<
    unsafe extern "C" fn(
        *const libc::sigset_t,
        *mut libc::siginfo_t,
        *const libc::timespec,
    ) -> c_int,
> = unsafe { Next::new(c"sigtimedwait") };

/// `sigtimedwait`, for other signals than the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigtimedwait(
    set: *const libc::sigset_t,
    info: *mut libc::siginfo_t,
    timeout: *const libc::timespec,
) -> c_int {
    let Some(next) = NEXT_SIGTIMEDWAIT.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(stripped.as_ptr(), info, timeout) };
    kernel_writes::with(&[info as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_SIGNALFD: Next<unsafe extern "C" fn(c_int, *const libc::sigset_t, c_int) -> c_int> =
    unsafe { Next::new(c"signalfd") };

/// `signalfd`, for other signals than the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signalfd(fd: c_int, set: *const libc::sigset_t, flags: c_int) -> c_int {
    let Some(next) = NEXT_SIGNALFD.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    unsafe { next(fd, stripped.as_ptr(), flags) }
}
