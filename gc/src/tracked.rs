//! Which part of the heap the dirty source watches, and what was written in it.
//!
//! Blocks that hold scanned objects when a collection begins are watched. A block that comes into use later is not: all of it
//! counts as written until the next harvest watches it, so that new memory costs no faults while it is filled. Between a
//! collection and a generational one, what is full stays protected; what is allocated in counts as written.

use crate::dirty::{self, Kind, Outcome, When};
use crate::heap::block::{Block, State};
use crate::heap::layout::{self, BLOCK};
use crate::heap::{marking, runs};
use crate::look;
use crate::mark::shared::Range;
use crate::sys::scratch::ScratchVec;
use crate::zeal;

/// Written ranges are cut into pieces of this many bytes, so that markers can share them.
const PIECE: usize = 64 << 10;
/// Blocks between two watched ones that are watched along with them.
const GAP: usize = 4;

/// A harvest that changes nothing: what it reports, the next one reports too.
const LOOK: When = When::Stopped { keep: false };

/// The watched part of the heap.
pub struct Tracked {
    /// Bit b: block b is watched.
    bits: ScratchVec<u64>,
    watching: bool,
    /// What is in use and not watched.
    fresh: ScratchVec<dirty::Range>,
    written: ScratchVec<Range>,
    /// What was written in the last collection: objects there may refer to some that were born in it.
    aged: ScratchVec<Range>,
    /// What was written so far in this one.
    aging: ScratchVec<Range>,
    /// Helpers look through the watched part.
    looking: bool,
}

impl Tracked {
    /// Nothing.
    pub const fn new() -> Self {
        Tracked {
            bits: ScratchVec::new(),
            watching: false,
            fresh: ScratchVec::new(),
            written: ScratchVec::new(),
            aged: ScratchVec::new(),
            aging: ScratchVec::new(),
            looking: false,
        }
    }

    /// The source is one that may watch between collections, without effect on what the program does.
    pub fn outlasts_collection() -> bool {
        dirty::kind() == Kind::PagemapScan
    }

    /// What the last harvest reported.
    pub fn written(&self) -> &[Range] {
        &self.written
    }

    /// Begins a collection: watches what is in use. What was written since the last one, or cannot be known not to have been, is
    /// reported; its bytes. `None` if there is no source, or no memory for the tables.
    pub fn begin(&mut self) -> Option<usize> {
        if dirty::kind() == Kind::None {
            return None;
        }
        let mut bytes = self.harvest(When::Running)?;
        for r in self.aged.iter() {
            self.written.push(*r).ok()?;
            bytes += r.hi - r.lo;
        }
        self.aged.clear();
        self.aging.clear();
        Some(bytes)
    }

    /// Finds what was written; with the program running it is watched again, and so is what came into use. The bytes. `None` without
    /// memory, or without a source.
    pub fn harvest(&mut self, when: When) -> Option<usize> {
        let bytes = self.find_written(when)?;
        for r in self.written.iter() {
            self.aging.push(*r).ok()?;
        }
        Some(bytes)
    }

    /// With the world stopped: has helpers begin what [`Self::harvest`] with [`When::Stopped`] ends.
    pub fn begin_last(&mut self) {
        self.looking = self.watching && look::begin();
    }

    /// With the world stopped, for a collection in which no object is born: finds what was written since the last one. What is
    /// watched stays so. The bytes. `None` without memory.
    pub fn harvest_stopped(&mut self) -> Option<usize> {
        let mut bytes = self.find_written(LOOK)?;
        for r in self.aged.iter() {
            self.written.push(*r).ok()?;
            bytes += r.hi - r.lo;
        }
        Some(bytes)
    }

    /// With the world stopped, after [`Self::begin`]: adds what was written since. What is watched stays so. All bytes. `None` without memory.
    pub fn harvest_rest(&mut self) -> Option<usize> {
        core::mem::swap(&mut self.written, &mut self.aging);
        let mut bytes = self.find_written(LOOK)?;
        for r in self.aging.iter() {
            self.written.push(*r).ok()?;
            bytes += r.hi - r.lo;
        }
        self.aging.clear();
        Some(bytes)
    }

    /// Bytes of what the last harvest reported only because it came into use and was not watched.
    pub fn fresh(&self) -> usize {
        self.fresh.iter().map(|r| r.end - r.start).sum()
    }

    /// The source watches.
    pub fn is_watching(&self) -> bool {
        self.watching
    }

    fn find_written(&mut self, when: When) -> Option<usize> {
        self.written.clear();
        let (mut bytes, mut ok) = (0, true);
        let written = &mut self.written;
        if self.watching {
            let mut sink = |r: dirty::Range| ok &= push(written, r.start, r.end, &mut bytes);
            let looked = core::mem::take(&mut self.looking) && look::end(&mut sink).is_some();
            let outcome = if looked {
                #[cfg(feature = "paranoid")]
                check_look(written);
                Outcome::Pages(0)
            } else {
                dirty::harvest(when, &mut sink)
            };
            if outcome == Outcome::Everything || zeal::harvest_fails() {
                self.forget();
                (bytes, ok) = (0, true);
            }
        }
        ok &= self.list_unwatched(&mut bytes);
        ok &= self.find_fresh() && (when != When::Running || self.watch_fresh());
        for r in self.fresh.iter() {
            ok &= push(&mut self.written, r.start, r.end, &mut bytes);
        }
        ok.then_some(bytes)
    }

