//! Finalizers.
//!
//! Finalization is ordered, as in Boehm, "Destructors, Finalizers, and Synchronization" (POPL 2003): of the unreachable
//! objects with finalizers, those come first that no other of them reaches; the rest waits for a later cycle. Cycles among
//! them are never finalised. [`Order`] names the exceptions. Links are cleared before any finalizer can see the object again.

use crate::heap::block::REACHED;
use crate::heap::{critical, find};
use crate::kind::Kind;
use crate::mark::marker::{Marker, Tally};
use crate::mark::rescan;
use crate::mark::shared::Shared;
use crate::raw::{Finalizer, Order};
use crate::sys::lock::{Lock, futex_wake};
use crate::sys::map::WordMap;
use crate::sys::raw::gettid;
use crate::sys::scratch::ScratchVec;
use crate::world::is_exempt;
use crate::{cycle, disclaim, links, toggle};
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::Release,
};

/// An object whose finalizer is due.
#[derive(Clone, Copy)]
struct Due {
    object: usize,
    /// With its order, as in the table.
    finalizer: usize,
    data: usize,
}

impl Due {
    /// The object as the program registered it.
    fn tagged(&self) -> usize {
        self.object + (self.finalizer >> TAG & MAX_TAG)
    }
}

pub(crate) struct Tables {
    /// Object to (finalizer, data).
    finalizers: WordMap<2>,
    due: ScratchVec<Due>,
    first_due: usize,
    work: ScratchVec<usize>,
}

static TABLES: Lock<Tables> = Lock::new(Tables {
    finalizers: WordMap::new(),
    due: ScratchVec::new(),
    first_due: 0,
    work: ScratchVec::new(),
});
/// Not 0 once a finalizer was set.
static USED: AtomicU32 = AtomicU32::new(0);
static PENDING: AtomicU32 = AtomicU32::new(0);
static HOOK: AtomicUsize = AtomicUsize::new(0);
static AWAITED: AtomicUsize = AtomicUsize::new(0);
static ALWAYS_ORDERED: AtomicBool = AtomicBool::new(false);

/// Number of due finalizers; a futex word that is woken when a collection found some.
pub fn pending() -> &'static AtomicU32 {
    &PENDING
}

/// Has `f` called on the collecting thread after each collection that left finalizers due, the world running.
pub fn set_hook(f: Option<fn()>) {
    HOOK.store(f.map_or(0, |f| f as usize), Release);
}

/// Has `f` called with the world stopped for each object whose finalizer becomes due.
pub fn set_await_hook(f: Option<fn(usize)>) {
    AWAITED.store(f.map_or(0, |f| f as usize), Release);
}

/// Treats [`Order::Unordered`] and [`Order::LastOfAll`] as [`Order::AfterReferrers`].
pub fn always_ordered(on: bool) {
    ALWAYS_ORDERED.store(on, Relaxed);
}

/// Where the order lies in the stored address of a finalizer. No function lies that high.
const ORDER: u32 = 62;
/// Where the distance lies by which the program's pointer is behind the object's start.
const TAG: u32 = 48;
/// Largest such distance.
const MAX_TAG: usize = 15;

fn order(stored: usize) -> Order {
    match stored >> ORDER {
        0 => Order::AfterReferrersButSelf,
        1 => Order::AfterReferrers,
        _ if ALWAYS_ORDERED.load(Relaxed) => Order::AfterReferrers,
        2 => Order::Unordered,
        _ => Order::LastOfAll,
    }
}

fn function(stored: usize) -> Finalizer {
    // SAFETY: the table holds only what `set` stored from a Finalizer, with order and tag above.
    unsafe { core::mem::transmute::<usize, Finalizer>(stored & ((1 << TAG) - 1)) }
}

/// See `crate::raw::set_ordered_finalizer`.
#[allow(clippy::result_unit_err)]
pub fn set(
    object: usize,
    f: Option<(Finalizer, *mut u8)>,
    order: Order,
    tagged: bool,
) -> Result<Option<(Finalizer, *mut u8)>, ()> {
    critical::with(|| {
        let o = find::object(object).ok_or(())?;
        let tag = object - o.base;
        if tag != 0 && (!tagged || tag > MAX_TAG) {
            return Err(());
        }
        let object = o.base;
        let explicit = matches!(o.kind, Kind::Uncollectable | Kind::AtomicUncollectable);
        let may = crate::heap::is_collected(o.kind) || explicit && tagged;
        if !may {
            return Err(());
        }
        let mut t = TABLES.lock();
        let old = match f {
            Some((f, data)) => {
                USED.store(1, Relaxed);
                let old = t.finalizers.get(object);
                let order = match order {
                    Order::AfterReferrersButSelf => 0,
                    Order::AfterReferrers => 1,
                    Order::Unordered => 2,
                    Order::LastOfAll => 3,
                };
                let stored = f as usize | order << ORDER | tag << TAG;
                if !t.finalizers.insert(object, [stored, data as usize]) {
                    return Err(());
                }
                old
            }
            None => t.finalizers.remove(object),
        };
        Ok(old.map(|[f, data]| (function(f), data as *mut u8)))
    })
}

