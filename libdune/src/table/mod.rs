//! The guest's page tables. Four levels, pages of 4 KiB only: a larger page would have one dirty bit for all of it.
//!
//! The tables lie in the process's own memory and are mapped in the guest at the same addresses, so code inside and outside of the guest
//! reads and changes entries alike, by atomic operations. Tables are added under the lock of [`Tables`] and never freed, hence whoever has found
//! a table may use it without the lock.

mod dirty;
mod pool;

pub use dirty::{Dirty, Flush};
pub use pool::Pool;

use crate::arch::address::{PAGE, Range, index, span};
use crate::arch::pte::{Entry, Rights, Value};
use crate::error::Error;
use crate::gpa::{Chunk, GpaMap};
use pool::Table;

/// How new chunks of memory are given to the engine.
pub type Back<'a> = &'a mut dyn FnMut(Chunk) -> Result<(), Error>;

/// The root of a guest's tables and how frames become addresses: enough to read and change entries, not to add tables.
#[derive(Clone, Copy)]
pub struct View {
    root: u64,
    /// Address of a table minus its frame.
    offset: u64,
}

impl View {
    fn table(&self, frame: u64) -> &'static Table {
        let at = frame.wrapping_add(self.offset);
        // SAFETY: frames in upper-level entries are tables that `Tables` took from its pool, which lives as long as the process does: it is never freed
        // once it is in use (see `Tables::view`). Entries are atomics.
        unsafe { &*(at as *const Table) }
    }

    /// The table of the lowest level that holds the entry of `address`, if it exists.
    fn leaf(&self, address: u64) -> Option<&'static Table> {
        let mut frame = self.root;
        for level in [4, 3, 2] {
            let value = self.table(frame)[index(address, level)].load();
            if !value.present() {
                return None;
            }
            frame = value.frame();
        }
        Some(self.table(frame))
    }

    /// The entry of a page, if its table exists. The entry may be empty.
    pub fn entry(&self, address: u64) -> Option<&'static Entry> {
        Some(&self.leaf(address)?[index(address, 1)])
    }

    /// Calls `f` with the address and entry of every page of `range` whose table exists.
    pub fn each(&self, range: Range, mut f: impl FnMut(u64, &'static Entry)) {
        let mut at = range.start;
        while at < range.end {
            let block = Range::block(at, span(2));
            let end = block.end.min(range.end);
            match self.leaf(at) {
                Some(leaf) => {
                    while at < end {
                        f(at, &leaf[index(at, 1)]);
                        at += PAGE;
                    }
                }
                None => at = end,
            }
        }
    }

    /// The guest-physical address of the root: what CR3 holds.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The virtual address of the root, and what is to be added to a frame for that of a table.
    pub fn walk(&self) -> [u64; 2] {
        [self.root.wrapping_add(self.offset), self.offset]
    }

    /// Changes the rights of the pages of `range` whose entries are not empty. Returns whether a TLB may still grant more.
    pub fn set_rights(&self, range: Range, rights: Rights, held: bool) -> bool {
        let mut lost = false;
        self.each(range, |_, entry| {
            let old = entry.set_rights(rights, held);
            lost |= old.loses_rights(Value::page(old.frame(), rights));
        });
        lost
    }

    /// Takes all rights from the pages of `range` until they are filled again. D and rights that are held stay.
    pub fn forget(&self, range: Range) {
        self.each(range, |_, entry| {
            if !entry.load().held() {
                entry.set_rights(Rights::NONE, false);
            }
        });
    }

    /// Has the pages of `range` that are known keep their right to write.
    pub fn pin(&self, range: Range) {
        self.each(range, |_, entry| {
            if entry.load() != Value::EMPTY {
                entry.pin();
            }
        });
    }

    /// Makes every entry of `range` empty. Returns whether a TLB may still hold one.
    pub fn clear(&self, range: Range) -> bool {
        let mut lost = false;
        self.each(range, |_, entry| {
            if entry.load() != Value::EMPTY {
                lost |= entry.swap(Value::EMPTY).present();
            }
        });
        lost
    }

    /// Pages of `range` whose entries say dirty, each cleared as it is reported.
    pub fn dirty(self, range: Range) -> Dirty {
        Dirty::new(self, range)
    }
}

