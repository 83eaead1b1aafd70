//! Single threads that the program suspends and resumes.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use crate::{startup, warn};
use dunegc::config;

const RUNNING: u32 = 0;
const ASKED: u32 = 1;
const SUSPENDED: u32 = 2;

/// A thread and its state, a futex word.
struct Entry {
    thread: AtomicUsize,
    state: AtomicU32,
}

static ENTRIES: [Entry; 256] = [const {
    Entry {
        thread: AtomicUsize::new(0),
        state: AtomicU32::new(RUNNING),
    }
}; 256];
/// The signal that is sent; 0: not chosen yet.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

fn entry(thread: usize) -> Option<&'static Entry> {
    ENTRIES
        .iter()
        .find(|e| e.thread.load(Ordering::Acquire) == thread)
}

fn futex(word: &AtomicU32, operation: c_int, value: u32) {
    // SAFETY: the word is a static; no timeout is passed.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            ptr::null::<libc::timespec>(),
        )
    };
}

/// Waits until the thread is resumed. A collection stops and scans it meanwhile like any other.
extern "C" fn on_signal(_: c_int) {
    // SAFETY: the cell of this thread; pthread_self has no preconditions.
    let (errno, me) = unsafe { (*libc::__errno_location(), libc::pthread_self() as usize) };
    if let Some(e) = entry(me)
        && e.state
            .compare_exchange(ASKED, SUSPENDED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    {
        futex(&e.state, libc::FUTEX_WAKE, i32::MAX as u32);
        while e.state.load(Ordering::Acquire) == SUSPENDED {
            futex(&e.state, libc::FUTEX_WAIT, SUSPENDED);
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// The first real-time signal below the collector's own that nobody handles.
fn signal() -> c_int {
    let known = SIGNAL.load(Ordering::Acquire);
    if known != 0 {
        return known;
    }
    for s in (libc::SIGRTMIN() + 1..config::get().stop_signal()).rev() {
        // SAFETY: both actions are valid places; the handler is async-signal-safe.
        unsafe {
            let mut old = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            if libc::sigaction(s, ptr::null(), &mut old) != 0 || old.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            let mut new = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            new.sa_sigaction = on_signal as *const () as usize;
            new.sa_flags = libc::SA_RESTART;
            if libc::sigaction(s, &new, ptr::null_mut()) == 0 {
                SIGNAL.store(s, Ordering::Release);
                return s;
            }
        }
    }
    warn::abort(c"GC_suspend_thread: no real-time signal is free")
}

/// Suspends a thread until [`GC_resume_thread`]; returns when it is. Nothing happens if it is suspended, or has ended.
#[unsafe(no_mangle)]
pub extern "C" fn GC_suspend_thread(thread: libc::pthread_t) {
    startup::first_use();
    let signal = signal();
    let e = entry(thread as usize).or_else(|| {
        ENTRIES.iter().find(|e| {
            e.thread
                .compare_exchange(0, thread as usize, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    });
    let Some(e) = e else {
        warn::abort(c"GC_suspend_thread: too many suspended threads");
    };
    if e.state
        .compare_exchange(RUNNING, ASKED, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    // SAFETY: the caller says that the thread exists; one that has ended is answered with ESRCH.
    if unsafe { libc::pthread_kill(thread, signal) } != 0 {
        e.state.store(RUNNING, Ordering::Release);
        e.thread.store(0, Ordering::Release);
        return;
    }
    while e.state.load(Ordering::Acquire) == ASKED {
        futex(&e.state, libc::FUTEX_WAIT, ASKED);
    }
}

/// Lets a suspended thread go on.
#[unsafe(no_mangle)]
pub extern "C" fn GC_resume_thread(thread: libc::pthread_t) {
    if let Some(e) = entry(thread as usize) {
        e.state.store(RUNNING, Ordering::Release);
        futex(&e.state, libc::FUTEX_WAKE, i32::MAX as u32);
        e.thread.store(0, Ordering::Release);
    }
}

/// 1 while a thread is suspended.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_thread_suspended(thread: libc::pthread_t) -> c_int {
    entry(thread as usize)
        .is_some_and(|e| e.state.load(Ordering::Acquire) != RUNNING)
        .into()
}
