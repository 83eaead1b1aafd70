//! Page-table entries. The CPU sets A and D in an entry at any time, so an entry that is in use is only ever changed by one
//! locked operation.

use core::sync::atomic::{AtomicU64, Ordering::*};
use x86_64::structures::paging::PageTableFlags as Flags;

/// The bits of an entry that hold a frame's address.
pub const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// The entry's rights were changed by [`crate::Dune::protect`]: a fault on it goes to the program's handler.
pub const HELD: Flags = Flags::BIT_9;

/// D was set when it was last cleared, and that is not reported yet.
pub const ASIDE: Flags = Flags::BIT_10;

/// The page was written since it was last watched, by other code than the guest's or with a right to write that is gone again.
pub const WRITTEN: Flags = Flags::BIT_11;

/// The right to write was taken to learn of the next write, which gives it back ([`Entry::watch`]).
pub const WATCHED: Flags = Flags::BIT_52;

/// The way to the handler of page faults needs this page: its right to write stays.
pub const PINNED: Flags = Flags::BIT_53;

/// What user code may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl Rights {
    /// Nothing.
    pub const NONE: Rights = Rights::new(false, false, false);
    /// Loads only.
    pub const R: Rights = Rights::new(true, false, false);
    /// Loads and stores.
    pub const RW: Rights = Rights::new(true, true, false);
    /// Loads and instruction fetches.
    pub const RX: Rights = Rights::new(true, false, true);
    /// Everything.
    pub const RWX: Rights = Rights::new(true, true, true);

    /// The rights named.
    pub const fn new(read: bool, write: bool, execute: bool) -> Rights {
        Rights {
            read,
            write,
            execute,
        }
    }

    /// The flags of an entry. An entry has no bit for loads: whatever may be used may be read.
    fn flags(self) -> Flags {
        if self == Rights::NONE {
            return Flags::empty();
        }
        let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE;
        flags.set(Flags::WRITABLE, self.write);
        flags.set(Flags::NO_EXECUTE, !self.execute);
        flags
    }
}

/// The bits that [`Rights`] decide.
const RIGHTS: Flags = Flags::PRESENT
    .union(Flags::USER_ACCESSIBLE)
    .union(Flags::WRITABLE)
    .union(Flags::NO_EXECUTE);

/// One value of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub u64);

impl Value {
    /// An entry that says nothing.
    pub const EMPTY: Value = Value(0);

    /// A page of user memory.
    pub fn page(frame: u64, rights: Rights) -> Value {
        debug_assert_eq!(frame & !FRAME, 0);
        Value(frame | rights.flags().bits())
    }

    /// A table one level below. Rights are decided by the last level only.
    pub fn table(frame: u64) -> Value {
        debug_assert_eq!(frame & !FRAME, 0);
        Value(frame | (Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE).bits())
    }

    /// Its flags.
    pub fn flags(self) -> Flags {
        Flags::from_bits_retain(self.0 & !FRAME)
    }

    /// The guest-physical address of its frame.
    pub fn frame(self) -> u64 {
        self.0 & FRAME
    }

    /// Whether a translation exists.
    pub fn present(self) -> bool {
        self.flags().contains(Flags::PRESENT)
    }

    /// Whether the CPU has written through it since D was last cleared.
    pub fn dirty(self) -> bool {
        self.flags().contains(Flags::DIRTY)
    }

    /// The same with D set.
    pub fn with_dirty(self) -> Value {
        Value(self.0 | Flags::DIRTY.bits())
    }

    /// Whether its rights come from [`Entry::set_rights`] with `held`.
    pub fn held(self) -> bool {
        self.flags().contains(HELD)
    }

    /// Whether the next write gives the right to write back.
    pub fn watched(self) -> bool {
        self.flags().contains(WATCHED)
    }

    /// Whether it may have been written since [`Entry::watch`]: then the right to write is there, or a note that it was.
    pub fn written(self) -> bool {
        self.rights().write || self.flags().contains(WRITTEN)
    }

    /// Its rights, with the one that watching has taken.
    pub fn granted(self) -> Rights {
        let rights = self.rights();
        Rights {
            write: rights.write || self.watched(),
            ..rights
        }
    }

    /// What user code may do.
    pub fn rights(self) -> Rights {
        let flags = self.flags();
        if !flags.contains(Flags::PRESENT) {
            return Rights::NONE;
        }
        Rights::new(
            true,
            flags.contains(Flags::WRITABLE),
            !flags.contains(Flags::NO_EXECUTE),
        )
    }

    /// Whether a change from `self` to `new` takes something away that a TLB may still grant: then it needs a flush.
    pub fn loses_rights(self, new: Value) -> bool {
        let (old, now) = (self.rights(), new.rights());
        (old.read && !now.read)
            || (old.write && !now.write)
            || (old.execute && !now.execute)
            || (old.read && now.read && self.frame() != new.frame())
    }
}

/// An entry in use.
#[repr(transparent)]
pub struct Entry(AtomicU64);

