//! Values that the kernel hands back with a signal or a message.

use core::ffi::c_int;

use super::shadow;
use crate::errno;
use crate::next::Next;

type Sigqueue = unsafe extern "C" fn(libc::pid_t, c_int, usize) -> c_int;
type PthreadSigqueue = unsafe extern "C" fn(libc::pthread_t, c_int, usize) -> c_int;
type MqNotify = unsafe extern "C" fn(c_int, *const libc::sigevent) -> c_int;

// SAFETY: the types are those of the functions; a `union sigval` is passed as one word.
static SIGQUEUE: Next<Sigqueue> = unsafe { Next::new(c"sigqueue") };
// SAFETY: as above.
static PTHREAD_SIGQUEUE: Next<PthreadSigqueue> = unsafe { Next::new(c"pthread_sigqueue") };
// SAFETY: as above.
static MQ_NOTIFY: Next<MqNotify> = unsafe { Next::new(c"mq_notify") };

fn missing() -> c_int {
    errno::set(libc::ENOSYS);
    -1
}

/// `sigqueue`; a block that the value points to stays.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigqueue(pid: libc::pid_t, signal: c_int, value: usize) -> c_int {
    shadow::note(value);
    // SAFETY: the caller's arguments.
    SIGQUEUE
        .get()
        .map_or_else(missing, |next| unsafe { next(pid, signal, value) })
}

/// `pthread_sigqueue`; a block that the value points to stays.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigqueue(
    thread: libc::pthread_t,
    signal: c_int,
    value: usize,
) -> c_int {
    shadow::note(value);
    // SAFETY: the caller's arguments.
    PTHREAD_SIGQUEUE
        .get()
        .map_or(libc::ENOSYS, |next| unsafe { next(thread, signal, value) })
}

/// # Safety
/// `event` is null or readable.
unsafe fn note_event(event: *const libc::sigevent) {
    // SAFETY: by the contract.
    if let Some(event) = unsafe { event.as_ref() } {
        shadow::note(event.sigev_value.sival_ptr as usize);
    }
}

/// `mq_notify`; a block that the event's value points to stays.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_notify(queue: c_int, event: *const libc::sigevent) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { note_event(event) };
    // SAFETY: the caller's arguments.
    MQ_NOTIFY
        .get()
        .map_or_else(missing, |next| unsafe { next(queue, event) })
}