/// Some finalizer was set, ever.
#[inline(always)]
pub fn is_used() -> bool {
    USED.load(Relaxed) != 0
}

/// An object is freed explicitly: it has no finalizer any more. In a critical section.
#[inline]
pub fn forget(object: usize) {
    if USED.load(Relaxed) != 0 {
        TABLES.lock().finalizers.remove(object);
    }
}

/// Runs what is due on the calling thread; the number that ran.
pub fn run() -> usize {
    let mut n = 0;
    while let Some((f, object, data)) = next_due() {
        // SAFETY: the finalizer was registered for this object, which stays reachable from this frame.
        unsafe { f(object, data) };
        n += 1;
    }
    n
}

/// Makes every finalizer due, whether its object is reachable or not. False without memory for some.
pub fn make_all_due() -> bool {
    critical::with(|| {
        let mut t = TABLES.lock();
        let t = &mut *t;
        let (finalizers, due) = (&mut t.finalizers, &mut t.due);
        let mut ok = true;
        finalizers.for_each(|object, [finalizer, data]| {
            ok &= due
                .push(Due {
                    object,
                    finalizer,
                    data,
                })
                .is_ok();
        });
        for i in t.first_due..t.due.len() {
            t.finalizers.remove(t.due[i].object);
        }
        PENDING.store((t.due.len() - t.first_due) as u32, Relaxed);
        ok
    })
}

/// Number of objects with a finalizer that is not due.
pub fn registered() -> usize {
    critical::with(|| TABLES.lock().finalizers.len())
}

/// Takes the next due finalizer out, for a caller that calls it: with the object and the data.
pub fn next_due() -> Option<(Finalizer, *mut u8, *mut u8)> {
    let d = critical::with(take)?;
    Some((
        function(d.finalizer),
        d.tagged() as *mut u8,
        d.data as *mut u8,
    ))
}

fn take() -> Option<Due> {
    let mut t = TABLES.lock();
    let d = t.due.get(t.first_due).copied()?;
    t.first_due += 1;
    if t.first_due == t.due.len() {
        t.due.clear();
        t.first_due = 0;
    }
    PENDING.store((t.due.len() - t.first_due) as u32, Relaxed);
    Some(d)
}

/// What a collection found is to be announced on a thread of the program.
static LATER: AtomicBool = AtomicBool::new(false);

/// A thread of the program has something to announce.
#[inline]
pub fn is_announcement_due() -> bool {
    LATER.load(Relaxed)
}

/// On the collector's own thread: has [`announce`] called on the next thread of the program that comes by, and says so. The collector's thread goes on
/// while the world is stopped, and its stack is no root: functions of the program that use objects cannot run there.
pub fn put_off_announcement() -> bool {
    let own = is_exempt(gettid());
    if own {
        LATER.store(true, Relaxed);
    }
    own
}

/// After a collection, with the world running: tells whoever runs finalizers.
pub fn announce() {
    LATER.store(false, Relaxed);
    if disclaim::is_due() && !put_off_announcement() {
        disclaim::run();
    }
    if PENDING.load(Relaxed) == 0 {
        return;
    }
    futex_wake(&PENDING, i32::MAX);
    let hook = HOOK.load(Relaxed);
    if hook != 0 {
        // SAFETY: `set_hook` stores only functions of this type.
        unsafe { core::mem::transmute::<usize, fn()>(hook)() };
    }
}

/// The world is stopped: words that finalizers keep alive (their data, and objects that are due).
pub fn each_root(f: &mut dyn FnMut(usize)) {
    let mut t = TABLES.lock();
    t.finalizers.for_each(|_, [_, data]| f(data));
    for d in &t.due[t.first_due..] {
        f(d.object);
        f(d.data);
    }
    drop(t);
    toggle::each_strong(f);
    disclaim::each_root(f);
}

/// The object around `addr` is marked, or nothing that a collection ends.
pub(crate) fn is_marked(addr: usize) -> bool {
    let Some(s) = find::slot(addr) else {
        return true;
    };
    if !crate::heap::is_collected(s.info.kind()) {
        return true;
    }
    s.block.mark(s.index).load(Relaxed) != 0
}

/// The program looks at marks: they stay after collections.
static MARKS_WANTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn are_marks_wanted() -> bool {
    MARKS_WANTED.load(Relaxed)
}