impl Entry {
    /// An entry with a value.
    pub const fn new(value: Value) -> Entry {
        Entry(AtomicU64::new(value.0))
    }

    /// Its value now; A and D may be set the moment after.
    pub fn load(&self) -> Value {
        Value(self.0.load(Acquire))
    }

    /// Fills an empty entry; `false` and nothing is done if it was not empty.
    pub fn fill(&self, value: Value) -> bool {
        self.0.compare_exchange(0, value.0, AcqRel, Acquire).is_ok()
    }

    /// Replaces the entry and returns what it was, with the A and D of the last moment.
    pub fn swap(&self, value: Value) -> Value {
        Value(self.0.swap(value.0, AcqRel))
    }

    /// Changes the rights and leaves frame, A and D alone; returns what the entry was. An empty entry stays empty. The page is not watched any more, and
    /// counts as written if it may be or was.
    pub fn set_rights(&self, rights: Rights, held: bool) -> Value {
        let update = |old: u64| {
            (old != 0).then(|| {
                let mut flags = Value(old).flags() & !RIGHTS & !HELD & !WATCHED;
                flags |= rights.flags();
                flags.set(HELD, held);
                flags.set(WRITTEN, Value(old).written());
                Value(old).frame() | flags.bits()
            })
        };
        match self.0.fetch_update(AcqRel, Acquire, update) {
            Ok(old) | Err(old) => Value(old),
        }
    }

    /// Reads and clears D in one locked operation, which is skipped if D is clear. The caller owes a flush before it relies on D again.
    pub fn take_dirty(&self) -> bool {
        self.load().dirty() && Value(self.0.fetch_and(!Flags::DIRTY.bits(), AcqRel)).dirty()
    }

    /// Notes that something else than the guest has written. `false`, and nothing is done, if the entry is empty.
    pub fn mark(&self) -> bool {
        let update = |old| (old != 0).then_some(old | (Flags::DIRTY | WRITTEN).bits());
        self.0.fetch_update(AcqRel, Acquire, update).is_ok()
    }

    /// If the page was written ([`Value::written`]), forgets that and takes the right to write, until the next write; `note` has it noted for
    /// [`Entry::take_aside`]. Returns what the entry was: if it had the right, the caller owes a flush.
    pub fn watch(&self, note: bool) -> Value {
        let update = |old: u64| {
            let value = Value(old);
            value.written().then(|| {
                let mut flags = value.flags() & !WRITTEN;
                if value.rights().write && !flags.contains(PINNED) {
                    flags = flags & !Flags::WRITABLE | WATCHED;
                }
                if note {
                    flags |= ASIDE;
                }
                value.frame() | flags.bits()
            })
        };
        match self.0.fetch_update(AcqRel, Acquire, update) {
            Ok(old) | Err(old) => Value(old),
        }
    }

    /// Gives back what [`Entry::watch`] has taken, for a write; `false` if it has taken nothing. `dune_upward` does the same.
    pub fn let_write(&self) -> bool {
        let update = |old: u64| {
            let watched = Value(old).watched();
            watched.then_some(old & !WATCHED.bits() | Flags::WRITABLE.bits())
        };
        self.0.fetch_update(AcqRel, Acquire, update).is_ok()
    }

    /// Has the page keep its right to write.
    pub fn pin(&self) {
        self.0.fetch_or(PINNED.bits(), AcqRel);
    }

    /// Like [`Entry::take_dirty`], and notes in the entry that D was set.
    pub fn set_aside(&self) -> bool {
        let update = |old| {
            Value(old)
                .dirty()
                .then_some(old & !Flags::DIRTY.bits() | ASIDE.bits())
        };
        self.0.fetch_update(AcqRel, Acquire, update).is_ok()
    }

    /// Reads and clears what [`Entry::set_aside`] has noted.
    pub fn take_aside(&self) -> bool {
        let noted = |v: Value| v.flags().contains(ASIDE);
        noted(self.load()) && noted(Value(self.0.fetch_and(!ASIDE.bits(), AcqRel)))
    }

    /// Reads and clears A in one locked operation.
    pub fn take_accessed(&self) -> bool {
        let old = self.0.fetch_and(!Flags::ACCESSED.bits(), AcqRel);
        Value(old).flags().contains(Flags::ACCESSED)
    }

