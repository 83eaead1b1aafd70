//! Finalizers and weak links.
//!
//! Finalization is ordered, as in Boehm, "Destructors, Finalizers, and Synchronization" (POPL 2003): of the unreachable
//! objects with finalizers, those come first that no other of them reaches; the rest waits for a later cycle. Cycles among
//! them are never finalised. Links are cleared before any finalizer can see the object again.

use crate::heap::{critical, find};
use crate::mark::marker::{Marker, Tally};
use crate::mark::shared::Shared;
use crate::raw::{Finalizer, MoveLink};
use crate::sys::lock::{Lock, futex_wake};
use crate::sys::map::WordMap;
use crate::sys::scratch::ScratchVec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::Release};

/// An object whose finalizer is due.
#[derive(Clone, Copy)]
struct Due {
    object: usize,
    finalizer: usize,
    data: usize,
}

pub(crate) struct Tables {
    /// Object to (finalizer, data).
    finalizers: WordMap<2>,
    /// Link to object, inverted.
    links: WordMap<1>,
    due: ScratchVec<Due>,
    first_due: usize,
    work: ScratchVec<usize>,
}

static TABLES: Lock<Tables> = Lock::new(Tables {
    finalizers: WordMap::new(),
    links: WordMap::new(),
    due: ScratchVec::new(),
    first_due: 0,
    work: ScratchVec::new(),
});
/// Not 0 once a finalizer was set.
static USED: AtomicU32 = AtomicU32::new(0);
static PENDING: AtomicU32 = AtomicU32::new(0);
static HOOK: AtomicUsize = AtomicUsize::new(0);

/// Number of due finalizers; a futex word that is woken when a collection found some.
pub fn pending() -> &'static AtomicU32 {
    &PENDING
}

/// Has `f` called on the collecting thread after each collection that left finalizers due, the world running.
pub fn set_hook(f: Option<fn()>) {
    HOOK.store(f.map_or(0, |f| f as usize), Release);
}

/// Set in the stored address of a finalizer: pointers of the object to itself count. No function lies that high.
const STRICT: usize = 1 << 63;

/// See `crate::raw::set_finalizer` and, if `strict`, `crate::raw::set_finalizer_strict`.
#[allow(clippy::result_unit_err)]
pub fn set(
    object: usize,
    f: Option<(Finalizer, *mut u8)>,
    strict: bool,
) -> Result<Option<(Finalizer, *mut u8)>, ()> {
    critical::with(|| {
        let o = find::object(object)
            .filter(|o| o.base == object)
            .ok_or(())?;
        if !crate::heap::is_collected(o.kind) {
            return Err(());
        }
        let mut t = TABLES.lock();
        let old = match f {
            Some((f, data)) => {
                USED.store(1, Relaxed);
                let old = t.finalizers.get(object);
                let flag = if strict { STRICT } else { 0 };
                if !t
                    .finalizers
                    .insert(object, [f as usize | flag, data as usize])
                {
                    return Err(());
                }
                old
            }
            None => t.finalizers.remove(object),
        };
        // SAFETY: the table holds only what was stored above from a Finalizer.
        Ok(old.map(|[f, data]| unsafe {
            (
                core::mem::transmute::<usize, Finalizer>(f & !STRICT),
                data as *mut u8,
            )
        }))
    })
}

/// See `crate::raw::register_link`.
pub fn register_link(link: usize, object: usize) -> bool {
    critical::with(|| {
        let Some(o) = find::object(object) else {
            return false;
        };
        TABLES.lock().links.insert(link, [!o.base])
    })
}

/// See `crate::raw::unregister_link`.
pub fn unregister_link(link: usize) -> bool {
    critical::with(|| TABLES.lock().links.remove(link).is_some())
}

