//! Setting the signal mask, for good or for the time of a wait.

use core::ffi::{c_int, c_void};

use super::{Stripped, missing};
use crate::kernel_writes;
use crate::next::Next;

// SAFETY: the type is that of the function.
pub(super) static NEXT_PTHREAD_SIGMASK: Next<
    unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int,
> = unsafe { Next::new(c"pthread_sigmask") };

/// `pthread_sigmask`, without the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_PTHREAD_SIGMASK.get() else {
        return libc::ENOSYS;
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(how, stripped.as_ptr(), old) };
    kernel_writes::with(&[old as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_SIGPROCMASK: Next<
    unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int,
> = unsafe { Next::new(c"sigprocmask") };

/// `sigprocmask`, without the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigprocmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_SIGPROCMASK.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(how, stripped.as_ptr(), old) };
    kernel_writes::with(&[old as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_SIGSUSPEND: Next<unsafe extern "C" fn(*const libc::sigset_t) -> c_int> =
    unsafe { Next::new(c"sigsuspend") };

/// `sigsuspend`, which never blocks the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigsuspend(set: *const libc::sigset_t) -> c_int {
    let Some(next) = NEXT_SIGSUSPEND.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    unsafe { next(stripped.as_ptr()) }
}

// SAFETY: the type is that of the function.
static NEXT_PSELECT: Next<
    unsafe extern "C" fn(
        c_int,
        *mut libc::fd_set,
        *mut libc::fd_set,
        *mut libc::fd_set,
        *const libc::timespec,
        *const libc::sigset_t,
    ) -> c_int,
> = unsafe { Next::new(c"pselect") };

/// `pselect`, which never blocks the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pselect(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    timeout: *const libc::timespec,
    set: *const libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_PSELECT.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    let places = [read as usize, write as usize, except as usize];
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(count, read, write, except, timeout, stripped.as_ptr()) };
    kernel_writes::with(&places, call)
}

// SAFETY: the type is that of the function.
static NEXT_PPOLL: Next<
    unsafe extern "C" fn(
        *mut libc::pollfd,
        libc::nfds_t,
        *const libc::timespec,
        *const libc::sigset_t,
    ) -> c_int,
> = unsafe { Next::new(c"ppoll") };

/// `ppoll`, which never blocks the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    set: *const libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_PPOLL.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(fds, count, timeout, stripped.as_ptr()) };
    kernel_writes::with(&[fds as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_PPOLL_CHK: Next<
    unsafe extern "C" fn(
        *mut libc::pollfd,
        libc::nfds_t,
        *const libc::timespec,
        *const libc::sigset_t,
        usize,
    ) -> c_int,
> = unsafe { Next::new(c"__ppoll_chk") };

/// `__ppoll_chk`, `ppoll` in programs built with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __ppoll_chk(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    set: *const libc::sigset_t,
    size: usize,
) -> c_int {
    let Some(next) = NEXT_PPOLL_CHK.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(fds, count, timeout, stripped.as_ptr(), size) };
    kernel_writes::with(&[fds as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_EPOLL_PWAIT: Next<
    unsafe extern "C" fn(
        c_int,
        *mut libc::epoll_event,
        c_int,
        c_int,
        *const libc::sigset_t,
    ) -> c_int,
> = unsafe { Next::new(c"epoll_pwait") };

/// `epoll_pwait`, which never blocks the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: c_int,
    set: *const libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_EPOLL_PWAIT.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(epoll, events, count, timeout, stripped.as_ptr()) };
    kernel_writes::with(&[events as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_EPOLL_PWAIT2: Next<
    unsafe extern "C" fn(
        c_int,
        *mut libc::epoll_event,
        c_int,
        *const libc::timespec,
        *const libc::sigset_t,
    ) -> c_int,
> = unsafe { Next::new(c"epoll_pwait2") };

/// `epoll_pwait2`, which never blocks the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    epoll: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: *const libc::timespec,
    set: *const libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_EPOLL_PWAIT2.get() else {
        return missing();
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    let call = || unsafe { next(epoll, events, count, timeout, stripped.as_ptr()) };
    kernel_writes::with(&[events as usize], call)
}

// SAFETY: the type is that of the function.
static NEXT_PTHREAD_ATTR_SETSIGMASK_NP: Next<
    unsafe extern "C" fn(*mut c_void, *const libc::sigset_t) -> c_int,
> = unsafe { Next::new(c"pthread_attr_setsigmask_np") };

/// `pthread_attr_setsigmask_np`, without the stop signal.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_attr_setsigmask_np(
    attributes: *mut c_void,
    set: *const libc::sigset_t,
) -> c_int {
    let Some(next) = NEXT_PTHREAD_ATTR_SETSIGMASK_NP.get() else {
        return libc::ENOSYS;
    };
    // SAFETY: by the caller's contract.
    let stripped = unsafe { Stripped::new(set) };
    // SAFETY: the caller's arguments, with a set that lives through the call.
    unsafe { next(attributes, stripped.as_ptr()) }
}
