//! Whether the next collection is generational: it keeps the marks of the last one and looks only for what was made since
//! (sticky mark bits: Demers et al., "Combining generational and conservative garbage collection", POPL 1990).
//!
//! It pays if what is new dies, or if what is old does not: else collections that keep marks find little, and what they
//! keep takes memory for which everything has to be marked soon anyway.

use crate::pacer;

/// Growth of what is marked, beyond its share, after which everything is marked anew.
const SLACK: usize = 4 << 20;
/// Bytes that a collection with the program stopped may find: some tenths of a millisecond.
const SHORT: usize = 1 << 20;
/// Collections that mark everything between two attempts at one that does not, while those do not pay.
const PATIENCE: u32 = 8;

/// What is known of the objects that survived.
pub(super) struct Generations {
    /// Marks of the last collection are there and mean something.
    usable: bool,
    /// Marked bytes after the last collection that marked everything.
    full: usize,
    /// Marked bytes now.
    old: usize,
    /// What the last collection that kept marks found beyond them.
    found: usize,
    /// Bytes that were written when the last collection began.
    written: usize,
    /// Percent of what was new that survived that collection.
    survival: usize,
    /// Percent of what was marked that the last collection of everything found dead.
    mortality: usize,
    /// Collections of everything since one that kept marks.
    fulls: u32,
    /// Collections of everything.
    known: u32,
}

impl Generations {
    pub const fn new() -> Self {
        Generations {
            usable: false,
            full: 0,
            old: 0,
            found: 0,
            written: 0,
            survival: 0,
            mortality: 0,
            fulls: 0,
            known: 0,
        }
    }

    /// The next collection may keep the marks.
    pub fn usable(&self) -> bool {
        self.usable && self.pays()
    }

    fn pays(&self) -> bool {
        self.survival < 50 || self.mortality < 20 || self.fulls >= PATIENCE
    }

    /// The marks mean nothing any more: the next collection marks everything.
    pub fn forget(&mut self) {
        self.usable = false;
    }

    /// Whether the next collection keeps the marks, when `written` bytes have to be scanned again for it.
    pub fn keeps_marks(&self, written: usize) -> bool {
        // What was marked and is dead by now is found only when everything is marked: the sooner the more there was last time.
        let growth = match self.mortality {
            _ if self.known < 3 => 25,
            0..10 => 100,
            m => (50 - (m / 2) as isize).max(10) as usize,
        };
        let grown = self.old > self.full + self.full / 100 * growth + SLACK;
        // Scanning what was written must be less than marking everything.
        let little = written < self.old / 4 * 3 + 4 * SLACK;
        self.usable() && !grown && little && !pacer::is_tight()
    }

    /// The next collection keeps the marks, and has so little to do that it is not worth the while to let the program run beside.
    pub fn is_short(&self) -> bool {
        self.found < SHORT && self.fulls == 0 && self.keeps_marks(self.written)
    }

    /// So many bytes were written when the last collection began.
    pub fn wrote(&mut self, bytes: usize) {
        self.written = bytes;
    }

    /// About how many bytes the next collection will mark.
    pub fn expected(&self, keep_marks: bool) -> usize {
        if keep_marks {
            self.found.min(pacer::since())
        } else {
            self.old.max(pacer::since() / 4)
        }
    }

    /// A collection marked `bytes`: all there are, or those it found beyond the ones that were marked, of `new` bytes made since
    /// the last one. All marked bytes.
    pub fn marked(&mut self, bytes: usize, new: usize, kept_marks: bool) -> usize {
        if kept_marks {
            self.found = bytes;
            self.survival = bytes * 100 / new.max(1);
            self.old += bytes;
            self.fulls = 0;
        } else {
            let before = self.old + new / 100 * self.survival.min(100);
            self.mortality = before.saturating_sub(bytes) * 100 / before.max(1);
            (self.full, self.old) = (bytes, bytes);
            self.fulls += 1;
            self.known += 1;
        }
        self.usable = true;
        self.old
    }
}