/// The object around `addr` was reached by the collection under way, or by the last one. Marks are kept for this from the first call on:
/// before, every object counts as reached by the last one.
pub fn mark_of(addr: usize) -> bool {
    let known = want_marks();
    find::object(addr).is_some() && (!known || is_marked(addr))
}

/// True if marks are kept.
fn want_marks() -> bool {
    MARKS_WANTED.swap(true, Relaxed) || cycle::is_collecting()
}

/// Sets or takes away the mark of the object around `addr`. In a collection, or where none can begin.
pub fn set_mark(addr: usize, marked: bool) {
    want_marks();
    if !cycle::is_collecting() {
        // The sweep of the last collection must not take it for dead.
        critical::with(crate::heap::sweep::finish);
        critical::with(|| crate::heap::sweep::finish_own(crate::heap::alloc::current()));
    }
    if let Some(s) = find::slot(addr)
        && crate::heap::is_collected(s.info.kind())
    {
        let mark = if marked { REACHED } else { 0 };
        s.block.mark(s.index).store(mark, Relaxed);
    }
}

/// The world is stopped and everything reachable is marked: clears links to what is not, and finds the due finalizers and
/// what else the program wants to know of before it is gone. `None` without memory.
pub fn after_mark(shared: &Shared, tally: &mut Tally) -> Option<()> {
    let mut links = links::lock();
    links.clear_short()?;
    find_due(shared, tally)?;
    links.clear_long()?;
    links.drop_dead()?;
    toggle::drop_dead();
    disclaim::after_mark(shared, tally)
}

fn find_due(shared: &Shared, tally: &mut Tally) -> Option<()> {
    let mut t = TABLES.lock();
    let t = &mut *t;
    if t.finalizers.is_empty() && t.first_due == t.due.len() {
        return Some(());
    }
    t.work.clear();
    let (finalizers, work) = (&mut t.finalizers, &mut t.work);
    let mut ok = true;
    finalizers.for_each(|object, _| {
        if !is_marked(object) {
            ok &= work.push(object).is_ok();
        }
    });
    if !ok {
        return None;
    }
    let mut m = Marker::new(shared, 0, true)?;
    keep_what_they_reach(t, &mut m)?;
    rescan::complete(shared, tally)?;
    let new = t.due.len();
    for i in 0..t.work.len() {
        let object = t.work[i];
        if is_marked(object) {
            continue;
        }
        let [finalizer, data] = t.finalizers.get(object)?;
        t.due
            .push(Due {
                object,
                finalizer,
                data,
            })
            .ok()?;
        t.finalizers.remove(object);
    }
    keep_due(t, new, &mut m)?;
    let awaited = AWAITED.load(Relaxed);
    if awaited != 0 {
        for d in &t.due[new..] {
            // SAFETY: `set_await_hook` stores only functions of this type.
            unsafe { core::mem::transmute::<usize, fn(usize)>(awaited)(d.tagged()) };
        }
    }
    m.drain();
    tally.add(&m.take_tally());
    rescan::complete(shared, tally)?;
    PENDING.store((t.due.len() - t.first_due) as u32, Relaxed);
    Some(())
}

/// Marks what the unmarked objects with finalizers refer to, as their order says. An object that points to itself, but is not
/// reached otherwise, stays unmarked if its own pointers do not count.
fn keep_what_they_reach(t: &mut Tables, m: &mut Marker) -> Option<()> {
    for i in 0..t.work.len() {
        let object = t.work[i];
        let s = find::slot(object)?;
        let [stored, _] = t.finalizers.get(object)?;
        match order(stored) {
            Order::Unordered => continue,
            Order::AfterReferrersButSelf if s.info.kind().is_scanned() => {
                m.range_but_self(object, object + s.size);
            }
            Order::AfterReferrersButSelf => {}
            Order::AfterReferrers | Order::LastOfAll => m.object(&s),
        }
        m.drain();
    }
    Some(())
}

/// Marks what is due, from number `new` on newly so. What comes last of all and is reached by another one is not due after all.
fn keep_due(t: &mut Tables, new: usize, m: &mut Marker) -> Option<()> {
    for d in &t.due[t.first_due..] {
        if order(d.finalizer) != Order::LastOfAll {
            m.word(d.object);
            m.drain();
        }
    }
    let mut kept = new;
    for i in new..t.due.len() {
        let d = t.due[i];
        if order(d.finalizer) == Order::LastOfAll && is_marked(d.object) {
            if !t.finalizers.insert(d.object, [d.finalizer, d.data]) {
                return None;
            }
            continue;
        }
        t.due[kept] = d;
        kept += 1;
    }
    t.due.truncate(kept);
    for d in &t.due[t.first_due..] {
        m.word(d.object);
    }
    m.drain();
    Some(())
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Tables> {
    &TABLES
}
