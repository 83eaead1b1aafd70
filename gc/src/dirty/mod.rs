//! The dirty source: which pages were written while a collection marked. One contract, several implementations.
//!
//! # Contract
//!
//! *You must:*
//! - call [`arm`] with all ranges before marking, and mark only if it succeeds; without it, marking needs the world stopped;
//! - call [`track`] for memory that is added during the cycle, before anything is stored there that must not be lost;
//! - call [`harvest`] with [`When::Running`] any number of times, and treat what it reports as never scanned;
//! - call the last harvest with the world stopped ([`When::Stopped`]), and [`disarm`] at the end of the cycle;
//! - hold the collection lock in all of these, except that [`track`], [`expect_writes`] and [`kind`] may be called by any thread.
//!   A thread that can be stopped calls [`track`] and [`expect_writes`] in a critical section, so that it does not stand still
//!   with the lock held;
//! - tell [`expect_writes`] nothing or the truth: it is a hint that makes first writes cheaper;
//! - in the sink, call nothing of this module; and read a reported page that is not your own heap's with the world stopped or
//!   with `sys::pagemap::copy`: the program may have unmapped it.
//!
//! *We guarantee:*
//! - a page whose content a program changed after [`arm`] (or after the harvest that last reported it) is reported by a
//!   later harvest, whoever wrote it: a thread, a signal handler, or the kernel on behalf of a system call. What a thread wrote
//!   before [`harvest`] returns is reported by this harvest or the next; with the world stopped, by this one;
//! - when the sink is called for a page, writes that come later make it dirty again. So: report first, read then;
//! - a page that becomes zero because the program gave it back (`MADV_DONTNEED`) is not reported before it is touched;
//! - a mapping that is replaced under tracking is tracked again and reported whole;
//! - pages are reported as ascending, disjoint, page-aligned ranges within each tracked range. Spurious pages are allowed;
//! - a harvest that cannot promise this returns [`Outcome::Everything`]: whatever was scanned since [`arm`] counts as
//!   never scanned. It never loses a page silently;
//! - nothing here allocates from the heap or calls a libc function that locks.
//!
//! *Nobody sees:* writes of another process to shared memory, and writes of a device or of io_uring to memory that was pinned
//! before a harvest (registered buffers). Shared mappings and registered buffers are scanned as roots in full.

mod abi;
mod choose;
mod dune;
mod failure;
mod fork_mark;
pub mod in_kernel;
mod kept;
mod mprotect;
mod pagemap_scan;
mod probe;
mod ranges;
pub mod segv;
mod soft_dirty;
mod tracking;

pub use choose::{Chosen, Kind, available, next_after, open};
pub use dune::{Dune, DuneWp, InGuest, offer, page_tables};
pub use failure::Failure;
pub use mprotect::{Mprotect, announce, open_for_good};
pub use pagemap_scan::{PagemapScan, Reader};
pub use ranges::Range;
pub use soft_dirty::SoftDirty;
pub use tracking::{NoSource, Outcome, Source, Tracking, When};

use crate::config;
use crate::sys::lock::Lock;
use crate::sys::map_query;
use crate::sys::pagemap::{Pagemap, Pages, avoid_scan};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::*};

/// The process' source and what it tracks.
static TRACKING: Lock<Tracking<Chosen>> = Lock::new(Tracking::new(Chosen::Undecided));
/// [`Kind`] in force plus one; 0: not chosen yet.
static KIND: AtomicU8 = AtomicU8::new(0);

/// See [`protections`].
static PROTECTIONS: AtomicU64 = AtomicU64::new(0);
static LAST_PROTECTION: AtomicU64 = AtomicU64::new(0);

/// How often memory has been protected: where it was armed, or a harvest tracked it on, first writes may cost something. 0 where that is not so:
/// before the first time, and from [`all_opened`] until the next.
#[inline(always)]
pub fn protections() -> u64 {
    PROTECTIONS.load(Relaxed)
}

/// Where objects are allocated from here on, [`open_up`] was called.
pub fn all_opened() {
    PROTECTIONS.store(0, Relaxed);
}

/// Memory was protected, or is about to be.
fn protected() {
    PROTECTIONS.store(LAST_PROTECTION.fetch_add(1, Relaxed) + 1, Relaxed);
}

/// Chooses the source by `DUNEGC_DIRTY` if that has not happened. Takes less than a millisecond.
pub fn kind() -> Kind {
    match KIND.load(Acquire) {
        0 => choose(config::get().dirty),
        k => Kind::from_index(k - 1),
    }
}

/// Chooses a source: the wanted one or the next after it that works here. For tests and tools; the collector uses [`kind`].
pub fn choose(wanted: config::Dirty) -> Kind {
    let mut tracking = TRACKING.lock();
    tracking.disarm();
    let source = choose::choose(wanted);
    let kind = source.kind();
    tracking.replace(source);
    KIND.store(kind as u8 + 1, Release);
    kind
}

