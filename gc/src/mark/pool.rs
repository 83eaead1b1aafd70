//! Helper threads: they mark while a phase is under way and sweep afterwards. Started with the first collection, stopped
//! by nothing; in a fork child they start anew.

use super::shared::{MAX_MARKERS, shared};
use super::{errand, place};
use crate::config;
use crate::heap::{populate, runs, sweep};
use crate::sys::lock::{futex_wait, futex_wait_for, futex_wake};
use crate::sys::raw::gettid;
use crate::trace::{self, Event};
use crate::world;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Live bytes per marker below which waking another one costs more than it gives.
const PER_MARKER: usize = 1 << 20;

static STARTED: AtomicUsize = AtomicUsize::new(0);
static READY: AtomicU32 = AtomicU32::new(0);
static WORK: AtomicU32 = AtomicU32::new(0);
/// Helpers sweep when they have marked.
static SWEEPS: AtomicBool = AtomicBool::new(true);

/// Number of markers for a heap with `live` reachable bytes.
pub fn markers(live: usize) -> usize {
    let c = config::get();
    if !c.background {
        return 1;
    }
    let most = c
        .markers
        .map_or_else(place::processors, usize::from)
        .min(MAX_MARKERS);
    most.min(1 + live / PER_MARKER)
}

/// Starts helpers up to `n`, world running, outside critical sections. Fewer if the system refuses threads.
pub fn ensure_started(n: usize) {
    while STARTED.load(Relaxed) < n.min(MAX_MARKERS - 1) {
        let id = STARTED.load(Relaxed) + 1;
        if !spawn(run, id) {
            return;
        }
        // Not before it is exempt: a stop would otherwise take it for a thread of the program that blocks the signal.
        while READY.load(Acquire) < id as u32 {
            futex_wait(&READY, id as u32 - 1);
        }
        STARTED.store(id, Relaxed);
    }
}

/// How many helpers there are.
pub fn helpers() -> usize {
    STARTED.load(Relaxed)
}

/// How many markers work while the program runs.
pub fn beside() -> usize {
    let c = config::get();
    c.markers
        .map_or_else(|| place::processors() - 1, usize::from)
        .clamp(1, MAX_MARKERS)
}

/// Starts a thread of the collector. False if the system refuses.
pub fn spawn(routine: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void, id: usize) -> bool {
    // The helper inherits a mask with every signal blocked: the program's signals go to the program's threads.
    // SAFETY: the sets and the attribute live across the calls that use them; the routine has the right type.
    unsafe {
        let mut all: libc::sigset_t = core::mem::zeroed();
        let mut old: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        let mut attr: libc::pthread_attr_t = core::mem::zeroed();
        libc::pthread_attr_init(&mut attr);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(&mut attr, 256 << 10);
        let mut t: libc::pthread_t = core::mem::zeroed();
        let ok = libc::pthread_create(&mut t, &attr, routine, ptr::without_provenance_mut(id)) == 0;
        libc::pthread_attr_destroy(&mut attr);
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, ptr::null_mut());
        ok
    }
}

extern "C" fn run(id: *mut libc::c_void) -> *mut libc::c_void {
    world::exempt_self();
    place::HELPERS.enter(id.addr(), gettid());
    READY.fetch_add(1, Release);
    futex_wake(&READY, 1);
    let id = id.addr();
    // SAFETY: the name is NUL-terminated and short enough.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"dunegc".as_ptr()) };
    let mut seen = 0;
    loop {
        let now = WORK.load(Acquire);
        if now == seen {
            futex_wait_for(&WORK, seen, 50_000_000);
            if WORK.load(Acquire) == seen {
                while sweep::step() {}
                runs::tick();
            }
            continue;
        }
        seen = now;
        errand::help();
        populate::help();
        shared().help(id);
        if SWEEPS.load(Relaxed) && sweep::step() {
            let _sweep = trace::span(Event::Sweep);
            while sweep::step() {}
        }
    }
}

/// A mark phase or an errand has begun, and the calling thread leads it.
pub fn wake() {
    place::HELPERS.keep_off_here();
    ask();
}

/// A sweep has begun. With `idle` a processor has nothing to do but that: else the program's threads, which need what is swept, do it
/// as they go on, and the helpers only what is left some time later.
pub fn sweep(idle: bool) {
    SWEEPS.store(idle, Relaxed);
    populate::set_helped(idle && STARTED.load(Relaxed) > 0);
    if idle {
        ask();
    }
}

/// A helper is to look what there is to do.
pub fn ask_one() {
    place::HELPERS.keep_off_here();
    WORK.fetch_add(1, Release);
    futex_wake(&WORK, 1);
}

fn ask() {
    if STARTED.load(Relaxed) > 0 {
        WORK.fetch_add(1, Release);
        futex_wake(&WORK, i32::MAX);
    }
}

/// In a fork child: the helpers are gone.
pub fn after_fork_child() {
    STARTED.store(0, Relaxed);
    READY.store(0, Relaxed);
    place::HELPERS.after_fork_child();
    populate::after_fork_child();
    errand::after_fork_child();
}
