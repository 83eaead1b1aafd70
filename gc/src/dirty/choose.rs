//! Which source the process uses.

use super::dune::{Dune, DuneWp};
use super::failure::Failure;
use super::mprotect::Mprotect;
use super::pagemap_scan::{PagemapScan, Reader};
use super::ranges::Range;
use super::soft_dirty::SoftDirty;
use super::tracking::{NoSource, Outcome, Source, When};
use crate::config::Dirty;
use core::fmt;

/// The sources, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Dirty bits of the process's own page tables, in guest mode.
    Dune,
    /// Rights to write in those page tables, and faults that the guest deals with.
    DuneWp,
    /// userfaultfd and PAGEMAP_SCAN.
    PagemapScan,
    /// Soft-dirty bits.
    SoftDirty,
    /// Read-only mappings and SIGSEGV.
    Mprotect,
    /// Nothing is tracked: marking needs the world stopped.
    None,
}

impl Kind {
    /// All, best first.
    pub const ALL: [Kind; 6] = [
        Kind::Dune,
        Kind::DuneWp,
        Kind::PagemapScan,
        Kind::SoftDirty,
        Kind::Mprotect,
        Kind::None,
    ];

    pub(super) fn from_index(i: u8) -> Kind {
        Kind::ALL[usize::from(i)]
    }

    /// As `DUNEGC_DIRTY` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dune => "dune",
            Kind::DuneWp => "dune-wp",
            Kind::PagemapScan => "pagemap-scan",
            Kind::SoftDirty => "soft-dirty",
            Kind::Mprotect => "mprotect",
            Kind::None => "none",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The source to try after one that does not work. `mprotect` is never fallen back to: it changes what the program sees. Nor is `dune-wp`: it works where `dune` does.
pub fn next_after(kind: Kind) -> Kind {
    match kind {
        Kind::Dune | Kind::DuneWp => Kind::PagemapScan,
        Kind::PagemapScan => Kind::SoftDirty,
        Kind::SoftDirty | Kind::Mprotect | Kind::None => Kind::None,
    }
}

/// Whether a source works here; makes one and drops it.
///
/// # Errors
/// Why it does not.
pub fn available(kind: Kind) -> Result<(), Failure> {
    open(kind).map(drop)
}

/// Makes a source. For tests and tools; the collector uses [`kind`](super::kind).
///
/// # Errors
/// Why it does not work here.
pub fn open(kind: Kind) -> Result<Chosen, Failure> {
    Ok(match kind {
        Kind::Dune => Chosen::Dune(Dune::open()?),
        Kind::DuneWp => Chosen::DuneWp(DuneWp::open()?),
        Kind::PagemapScan => Chosen::PagemapScan(PagemapScan::open()?),
        Kind::SoftDirty => Chosen::SoftDirty(SoftDirty::open()?),
        Kind::Mprotect => Chosen::Mprotect(Mprotect::open()?),
        Kind::None => Chosen::None,
    })
}

/// `kind`, or the first after it that works.
pub(super) fn first_working(mut kind: Kind) -> Chosen {
    loop {
        match open(kind) {
            Ok(source) => return source,
            Err(_) => kind = next_after(kind),
        }
    }
}

/// By the configuration. A source that was asked for by name and does not work costs one line.
pub(super) fn choose(wanted: Dirty) -> Chosen {
    let kind = match wanted {
        Dirty::Auto => return first_working(Kind::Dune),
        Dirty::Dune => Kind::Dune,
        Dirty::DuneWp => Kind::DuneWp,
        Dirty::PagemapScan => Kind::PagemapScan,
        Dirty::SoftDirty => Kind::SoftDirty,
        Dirty::Mprotect => Kind::Mprotect,
        Dirty::None => Kind::None,
    };
    match open(kind) {
        Ok(source) => source,
        Err(failure) => {
            let source = first_working(next_after(kind));
            let used = source.kind();
            crate::message!("DUNEGC_DIRTY={kind} does not work here ({failure}); using {used}");
            source
        }
    }
}

/// The process' source: static dispatch over the kinds.
pub enum Chosen {
    /// Before the choice, as [`Chosen::None`].
    Undecided,
    /// See [`Kind::Dune`].
    Dune(Dune),
    /// See [`Kind::DuneWp`].
    DuneWp(DuneWp),
    /// See [`Kind::PagemapScan`].
    PagemapScan(PagemapScan),
    /// See [`Kind::SoftDirty`].
    SoftDirty(SoftDirty),
    /// See [`Kind::Mprotect`].
    Mprotect(Mprotect),
    /// See [`Kind::None`].
    None,
}

impl Chosen {
    /// Which it is.
    pub fn kind(&self) -> Kind {
        match self {
            Chosen::Dune(_) => Kind::Dune,
            Chosen::DuneWp(_) => Kind::DuneWp,
            Chosen::PagemapScan(_) => Kind::PagemapScan,
            Chosen::SoftDirty(_) => Kind::SoftDirty,
            Chosen::Mprotect(_) => Kind::Mprotect,
            Chosen::Undecided | Chosen::None => Kind::None,
        }
    }

    /// See [`reader`](super::reader).
    pub(super) fn reader(&self) -> Option<Reader> {
        match self {
            Chosen::PagemapScan(s) => s.reader(),
            _ => None,
        }
    }

    /// See [`expect_writes`](super::expect_writes).
    pub(super) fn expect_writes(&self, range: Range) {
        match self {
            Chosen::PagemapScan(s) => s.unprotect(range),
            Chosen::Mprotect(s) => s.unprotect(range),
            Chosen::DuneWp(s) => s.expect_writes(range),
            Chosen::Dune(_) | Chosen::SoftDirty(_) | Chosen::Undecided | Chosen::None => {}
        }
    }
}

impl Source for Chosen {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        match self {
            Chosen::Dune(s) => s.arm(ranges),
            Chosen::DuneWp(s) => s.arm(ranges),
            Chosen::PagemapScan(s) => s.arm(ranges),
            Chosen::SoftDirty(s) => s.arm(ranges),
            Chosen::Mprotect(s) => s.arm(ranges),
            Chosen::Undecided | Chosen::None => Err(NoSource::Never),
        }
    }

    fn track(&mut self, range: Range) -> Result<(), Failure> {
        match self {
            Chosen::Dune(s) => s.track(range),
            Chosen::DuneWp(s) => s.track(range),
            Chosen::PagemapScan(s) => s.track(range),
            Chosen::SoftDirty(s) => s.track(range),
            Chosen::Mprotect(s) => s.track(range),
            Chosen::Undecided | Chosen::None => Ok(()),
        }
    }

    fn harvest(
        &mut self,
        ranges: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        match self {
            Chosen::Dune(s) => s.harvest(ranges, when, sink),
            Chosen::DuneWp(s) => s.harvest(ranges, when, sink),
            Chosen::PagemapScan(s) => s.harvest(ranges, when, sink),
            Chosen::SoftDirty(s) => s.harvest(ranges, when, sink),
            Chosen::Mprotect(s) => s.harvest(ranges, when, sink),
            Chosen::Undecided | Chosen::None => Ok(Outcome::Everything),
        }
    }

    fn disarm(&mut self, ranges: &[Range]) {
        match self {
            Chosen::Dune(s) => s.disarm(ranges),
            Chosen::DuneWp(s) => s.disarm(ranges),
            Chosen::PagemapScan(s) => s.disarm(ranges),
            Chosen::SoftDirty(s) => s.disarm(ranges),
            Chosen::Mprotect(s) => s.disarm(ranges),
            Chosen::Undecided | Chosen::None => {}
        }
    }
}