    /// What the CPU does on a walk for a load or a store. For software that plays the CPU.
    pub fn touch(&self, write: bool) {
        let mut bits = Flags::ACCESSED;
        bits.set(Flags::DIRTY, write);
        self.0.fetch_or(bits.bits(), AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rights() -> impl Strategy<Value = Rights> {
        prop::sample::select(vec![
            Rights::NONE,
            Rights::R,
            Rights::RW,
            Rights::RX,
            Rights::RWX,
        ])
    }

    proptest! {
        #[test]
        fn rights_and_frame_come_back(page in 0..1u64 << 40, r in rights()) {
            let value = Value::page(page << 12, r);
            prop_assert_eq!(value.rights(), r);
            prop_assert_eq!(value.frame(), page << 12);
        }

        #[test]
        fn changing_rights_keeps_the_rest(page in 0..1u64 << 36, a in rights(), b in rights(), d: bool, held: bool) {
            let entry = Entry::new(Value::page(page << 12, Rights::RW));
            entry.touch(d);
            entry.set_rights(a, false);
            entry.set_rights(b, held);
            let now = entry.load();
            prop_assert_eq!(now.rights(), b);
            prop_assert_eq!(now.frame(), page << 12);
            prop_assert_eq!(now.dirty(), d);
            prop_assert_eq!(now.held(), held);
        }

        #[test]
        fn loss_is_what_some_access_shows(a in rights(), b in rights(), moved: bool) {
            let old = Value::page(0x5000, a);
            let new = Value::page(if moved { 0x6000 } else { 0x5000 }, b);
            let allowed = |r: Rights| [r.read, r.write, r.execute];
            let lost = allowed(a).iter().zip(allowed(b)).any(|(old, new)| *old && !new);
            let moved = moved && a.read && b.read;
            prop_assert_eq!(old.loses_rights(new), lost || moved);
        }
    }

    #[test]
    fn dirty_is_taken_once() {
        let entry = Entry::new(Value::page(0x7000, Rights::RW));
        assert!(!entry.take_dirty());
        entry.touch(true);
        assert!(entry.take_dirty());
        assert!(!entry.take_dirty());
        assert!(entry.take_accessed());
        assert_eq!(entry.load(), Value::page(0x7000, Rights::RW));
    }

    #[test]
    fn what_is_set_aside_is_reported_once() {
        let entry = Entry::new(Value::page(0x7000, Rights::RW));
        assert!(!entry.set_aside() && !entry.take_aside());
        assert!(entry.mark() && entry.set_aside() && !entry.load().dirty());
        entry.set_rights(Rights::R, false);
        assert!(entry.take_aside() && !entry.take_aside());
        assert!(!Entry::new(Value::EMPTY).mark());
    }

    #[test]
    fn a_watched_page_is_written_once() {
        let entry = Entry::new(Value::page(0x7000, Rights::RW));
        assert!(entry.watch(false).rights().write && entry.load().watched());
        assert_eq!(entry.load().rights(), Rights::R);
        assert_eq!(entry.load().granted(), Rights::RW);
        assert!(!entry.watch(true).written() && !entry.take_aside());
        assert!(entry.let_write() && !entry.let_write());
        assert_eq!(entry.load().rights(), Rights::RW);
        assert!(entry.watch(true).written() && entry.take_aside() && !entry.take_aside());
        // Written by somebody else: the right need not be taken again.
        assert!(entry.mark());
        let was = entry.watch(true);
        assert!(was.written() && !was.rights().write && entry.load().watched());
    }

    #[test]
    fn a_write_is_known_when_the_right_is_gone_again() {
        let entry = Entry::new(Value::page(0x7000, Rights::RW));
        entry.set_rights(Rights::NONE, false);
        assert!(entry.watch(false).written() && !entry.load().watched());
        assert!(!entry.watch(false).written());
        entry.set_rights(Rights::RW, false);
        assert!(entry.watch(false).written());
        // What is not written any more when its rights change was not written.
        entry.set_rights(Rights::R, false);
        assert!(!entry.load().watched() && !entry.load().written());
        let pinned = Entry::new(Value::page(0x7000, Rights::RW));
        pinned.pin();
        assert!(pinned.watch(false).written() && pinned.watch(false).written());
        assert_eq!(pinned.load().rights(), Rights::RW);
    }

    #[test]
    fn only_an_empty_entry_is_filled() {
        let entry = Entry::new(Value::EMPTY);
        assert_eq!(entry.set_rights(Rights::RW, true), Value::EMPTY);
        assert_eq!(entry.load(), Value::EMPTY);
        assert!(entry.fill(Value::page(0x1000, Rights::R)));
        assert!(!entry.fill(Value::page(0x2000, Rights::RW)));
        assert_eq!(entry.load().frame(), 0x1000);
        assert!(!Value::page(0x1000, Rights::NONE).present());
    }

    #[test]
    fn no_write_is_lost_beside_the_cpu() {
        // One thread plays the CPU; every D that it set is taken exactly once or still there.
        let entry = Entry::new(Value::page(0x1000, Rights::RW));
        let taken = std::thread::scope(|s| {
            let cpu = s.spawn(|| {
                let mut set = 0;
                for _ in 0..100_000 {
                    let old = entry.0.fetch_or(Flags::DIRTY.bits(), AcqRel);
                    set += u64::from(!Value(old).dirty());
                }
                set
            });
            let mut taken = 0;
            while !cpu.is_finished() {
                taken += u64::from(entry.take_dirty());
                entry.set_rights(Rights::RW, false);
            }
            taken += u64::from(entry.take_dirty());
            (cpu.join().expect("the thread ends"), taken)
        });
        assert_eq!(taken.0, taken.1);
    }
}