    /// The collection is over, its sweep too: first writes to blocks that are not full shall cost nothing, they count as written.
    pub fn keep_full(&mut self) {
        core::mem::swap(&mut self.aged, &mut self.aging);
        self.each_watched(|first, end| {
            let mut from = first;
            while from < end {
                let full = is_full(from);
                let mut to = from + 1;
                while to < end && is_full(to) == full {
                    to += 1;
                }
                if !full {
                    dirty::open_up(blocks(from, to));
                }
                from = to;
            }
        });
        dirty::all_opened();
    }

    /// Ends watching. Every block counts as written from here on.
    pub fn release(&mut self) {
        if self.watching {
            self.each_watched(|first, end| dirty::open_up(blocks(first, end)));
            dirty::all_opened();
            dirty::disarm();
        }
        self.forget();
    }

    /// Nothing is watched, whatever was.
    pub fn forget(&mut self) {
        self.watching = false;
        self.written.clear();
        self.bits.clear();
        self.aged.clear();
        self.aging.clear();
    }

    /// Calls `f(first, end)` for the runs of watched blocks.
    fn each_watched(&self, f: impl Fn(usize, usize)) {
        let (n, mut from) = (self.bits.len() * 64, 0);
        while from < n {
            let mut to = from;
            while to < n && self.is_watched(to) {
                to += 1;
            }
            if to > from {
                f(from, to);
            }
            from = to + 1;
        }
    }

    /// Lists what is in use and never watched as written.
    fn list_unwatched(&mut self, bytes: &mut usize) -> bool {
        !spares_malloc()
            || (1..runs::frontier()).all(|i| {
                let info = Block(i as u32).info();
                let never = info.state() != State::Free
                    && info.kind().is_scanned()
                    && !is_watchable(info.kind());
                let (lo, hi) = (Block(i as u32).addr(), Block(i as u32 + 1).addr());
                !never || push(&mut self.written, lo, hi, bytes)
            })
    }

    /// Lists what is in use and not watched.
    fn find_fresh(&mut self) -> bool {
        self.fresh.clear();
        let n = runs::frontier();
        while self.bits.len() * 64 < n {
            if self.bits.push(0).is_err() {
                return false;
            }
        }
        let (mut lo, mut hi) = (0, 0);
        for i in 1..n {
            let info = Block(i as u32).info();
            let wanted =
                info.state() != State::Free && is_watchable(info.kind()) && !self.is_watched(i);
            if !wanted {
                continue;
            }
            let gap = if spares_malloc() { 0 } else { GAP };
            if hi == 0 || i > hi + gap || (hi..i).any(|g| self.is_watched(g)) {
                if hi != 0 && self.fresh.push(blocks(lo, hi)).is_err() {
                    return false;
                }
                lo = i;
            }
            hi = i + 1;
        }
        hi == 0 || self.fresh.push(blocks(lo, hi)).is_ok()
    }

    fn is_watched(&self, block: usize) -> bool {
        self.bits[block / 64] >> (block % 64) & 1 != 0
    }

    /// Watches what is listed as fresh.
    fn watch_fresh(&mut self) -> bool {
        if self.watching {
            self.fresh.iter().for_each(|&r| dirty::track(r));
        } else if dirty::arm(&self.fresh).is_err() {
            return false;
        }
        self.watching = true;
        for r in self.fresh.iter() {
            let first = Block::at(r.start - layout::base()).0 as usize;
            for i in first..first + (r.end - r.start) / BLOCK {
                self.bits[i / 64] |= 1 << (i % 64);
                // Put to another use since it was listed.
                marking::about_to_use(Block(i as u32), 1, Block(i as u32).info().kind());
            }
        }
        true
    }
}

/// What helpers found is what one thread finds, who looks again.
#[cfg(feature = "paranoid")]
fn check_look(written: &[Range]) {
    let outcome = dirty::harvest(LOOK, &mut |r| {
        for at in (r.start..r.end).step_by(4096) {
            let found = written.iter().any(|w| w.lo <= at && at < w.hi);
            assert!(found, "paranoid: no helper reported the page {at:#x}");
        }
    });
    assert!(
        outcome != Outcome::Everything,
        "paranoid: the source failed"
    );
}

/// The source must not watch malloc'ed memory: libc has system calls write to it which nobody can announce.
fn spares_malloc() -> bool {
    dirty::kind() == Kind::Mprotect
}

fn is_watchable(kind: crate::kind::Kind) -> bool {
    kind.is_scanned() && (kind != crate::kind::Kind::Malloc || !spares_malloc())
}

/// Nothing is allocated in the block before the next collection.
fn is_full(block: usize) -> bool {
    let info = Block(block as u32).info();
    info.kind().is_scanned()
        && match info.state() {
            State::Small => info.is_full(),
            State::Large | State::LargeTail => true,
            State::Free => false,
        }
}

fn blocks(first: usize, end: usize) -> dirty::Range {
    dirty::Range {
        start: Block(first as u32).addr(),
        end: Block(end as u32).addr(),
    }
}

/// Appends a range in pieces and counts its bytes; false without memory.
fn push(written: &mut ScratchVec<Range>, lo: usize, hi: usize, bytes: &mut usize) -> bool {
    *bytes += hi - lo;
    (lo..hi).step_by(PIECE).all(|lo| {
        let hi = hi.min(lo + PIECE);
        written.push(Range { lo, hi }).is_ok()
    })
}
