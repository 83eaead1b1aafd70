//! Objects that the program wants to see before their memory is used again: of kinds with a function that may disclaim them, and,
//! when leaks are looked for, all.
//!
//! They are found with the world stopped and kept. The functions run after the collection on the collecting thread, with the world
//! running, and what is not claimed is freed then.

use crate::heap::block::REACHED;
use crate::heap::critical;
use crate::heap::find::{self, Slot};
use crate::kind::Kind;
use crate::mark::marker::{Marker, Tally};
use crate::mark::rescan;
use crate::mark::shared::Shared;
use crate::raw::{self, Object};
use crate::sys::lock::Lock;
use crate::sys::scratch::ScratchVec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::Release};

/// Asked about an unreachable object: true keeps it until the next collection.
pub type Claim = fn(kind: Kind, object: usize) -> bool;

/// Told about leaked objects after a collection; frees them if it wants to.
pub type Leaked = fn(&[Object]);

/// Most leaks that are told of after one collection.
const LEAKS: usize = 40;

pub(crate) struct Found {
    dead: ScratchVec<usize>,
    leaks: ScratchVec<Object>,
}

static FOUND: Lock<Found> = Lock::new(Found {
    dead: ScratchVec::new(),
    leaks: ScratchVec::new(),
});
static CLAIM: AtomicUsize = AtomicUsize::new(0);
/// Kinds whose objects are asked about.
static ASKED: AtomicU32 = AtomicU32::new(0);
/// Those among them whose unreachable objects keep what they refer to until they are freed.
static KEEPING: AtomicU32 = AtomicU32::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// Has `claim` asked about unreachable objects of `kind`, which keep what they refer to until then if `keeping`. One function serves all kinds.
pub fn register(kind: Kind, claim: Claim, keeping: bool) {
    CLAIM.store(claim as usize, Release);
    let bit = 1 << kind.bit();
    if keeping {
        KEEPING.fetch_or(bit, Relaxed);
    } else {
        KEEPING.fetch_and(!bit, Relaxed);
    }
    ASKED.fetch_or(bit, Release);
}

/// Frees nothing that is unreachable any more, but tells `f` of it. `None`: as ever.
pub fn find_leaks(f: Option<Leaked>) {
    LEAKED.store(f.map_or(0, |f| f as usize), Release);
}

/// Leaks are looked for.
pub fn finds_leaks() -> bool {
    LEAKED.load(Relaxed) != 0
}

/// The world is stopped and everything reachable is marked, due finalizers included. `None` without memory.
pub(crate) fn after_mark(shared: &Shared, tally: &mut Tally) -> Option<()> {
    let (asked, keeping) = (ASKED.load(Relaxed), KEEPING.load(Relaxed));
    let leaks = LEAKED.load(Relaxed) != 0;
    if asked == 0 && !leaks {
        return Some(());
    }
    let mut found = FOUND.lock();
    if keeping != 0 {
        let mut m = Marker::new(shared, 0, true)?;
        each_unmarked(keeping, &mut |s| {
            m.object(s);
            m.drain();
        });
        tally.add(&m.take_tally());
        rescan::complete(shared, tally)?;
    }
    let mut ok = true;
    each_unmarked(asked, &mut |s| {
        ok &= found.dead.push(s.base).is_ok();
        s.block.mark(s.index).store(REACHED, Relaxed);
    });
    if leaks {
        each_unmarked(!0, &mut |s| {
            if found.leaks.len() < LEAKS {
                ok &= found.leaks.push(s.object()).is_ok();
            }
            s.block.mark(s.index).store(REACHED, Relaxed);
        });
    }
    ok.then_some(())
}

/// Calls `f` for the allocated objects of collected `kinds` that are not marked when it comes to them. With the world stopped.
fn each_unmarked(kinds: u32, f: &mut dyn FnMut(&Slot)) {
    find::each_of(kinds, &mut |s| {
        if crate::heap::is_collected(s.info.kind()) && s.block.mark(s.index).load(Relaxed) == 0 {
            f(s);
        }
    });
}

/// Calls `f` for every allocated object. With the world stopped.
pub fn each_object(f: &mut dyn FnMut(Object)) {
    find::each_of(!0, &mut |s| f(s.object()));
}

/// Something was found that the program is to be asked about, or told of.
pub(crate) fn is_due() -> bool {
    (ASKED.load(Relaxed) != 0 || LEAKED.load(Relaxed) != 0)
        && critical::with(|| {
            let found = FOUND.lock();
            !found.dead.is_empty() || !found.leaks.is_empty()
        })
}

/// After a collection, the world running: asks about what was found dead, and frees it or not.
pub(crate) fn run() {
    if ASKED.load(Relaxed) != 0 {
        let claim = CLAIM.load(Relaxed);
        while let Some(object) = critical::with(|| FOUND.lock().dead.pop()) {
            let Some(o) = raw::find(object) else {
                continue;
            };
            // SAFETY: `register` stores only functions of this type.
            let kept = unsafe { core::mem::transmute::<usize, Claim>(claim)(o.kind, object) };
            if !kept {
                // SAFETY: nothing refers to the object, and the program has nothing against it.
                let _ = unsafe { raw::free(object as *mut u8) };
            }
        }
    }
    let leaked = LEAKED.load(Relaxed);
    if leaked != 0 {
        let mut list = [Object {
            base: 0,
            size: 0,
            kind: Kind::Scan,
        }; LEAKS];
        let mut n = 0;
        critical::with(|| {
            let mut found = FOUND.lock();
            while let Some(o) = found.leaks.pop() {
                list[n] = o;
                n += 1;
            }
        });
        if n > 0 {
            // SAFETY: `find_leaks` stores only functions of this type.
            unsafe { core::mem::transmute::<usize, Leaked>(leaked)(&list[..n]) };
        }
    }
}

/// The world is stopped: objects that are still to be asked about.
pub(crate) fn each_root(f: &mut dyn FnMut(usize)) {
    let found = FOUND.lock();
    found.dead.iter().for_each(|&o| f(o));
    found.leaks.iter().for_each(|o| f(o.base));
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Found> {
    &FOUND
}
