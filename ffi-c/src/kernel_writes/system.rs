//! Clocks, limits and other figures of the system.

use core::ffi::{c_int, c_long, c_uint, c_void};
use libc::{clockid_t, pid_t, size_t, ssize_t};

use super::{missing, with};
use crate::next::Next;

super::writes! {
    getentropy(to: *mut c_void, size: size_t) -> c_int, [to];
    clock_gettime(clock: clockid_t, to: *mut c_void) -> c_int, [to];
    clock_getres(clock: clockid_t, to: *mut c_void) -> c_int, [to];
    gettimeofday(to: *mut c_void, zone: *mut c_void) -> c_int, [to, zone];
    getitimer(which: c_int, to: *mut c_void) -> c_int, [to];
    setitimer(which: c_int, new: *const c_void, old: *mut c_void) -> c_int, [old];
    timerfd_gettime(fd: c_int, to: *mut c_void) -> c_int, [to];
    timerfd_settime(fd: c_int, flags: c_int, new: *const c_void, old: *mut c_void) -> c_int, [old];
    getrlimit(which: c_int, to: *mut c_void) -> c_int, [to];
    getrlimit64(which: c_int, to: *mut c_void) -> c_int, [to];
    prlimit(pid: pid_t, which: c_int, new: *const c_void, old: *mut c_void) -> c_int, [old];
    prlimit64(pid: pid_t, which: c_int, new: *const c_void, old: *mut c_void) -> c_int, [old];
    getrusage(who: c_int, to: *mut c_void) -> c_int, [to];
    uname(to: *mut c_void) -> c_int, [to];
    sysinfo(to: *mut c_void) -> c_int, [to];
    sched_getparam(pid: pid_t, to: *mut c_void) -> c_int, [to];
    times(to: *mut c_void) -> c_long, [to];
    getresuid(real: *mut c_uint, effective: *mut c_uint, saved: *mut c_uint) -> c_int, [real, effective, saved];
    getresgid(real: *mut c_uint, effective: *mut c_uint, saved: *mut c_uint) -> c_int, [real, effective, saved];
    getgroups(count: c_int, to: *mut c_void) -> c_int, [to];
    mincore(start: *mut c_void, size: size_t, to: *mut c_void) -> c_int, [to];
    sigpending(to: *mut c_void) -> c_int, [to];
    sigaltstack(new: *const c_void, old: *mut c_void) -> c_int, [old];
}

// SAFETY: the type is that of the function.
static NEXT_GETRANDOM: Next<unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t> =
    unsafe { Next::new(c"getrandom") };

/// `getrandom`. Not as the others, because std refers to it weakly.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(to: *mut c_void, size: size_t, flags: c_uint) -> ssize_t {
    let Some(next) = NEXT_GETRANDOM.get() else {
        return missing() as _;
    };
    // SAFETY: the caller's arguments.
    with(&[to as usize], || unsafe { next(to, size, flags) })
}