/// Everything that adds tables.
pub struct Tables {
    pool: Pool,
    gpa: GpaMap,
    view: View,
}

/// Tables that one mapping of a leaf may take.
const RESERVE: u64 = 8;

impl Tables {
    /// Tables that map their own memory and nothing else.
    ///
    /// # Errors
    /// No memory, or what `back` says.
    pub fn new(gpa: GpaMap, back: Back) -> Result<Tables, Error> {
        let mut pool = Pool::new()?;
        let first = Range::covering(pool.range().start, pool.range().start + pool.bytes());
        let root = pool.take()?;
        let mut tables = Tables {
            pool,
            gpa,
            view: View { root: 0, offset: 0 },
        };
        let frame = tables.gpa.get_or_add(root, back)?;
        tables.view = View {
            root: frame,
            offset: root.wrapping_sub(frame),
        };
        tables.fill(first, Rights::RW, back)?;
        tables.view.pin(first);
        Ok(tables)
    }

    /// Access to the entries. It is valid as long as these tables are; they must not be dropped before the last view.
    pub fn view(&self) -> View {
        self.view
    }

    /// The addresses that tables lie at, now and later.
    pub fn range(&self) -> Range {
        self.pool.range()
    }

    /// Bytes of memory that tables may use now, and whether they are locked.
    pub fn memory(&self) -> (u64, bool) {
        (self.pool.bytes(), self.pool.locked())
    }

    /// Makes the pages of `range` usable with `rights`. An entry that is empty is new: it counts as dirty if it may be written. One with other
    /// rights gets these, unless they are held. A TLB may still grant what is taken away, as far as the process itself has it.
    ///
    /// # Errors
    /// No memory, or what `back` says. A part may have been done.
    pub fn fill(&mut self, range: Range, rights: Rights, back: Back) -> Result<(), Error> {
        self.reserve(back)?;
        let mut at = range.start;
        while at < range.end {
            let end = Range::block(at, span(2)).end.min(range.end);
            self.reserve(back)?;
            self.fill_ready(Range { start: at, end }, rights, back)?;
            at = end;
        }
        Ok(())
    }

    /// Has [`RESERVE`] tables ready.
    fn reserve(&mut self, back: Back) -> Result<(), Error> {
        if self.pool.left() < RESERVE {
            let step = self.pool.grow()?;
            self.fill_ready(step, Rights::RW, back)?;
            self.view.pin(step);
        }
        Ok(())
    }

    /// The same for a range that takes no more than [`RESERVE`] tables.
    fn fill_ready(&mut self, range: Range, rights: Rights, back: Back) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let end = Range::block(at, span(2)).end.min(range.end);
            let leaf = self.leaf_or_add(at, back)?;
            // A leaf covers 2 MiB and chunks are larger: one look-up serves all of it.
            let mut frame = self.gpa.get_or_add(at, back)?;
            while at < end {
                let entry = &leaf[index(at, 1)];
                let fresh = Value::page(frame, rights);
                if entry.load() == Value::EMPTY {
                    let fresh = if rights.write {
                        fresh.with_dirty()
                    } else {
                        fresh
                    };
                    entry.fill(fresh);
                } else if !entry.load().held() && entry.load().granted() != fresh.rights() {
                    entry.set_rights(rights, false);
                }
                at += PAGE;
                frame += PAGE;
            }
        }
        Ok(())
    }

    fn leaf_or_add(&mut self, address: u64, back: Back) -> Result<&'static Table, Error> {
        let mut frame = self.view.root;
        for level in [4, 3, 2] {
            let entry = &self.view.table(frame)[index(address, level)];
            if !entry.load().present() {
                let table = self.pool.take()?;
                let new = self.gpa.get_or_add(table, back)?;
                entry.fill(Value::table(new));
            }
            frame = entry.load().frame();
        }
        Ok(self.view.table(frame))
    }

    /// The guest-physical address of a virtual one that was mapped.
    pub fn gpa(&self, address: u64) -> Option<u64> {
        self.gpa.get(address)
    }

    /// Number of memory chunks given to the engine.
    pub fn chunks(&self) -> usize {
        self.gpa.in_use()
    }
}

#[cfg(test)]
mod tests;
