//! Reports on a signal: the handler wakes a thread of this library, which reports.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::{signals, threads};
use gc::config;
use gc::message;

/// Reports asked for and not made; a futex word.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Installs the handler of DUNEGC_LEAKS_SIGNAL and starts the thread.
pub fn install() {
    let Some(signal) = config::get().leaks.signal else {
        return;
    };
    if !super::is_on() {
        return;
    }
    // SAFETY: an action is plain data; all zero is the default one.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler only makes system calls and touches an atomic.
    if unsafe { signals::sigaction(signal, &action, ptr::null_mut()) } != 0
        || !threads::spawn_detached(body)
    {
        message!(
            "DUNEGC_LEAKS_SIGNAL={signal}: cannot be set up (signal refused, or thread limit); reports come at exit only"
        );
    }
}

/// The thread is gone in a fork child.
pub fn after_fork_in_child() {
    if super::is_on() && config::get().leaks.signal.is_some() && !threads::spawn_detached(body) {
        message!(
            "DUNEGC_LEAKS_SIGNAL: no thread can be created in this process; reports come at exit only"
        );
    }
}

extern "C" fn handler(_signal: c_int) {
    ASKED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: FUTEX_WAKE does not touch the word.
    crate::errno::preserve(|| unsafe {
        libc::syscall(
            libc::SYS_futex,
            ASKED.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    });
}

extern "C" fn body(_: *mut c_void) -> *mut c_void {
    loop {
        if ASKED.swap(0, Ordering::Relaxed) != 0 {
            super::report();
            continue;
        }
        // SAFETY: FUTEX_WAIT only reads the word, a static; no timeout is passed.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                ASKED.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                ptr::null::<libc::timespec>(),
            )
        };
    }
}
