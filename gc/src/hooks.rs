//! What a library that embeds the collector is asked and told in the course of a collection.

use crate::world::StoppedWorld;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize};
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

/// A step of a collection. A collection beside the program stops the world twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A collection begins; the world runs.
    Begin,
    /// The world is about to be stopped.
    BeforeStop,
    /// It is stopped.
    Stopped,
    /// Marking begins.
    MarkBegin,
    /// Marking is done.
    MarkEnd,
    /// The world is about to go on.
    BeforeResume,
    /// It goes on.
    Resumed,
    /// Sweeping begins.
    SweepBegin,
    /// As much is swept as is swept at once.
    SweepEnd,
    /// The collection is over.
    End,
}

/// The functions. They run on the collecting thread and must not allocate from the heap; with the world stopped they must not
/// wait for locks that others hold.
pub struct Hooks {
    /// Whether a collection may begin; true for one that the program asks for. No lock is held.
    pub may_collect: fn(bool) -> bool,
    /// A step was reached; with the world, if it is stopped.
    pub event: fn(Event, Option<&StoppedWorld>),
    /// The world is stopped: more roots, for [`push`].
    pub roots: fn(),
    /// The heap has got more memory; its size. Called by an allocating thread.
    pub resized: fn(usize),
}

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(ptr::null_mut());
static GROWN: AtomicBool = AtomicBool::new(false);

/// Installs the functions.
pub fn set(hooks: &'static Hooks) {
    HOOKS.store(ptr::from_ref(hooks).cast_mut(), Release);
}

#[inline]
fn get() -> Option<&'static Hooks> {
    // SAFETY: null or a reference stored by `set`.
    unsafe { HOOKS.load(Acquire).as_ref() }
}

pub(crate) fn may_collect(explicit: bool) -> bool {
    get().is_none_or(|h| (h.may_collect)(explicit))
}

pub(crate) fn event(e: Event, world: Option<&StoppedWorld>) {
    if let Some(h) = get() {
        (h.event)(e, world);
    }
}

/// Memory was added to the heap. In a critical section: told later.
#[inline]
pub(crate) fn grown() {
    GROWN.store(true, Relaxed);
}

/// Tells of growth, outside critical sections.
#[inline]
pub(crate) fn tell_growth() {
    if GROWN.load(Relaxed)
        && GROWN.swap(false, Relaxed)
        && let Some(h) = get()
    {
        (h.resized)(crate::heap::figures::now().heap);
    }
}

/// Takes ranges of roots: `sink(lo, hi, eager)`; eager ones are read at once.
type Sink<'a> = dyn FnMut(usize, usize, bool) + 'a;

struct Current(UnsafeCell<Option<*mut Sink<'static>>>);
// SAFETY: used by the collecting thread only, see `is_open`.
unsafe impl Sync for Current {}

static CURRENT: Current = Current(UnsafeCell::new(None));
/// Thread id of the thread in whose `roots` hook ranges are taken; 0: none.
static OPEN_FOR: AtomicUsize = AtomicUsize::new(0);

/// The world is stopped: collects the roots that the hook pushes.
pub(crate) fn roots(sink: &mut Sink<'_>) {
    let Some(h) = get() else {
        return;
    };
    // SAFETY: only the lifetime changes: the pointer is taken back before this function returns. Nobody else uses the cell:
    // one collection at a time, and `push` asks for the thread.
    unsafe {
        let sink = core::mem::transmute::<*mut Sink<'_>, *mut Sink<'static>>(ptr::from_mut(sink));
        *CURRENT.0.get() = Some(sink);
    }
    OPEN_FOR.store(crate::sys::raw::gettid() as usize, Release);
    (h.roots)();
    OPEN_FOR.store(0, Release);
    // SAFETY: as above.
    unsafe { *CURRENT.0.get() = None };
}

/// From the `roots` hook: `[lo, hi)` holds roots; with `eager` it is read before this returns, otherwise before the world goes on.
/// False, and nothing happens, when called from elsewhere.
pub fn push(lo: usize, hi: usize, eager: bool) -> bool {
    if OPEN_FOR.load(Acquire) != crate::sys::raw::gettid() as usize {
        return false;
    }
    let (lo, hi) = ((lo + 7) & !7, hi & !7);
    // SAFETY: this is the thread in the hook, so the cell holds the sink of the `roots` call further up this stack, which does
    // not use it meanwhile.
    let sink = unsafe { *CURRENT.0.get() };
    if lo < hi
        && let Some(sink) = sink
    {
        // SAFETY: as above.
        unsafe { (*sink)(lo, hi, eager) };
    }
    true
}
