//! Weak links: words that are set to zero when an object becomes unreachable. Short ones before its finalizer is due, long ones
//! when it is about to be freed.

use crate::finalize::is_marked;
use crate::heap::{critical, find};
use crate::raw::{Link, MoveLink};
use crate::sys::lock::{Guard, Lock};
use crate::sys::map::WordMap;
use crate::sys::scratch::ScratchVec;

pub(crate) struct Tables {
    /// Link to object, inverted.
    short: WordMap<1>,
    long: WordMap<1>,
    work: ScratchVec<usize>,
}

static TABLES: Lock<Tables> = Lock::new(Tables {
    short: WordMap::new(),
    long: WordMap::new(),
    work: ScratchVec::new(),
});

impl Tables {
    fn of(&mut self, sort: Link) -> &mut WordMap<1> {
        match sort {
            Link::Short => &mut self.short,
            Link::Long => &mut self.long,
        }
    }

    /// Sets short links to what is not marked to zero, and forgets them.
    pub fn clear_short(&mut self) -> Option<()> {
        clear(&mut self.short, &mut self.work)
    }

    /// As [`Self::clear_short`] for long links.
    pub fn clear_long(&mut self) -> Option<()> {
        clear(&mut self.long, &mut self.work)
    }

    /// Forgets links that lie in objects which are about to be freed.
    pub fn drop_dead(&mut self) -> Option<()> {
        for links in [&mut self.short, &mut self.long] {
            remove(links, &mut self.work, |link, _| !is_marked(link), |_| ())?;
        }
        Some(())
    }
}

fn clear(links: &mut WordMap<1>, work: &mut ScratchVec<usize>) -> Option<()> {
    remove(
        links,
        work,
        |_, object| !is_marked(object),
        // SAFETY: a registered link is a word that its owner keeps valid until it unregisters it, or lies in a heap
        // object, which is not swept yet.
        |link| unsafe { (link as *mut usize).write(0) },
    )
}

/// Removes the links for which `wanted(link, object)` holds, and calls `with` for each. `None` without memory.
fn remove(
    links: &mut WordMap<1>,
    work: &mut ScratchVec<usize>,
    wanted: impl Fn(usize, usize) -> bool,
    with: impl Fn(usize),
) -> Option<()> {
    work.clear();
    let mut ok = true;
    links.for_each(|link, [object]| {
        if wanted(link, !object) {
            ok &= work.push(link).is_ok();
        }
    });
    for &link in work.iter() {
        links.remove(link);
        with(link);
    }
    ok.then_some(())
}

/// The tables, with the world stopped.
pub(crate) fn lock() -> Guard<'static, Tables> {
    TABLES.lock()
}

/// See `crate::raw::register_link_as`.
pub fn register(sort: Link, link: usize, object: usize) -> bool {
    critical::with(|| {
        let Some(o) = find::object(object) else {
            return false;
        };
        TABLES.lock().of(sort).insert(link, [!o.base])
    })
}

/// See `crate::raw::unregister_link_as`.
pub fn unregister(sort: Link, link: usize) -> bool {
    critical::with(|| TABLES.lock().of(sort).remove(link).is_some())
}

/// See `crate::raw::move_link_as`.
pub fn relocate(sort: Link, link: usize, new: usize) -> MoveLink {
    critical::with(|| {
        let mut tables = TABLES.lock();
        let links = tables.of(sort);
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

/// Number of short and of long links.
pub fn count() -> (usize, usize) {
    critical::with(|| {
        let t = TABLES.lock();
        (t.short.len(), t.long.len())
    })
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Tables> {
    &TABLES
}