/// Begins tracking: from its return on, all pages of `ranges` count as clean.
///
/// # Errors
/// No source works (any more): mark with the world stopped.
pub fn arm(ranges: &[Range]) -> Result<(), NoSource> {
    kind();
    let mut tracking = TRACKING.lock();
    loop {
        match tracking.arm(ranges) {
            Ok(()) => {
                protected();
                return Ok(());
            }
            Err(NoSource::Never) => return Err(NoSource::Never),
            Err(NoSource::Failed(failure)) => fall_back(&mut tracking, failure),
        }
    }
}

/// Adds a range while armed. What it holds already counts as clean, so call it before it is filled or scan it yourself.
/// Without effect when nothing is armed.
pub fn track(range: Range) {
    TRACKING.lock().track(range);
}

/// Reports the pages written since they were last reported, or since [`arm`].
pub fn harvest(when: When, sink: &mut dyn FnMut(Range)) -> Outcome {
    let mut tracking = TRACKING.lock();
    let outcome = tracking.harvest(when, sink);
    if when.goes_on() {
        protected();
    }
    if let Some(failure) = tracking.take_failure() {
        // Every harvest until the next cycle reports Everything; that cycle uses another source.
        fall_back(&mut tracking, failure);
    }
    outcome
}

/// For a last harvest by several threads, each with parts of its own of the armed and tracked ranges, which `list` is called with: a walk over clean
/// pages takes 3 ns per page. With the world stopped, from the stop to the resume, instead of [`harvest`] with [`When::Stopped`]. `None`: the
/// source cannot; use [`harvest`], also after an error of any part.
pub fn reader(list: impl FnOnce(&[Range])) -> Option<Reader> {
    let tracking = TRACKING.lock();
    if !tracking.is_armed() {
        return None;
    }
    let reader = tracking.source().reader()?;
    list(tracking.ranges());
    Some(reader)
}

/// Ends tracking. Takes no time: pages may stay protected, and the first write to each then costs about a microsecond, unless
/// [`expect_writes`] comes before.
pub fn disarm() {
    TRACKING.lock().disarm();
}

/// Says that most pages of `range` are about to be written: they count as written from now on, and the writes cost no fault.
/// Any thread, any time. False if nothing was done.
pub fn expect_writes(range: Range) -> bool {
    // A hint: not worth waiting for a harvest.
    match TRACKING.try_lock() {
        Some(tracking) => {
            tracking.source().expect_writes(range);
            true
        }
        None => false,
    }
}

/// As [`expect_writes`], in any case, for the collector.
pub fn open_up(range: Range) {
    TRACKING.lock().source().expect_writes(range);
}

/// The program has installed a seccomp filter since the source was chosen.
static FILTERED: AtomicBool = AtomicBool::new(false);

/// Runs `f`, which may put a seccomp filter in force for any thread. Nothing is asked of the kernel meanwhile, and behind it only what the
/// filter allows. A thread that can be stopped calls this in a critical section.
pub(crate) fn while_filters_change<R>(f: impl FnOnce() -> R) -> R {
    let tracking = TRACKING.lock();
    FILTERED.store(true, Relaxed);
    let r = f();
    drop(tracking);
    r
}

/// Before roots are looked for with [`sys::map_query`](crate::sys::map_query) and [`sys::pagemap`](crate::sys::pagemap): sees to it that no filter
/// kills for that. The first time, where a filter is in force, by trying in a child; from the time on when the program installs one, by avoiding it.
pub(crate) fn beware_of_filters() {
    static TRIED: AtomicBool = AtomicBool::new(false);
    let page = &raw const TRIED as usize & !(crate::sys::mem::PAGE - 1);
    let try_it = || {
        map_query::for_each_writable(|_| false, |_| {})
            .map_err(|e| Failure::Call("PROCMAP_QUERY", e))?;
        let failed = |e| Failure::Call("PAGEMAP_SCAN", e);
        let pagemap = Pagemap::open().map_err(failed)?;
        let end = page + crate::sys::mem::PAGE;
        let scanned = pagemap.runs(page, end, Pages::Mapped, &mut |_, _, _| {});
        scanned.map_err(failed)
    };
    if FILTERED.load(Relaxed)
        || !TRIED.swap(true, Relaxed) && probe::filters() > 0 && probe::in_child(try_it).is_err()
    {
        avoid_scan();
        map_query::avoid();
    }
}

/// The next source after one that failed; one line says so.
fn fall_back(tracking: &mut Tracking<Chosen>, failure: Failure) {
    let old = tracking.source().kind();
    let source = choose::first_working(next_after(old));
    let kind = source.kind();
    crate::message!("dirty source {old} stopped working ({failure}); using {kind} from now on");
    tracking.replace(source);
    KIND.store(kind as u8 + 1, Release);
}

/// Before a fork, with the collection lock and the heap's locks held.
pub(crate) fn before_fork() {
    TRACKING.acquire();
    segv::before_fork();
}

/// After it, in parent and child. A source notices by its fork mark that it is in a child.
///
/// # Safety
/// After [`before_fork`], by the thread that called it or its copy in the child.
pub(crate) unsafe fn after_fork() {
    // SAFETY: by this function's contract the locks are held.
    unsafe {
        segv::after_fork();
        TRACKING.release();
    }
}

/// In the child.
pub(crate) fn after_fork_child() {
    in_kernel::after_fork_child();
}
