//! The sources in guest mode, where the process owns its page tables.
//!
//! `dune` uses their dirty bits. Reading and clearing them are plain loads and locked operations, the first write to a clean page is no fault, and a flush makes a
//! clearing known to the CPUs.
//!
//! `dune-wp` takes the right to write from clean pages. The first write to each is a page fault that the guest deals with, without an exit; who has the
//! right, or had it since, has written. It relies on no dirty bit.
//!
//! The tables belong to `libdune`, which is one copy per process and not part of this library: its preloaded object exports a table of functions, found
//! by a weak symbol; a program that links both says [`offer`]. What a system call writes is marked by libdune. When something else may have written (a thread
//! that went on natively, a `vfork` child, an unknown call), its count of such events has changed and the harvest is `Everything`.

use super::failure::Failure;
use super::ranges::{Joiner, Range};
use super::tracking::{NoSource, Outcome, Source, When};
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering::*};
use libdune::interface::{ALWAYS, Interface, mode};

static OFFERED: AtomicPtr<Interface> = AtomicPtr::new(core::ptr::null_mut());

/// For a program that links libdune itself and enters guest mode with all of its threads: the source may use its table.
pub fn offer(interface: &'static Interface) {
    OFFERED.store(core::ptr::from_ref(interface).cast_mut(), Release);
}

/// The table, if the process has one.
fn find() -> Option<&'static Interface> {
    let exported: *const *const Interface;
    // SAFETY: the address of a symbol from the table of global symbols, null where nobody exports it.
    unsafe {
        core::arch::asm!(
            ".weak dune_interface",
            "mov {p}, qword ptr [rip + dune_interface@GOTPCREL]",
            p = out(reg) exported,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    // SAFETY: null, or libdune's pointer to its table, or the program's; both live as long as the process.
    unsafe {
        match OFFERED.load(Acquire).as_ref() {
            Some(offered) => Some(offered),
            None => exported.as_ref()?.as_ref(),
        }
    }
}

/// Calls `f` with the first address of each range of guest page tables and the first behind it. Their entries look like addresses of the
/// program's pages, and hold nothing of the program's.
pub fn page_tables(mut f: impl FnMut(usize, usize)) {
    let Some(interface) = find().filter(|i| i.version == Interface::VERSION) else {
        return;
    };
    let mut sink: &mut dyn FnMut(usize, usize) = &mut f;
    extern "C" fn pass(context: *mut c_void, start: u64, end: u64) {
        // SAFETY: the function around this one passes its own sink, which nobody else uses meanwhile.
        let sink = unsafe { &mut *context.cast::<&mut dyn FnMut(usize, usize)>() };
        sink(start as usize, end as usize);
    }
    (interface.tables)(pass, (&raw mut sink).cast());
}

/// `dune`.
pub type Dune = InGuest<false>;
/// `dune-wp`.
pub type DuneWp = InGuest<true>;

/// The source that uses dirty bits, or the one that takes rights.
pub struct InGuest<const RIGHTS: bool> {
    interface: &'static Interface,
    /// Events so far that may have written unseen.
    unseen: u64,
}

const OUTSIDE: Failure = Failure::Wrong("this thread is not in guest mode");
const UNSEEN: Failure = Failure::Wrong("a part of the program runs outside of guest mode");

impl<const RIGHTS: bool> InGuest<RIGHTS> {
    /// # Errors
    /// The process, or this thread, is not in guest mode.
    pub fn open() -> Result<Self, Failure> {
        let interface = find().ok_or(Failure::Wrong("this process is not in guest mode"))?;
        if interface.version != Interface::VERSION {
            return Err(Failure::Wrong("libdune.so is of another version"));
        }
        let source = InGuest {
            interface,
            unseen: ALWAYS,
        };
        source
            .unseen_now()
            .map(|unseen| InGuest { unseen, ..source })
    }

    /// The count of events that may have written unseen.
    fn unseen_now(&self) -> Result<u64, Failure> {
        // A forked child has no machine yet.
        if !(self.interface.inside)() && !(self.interface.enter)() {
            return Err(OUTSIDE);
        }
        match (self.interface.unseen)() {
            ALWAYS => Err(UNSEEN),
            unseen => Ok(unseen),
        }
    }

    /// Has most pages of a range count as written, so that writes to them cost no fault.
    pub(super) fn expect_writes(&self, range: Range) {
        if RIGHTS {
            self.deal(&[range], mode::OPEN, &mut |_| {});
        }
    }

    fn deal(&self, ranges: &[Range], mode: u32, sink: &mut dyn FnMut(Range)) {
        extern "C" fn pass(context: *mut c_void, start: u64, end: u64) {
            // SAFETY: `deal` passes its own sink, which nobody else uses meanwhile.
            let sink = unsafe { &mut *context.cast::<&mut dyn FnMut(Range)>() };
            sink(Range {
                start: start as usize,
                end: end as usize,
            });
        }
        let mut sink = sink;
        let context = (&raw mut sink).cast::<c_void>();
        (self.interface.harvest)(
            ranges.as_ptr().cast::<[u64; 2]>(),
            ranges.len() as u64,
            mode | if RIGHTS { mode::RIGHTS } else { 0 },
            pass,
            context,
        );
    }
}

// The table takes ranges as pairs of addresses.
const _: () = assert!(
    size_of::<Range>() == 16
        && core::mem::offset_of!(Range, start) == 0
        && core::mem::offset_of!(Range, end) == 8
);

impl<const RIGHTS: bool> Source for InGuest<RIGHTS> {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        self.unseen = self.unseen_now().map_err(NoSource::Failed)?;
        // Before the bits are cleared: what a call writes from then on is marked.
        (self.interface.watch)(true);
        self.deal(ranges, mode::CLEAR, &mut |_| {});
        Ok(())
    }

    fn track(&mut self, _: Range) -> Result<(), Failure> {
        // The tables know all memory; what is new counts as written.
        Ok(())
    }

    fn harvest(
        &mut self,
        ranges: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        if !(self.interface.inside)() {
            // In a child, what was written before and since is not known.
            self.unseen_now()?;
            (self.interface.watch)(true);
            self.unseen = ALWAYS;
        }
        let mode = if when.goes_on() {
            mode::TAKE
        } else {
            mode::LOOK
        };
        let mut joined = Joiner::new(sink);
        self.deal(ranges, mode, &mut |r| joined.add(r));
        let pages = joined.finish();
        // After the tables: who wrote unseen before them is counted.
        let unseen = (self.interface.unseen)();
        let known = unseen == self.unseen && unseen != ALWAYS;
        self.unseen = unseen;
        Ok(if known {
            Outcome::Pages(pages)
        } else {
            Outcome::Everything
        })
    }

    fn disarm(&mut self, _: &[Range]) {
        (self.interface.watch)(false);
    }
}