/// See `crate::raw::move_link`.
pub fn move_link(link: usize, new: usize) -> MoveLink {
    critical::with(|| {
        let links = &mut TABLES.lock().links;
        let Some(object) = links.get(link) else {
            return MoveLink::NotFound;
        };
        if link == new {
            return MoveLink::Moved;
        }
        if links.get(new).is_some() {
            return MoveLink::Taken;
        }
        if !links.insert(new, object) {
            return MoveLink::NoMemory;
        }
        links.remove(link);
        MoveLink::Moved
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
    while let Some(d) = critical::with(take) {
        // SAFETY: the finalizer was registered for this object, which stays reachable from this frame.
        unsafe {
            core::mem::transmute::<usize, Finalizer>(d.finalizer)(
                d.object as *mut u8,
                d.data as *mut u8,
            )
        };
        n += 1;
    }
    n
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

/// After a collection, with the world running: tells whoever runs finalizers.
pub fn announce() {
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
}

fn is_marked(addr: usize) -> bool {
    let Some(s) = find::slot(addr) else {
        return true;
    };
    if !crate::heap::is_collected(s.info.kind()) {
        return true;
    }
    s.block.mark(s.index).load(Relaxed) != 0
}

/// The world is stopped and everything reachable is marked: clears links to what is not, and finds the due finalizers.
/// `None` without memory.
pub fn after_mark(shared: &Shared, tally: &mut Tally) -> Option<()> {
    let mut t = TABLES.lock();
    let t = &mut *t;
    clear_links(t)?;
    if !t.finalizers.is_empty() {
        find_due(t, shared, tally)?;
    }
    drop_dead_links(t)
}

fn clear_links(t: &mut Tables) -> Option<()> {
    t.work.clear();
    let (links, work) = (&mut t.links, &mut t.work);
    let mut ok = true;
    links.for_each(|link, [object]| {
        if !is_marked(!object) {
            ok &= work.push(link).is_ok();
        }
    });
    for i in 0..t.work.len() {
        let link = t.work[i];
        t.links.remove(link);
        // SAFETY: a registered link is a word that its owner keeps valid until it unregisters it, or lies in a heap
        // object, which is not swept yet.
        unsafe { (link as *mut usize).write(0) };
    }
    ok.then_some(())
}

/// Links that lie in objects which are about to be freed.
fn drop_dead_links(t: &mut Tables) -> Option<()> {
    t.work.clear();
    let (links, work) = (&mut t.links, &mut t.work);
    let mut ok = true;
    links.for_each(|link, _| {
        if !is_marked(link) {
            ok &= work.push(link).is_ok();
        }
    });
    for i in 0..t.work.len() {
        let link = t.work[i];
        t.links.remove(link);
    }
    ok.then_some(())
}

fn find_due(t: &mut Tables, shared: &Shared, tally: &mut Tally) -> Option<()> {
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
    // What they reach is kept. An object that points to itself, but is not reached otherwise, stays unmarked here unless its
    // finalizer is strict.
    for &object in t.work.iter() {
        let s = find::slot(object)?;
        if s.info.kind().is_scanned() {
            if t.finalizers
                .get(object)
                .is_some_and(|[f, _]| f & STRICT != 0)
            {
                m.range(object, object + s.size);
            } else {
                m.range_but_self(object, object + s.size);
            }
            m.drain();
        }
    }
    for i in 0..t.work.len() {
        let object = t.work[i];
        if is_marked(object) {
            continue;
        }
        let [finalizer, data] = t.finalizers.get(object)?;
        t.due
            .push(Due {
                object,
                finalizer: finalizer & !STRICT,
                data,
            })
            .ok()?;
        t.finalizers.remove(object);
    }
    for d in &t.due[t.first_due..] {
        m.word(d.object);
    }
    m.drain();
    tally.bytes += m.tally.bytes;
    tally.objects += m.tally.objects;
    PENDING.store((t.due.len() - t.first_due) as u32, Relaxed);
    Some(())
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Tables> {
    &TABLES
}
