//! What programs are told in the course of a collection.

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::params::GC_get_parallel;
use crate::vars::{GC_dont_gc, GC_gc_no, GC_on_heap_resize, GC_parallel};
use crate::{debug, mark};
use dunegc::hooks::{self, Event, Hooks};
use dunegc::stats;
use dunegc::world::StoppedWorld;

type OnCollection = unsafe extern "C" fn(c_int);
type OnThread = unsafe extern "C" fn(c_int, *mut c_void);
type OnResize = unsafe extern "C" fn(usize);
type OnStart = unsafe extern "C" fn();

/// `GC_EventType`.
const THREAD_SUSPENDED: c_int = 10;
const THREAD_UNSUSPENDED: c_int = 11;

static COLLECTION: AtomicUsize = AtomicUsize::new(0);
static THREAD: AtomicUsize = AtomicUsize::new(0);
static START: AtomicUsize = AtomicUsize::new(0);

static HOOKS: Hooks = Hooks {
    may_collect,
    event,
    roots: mark::push_roots,
    resized,
};

/// Has the collector ask and tell.
pub fn start() {
    hooks::set(&HOOKS);
}

fn may_collect(explicit: bool) -> bool {
    let may = GC_dont_gc.load(Relaxed) == 0 && crate::collect::is_wanted(explicit);
    if may {
        crate::roots::prepare();
        crate::heap::hold_size();
        crate::dump::look_for_leaks();
    }
    may
}

fn resized(size: usize) {
    if let Some(f) = GC_get_on_heap_resize() {
        // SAFETY: the program's function, called as it asked.
        unsafe { f(size) };
    }
}

fn event(e: Event, world: Option<&StoppedWorld>) {
    if e == Event::Begin {
        GC_gc_no.store(stats::collections() as usize + 1, Relaxed);
        if let Some(f) = GC_get_start_callback() {
            // SAFETY: the program's function, called as it asked.
            unsafe { f() };
        }
    }
    let threads = |what: c_int| {
        let Some((f, w)) = GC_get_on_thread_event().zip(world) else {
            return;
        };
        for t in w.threads().iter().filter(|t| !t.is_caller) {
            // SAFETY: the program's function, called as it asked. pthread_t is the thread pointer.
            unsafe { f(what, t.fs_base as *mut c_void) };
        }
    };
    if e == Event::Stopped {
        threads(THREAD_SUSPENDED);
        if debug::is_used() {
            debug::check_all();
        }
    }
    if let Some(f) = GC_get_on_collection_event() {
        let number = match e {
            Event::Begin => 0,
            Event::MarkBegin => 1,
            Event::MarkEnd => 2,
            Event::SweepBegin => 3,
            Event::SweepEnd => 4,
            Event::End => 5,
            Event::BeforeStop => 6,
            Event::Stopped => 7,
            Event::BeforeResume => 8,
            Event::Resumed => 9,
        };
        // SAFETY: the program's function, called as it asked.
        unsafe { f(number) };
    }
    if e == Event::End {
        GC_parallel.store(GC_get_parallel(), Relaxed);
    }
    if e == Event::End && crate::env::dumps_regularly() {
        crate::dump::GC_dump();
    }
    if e == Event::End && crate::env::prints_address_map() {
        crate::dump::address_map();
    }
    if e == Event::BeforeResume {
        threads(THREAD_UNSUSPENDED);
    }
}

macro_rules! callbacks {
    ($($cell:ident $type:ty: $(#[$doc:meta])* $set:ident $get:ident;)*) => { $(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $set(f: Option<$type>) {
            $cell.store(f.map_or(0, |f| f as usize), Relaxed);
        }

        #[doc = concat!("What [`", stringify!($set), "`] set.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $get() -> Option<$type> {
            // SAFETY: null or a function of this type, stored above or, where it is a variable, by the program.
            unsafe { transmute::<usize, Option<$type>>($cell.load(Relaxed)) }
        }
    )* };
}

callbacks! {
    COLLECTION OnCollection:
        /// The function that is told of the steps of a collection, on the collecting thread.
        GC_set_on_collection_event GC_get_on_collection_event;
    THREAD OnThread:
        /// The function that is told of threads that are stopped and go on, with the world stopped.
        GC_set_on_thread_event GC_get_on_thread_event;
    START OnStart:
        /// The function called at the start of each collection.
        GC_set_start_callback GC_get_start_callback;
    GC_on_heap_resize OnResize:
        /// The function that is told the heap's size after it has grown.
        GC_set_on_heap_resize GC_get_on_heap_resize;
}
