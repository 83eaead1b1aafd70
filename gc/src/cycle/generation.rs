//! Whether the next collection is generational: it keeps the marks of the last one and looks only for what was made since
//! (sticky mark bits: Demers et al., "Combining generational and conservative garbage collection", POPL 1990).
//!
//! It pays if what is old does not die, and of what is new most, or, in a large heap, nothing either: else collections that keep
//! marks find little, and what they keep takes memory for which everything has to be marked soon anyway.

use crate::config::{self, Generational};
use crate::kinds;
use crate::pacer;

/// Growth of what is marked, beyond its share, after which everything is marked anew.
const SLACK: usize = 4 << 20;
/// Marked bytes below which marking everything takes no time worth saving.
const SMALL: usize = 16 << 20;
/// The same while all processors are busy with threads that allocate: the collector's thread, which makes such collections, takes one away.
const SMALL_WHEN_BUSY: usize = 4 * SMALL;
/// Marked bytes from which on a heap in which nothing dies is not marked again and again.
const LARGE: usize = pacer::VAIN_MOST;
/// Bytes that a collection with the program stopped may find: some tenths of a millisecond.
const SHORT: usize = 1 << 20;
/// Collections that mark everything after an attempt at one that does not has not paid. Twice as many after the next attempt, and
/// so on up to [`MOST_PATIENCE`].
const PATIENCE: u32 = 8;
const MOST_PATIENCE: u32 = 64;

/// What is known of the objects that survived.
pub(super) struct Generations {
    /// Marks of the last collection are there and mean something.
    usable: bool,
    /// Marked bytes after the last collection that marked everything.
    full: usize,
    /// Marked bytes now.
    old: usize,
    /// What the last collection that kept marks found beyond them; `usize::MAX`: there was none since everything was marked.
    found: usize,
    /// Bytes that were written when the last collection began.
    written: usize,
    /// Percent of what was new that survived that collection.
    survival: usize,
    /// Percent of what was marked that the last collection of everything found dead.
    mortality: usize,
    /// Collections of everything since one that kept marks.
    fulls: u32,
    /// Collections of everything before the next attempt.
    pause: u32,
    /// The last pause.
    patience: u32,
    /// The last collection of everything found a large heap in which nothing had died.
    grew: bool,
    /// Few of the old objects die, and most of the new ones; or none at all.
    promising: bool,
}

impl Generations {
    pub const fn new() -> Self {
        Generations {
            usable: false,
            full: 0,
            old: 0,
            found: usize::MAX,
            written: 0,
            survival: 0,
            mortality: 0,
            fulls: 0,
            pause: 0,
            patience: 0,
            grew: false,
            promising: false,
        }
    }

    /// The next collection may keep the marks.
    pub fn usable(&self) -> bool {
        self.usable && self.pays()
    }

    /// It is worth the while to watch what is written, so that the next collection can keep the marks.
    pub fn pays(&self) -> bool {
        if kinds::has_procedures() {
            // A procedure of the program may follow references that are not in the object's own memory.
            return false;
        }
        let c = config::get();
        match c.generational {
            // Where memory is saved, all of a small heap is written from one collection to the next.
            Generational::Auto if pacer::saves_memory() && self.old < SMALL => false,
            Generational::Auto => self.pause == 0 && (self.promising || pacer::runs_beside()),
            Generational::Yes => true,
            Generational::No => false,
        }
    }

    /// What was watched is not any more.
    pub fn stop_trying(&mut self) {
        self.judge(false);
    }

    /// A collection of everything marked `bytes`, `new` were made since the last one, and of those marked then `mortality` percent died, if
    /// that is known; there may be a processor that the program does not use. Before [`Self::marked`].
    pub fn sampled(&mut self, mortality: Option<usize>, bytes: usize, new: usize, spare: bool) {
        let Some(mortality) = mortality else {
            self.promising = false;
            return;
        };
        let old = self.old / 100 * (100 - mortality);
        let survival = bytes.saturating_sub(old) * 100 / new.max(1);
        let small = if spare { SMALL } else { SMALL_WHEN_BUSY };
        let large = survival < 50 && bytes >= small || self.grows(bytes, new);
        self.promising = mortality < 20 && large;
    }

    /// Of a large heap and the `new` bytes made since the last collection nothing has died: all `bytes` were marked.
    fn grows(&self, bytes: usize, new: usize) -> bool {
        bytes >= LARGE && bytes > (self.old + new) / 64 * 63
    }

    /// An attempt was worth it or not.
    fn judge(&mut self, worth: bool) {
        if worth {
            self.patience = 0;
        } else {
            self.patience = (self.patience * 2).clamp(PATIENCE, MOST_PATIENCE);
            self.pause = self.patience;
        }
    }

    /// The marks mean nothing any more: the next collection marks everything.
    pub fn forget(&mut self) {
        self.usable = false;
    }

    /// Whether the next collection keeps the marks, when `written` bytes have to be scanned again for it.
    pub fn keeps_marks(&self, written: usize) -> bool {
        // What was marked and is dead by now is found only when everything is marked: the sooner the more there was last time.
        let growth = match self.mortality {
            _ if self.grew => (2 * config::get().growth as usize).min(100),
            0..10 => 60,
            m => (50 - (m / 2) as isize).max(10) as usize,
        };
        let grown = self.old > self.full + self.full / 100 * growth + SLACK;
        self.usable() && !grown && self.is_little(written) && !pacer::is_tight()
    }

    /// Scanning what was written is less than marking everything.
    fn is_little(&self, written: usize) -> bool {
        written < self.old / 4 * 3 + 4 * SLACK
    }

    /// The next collection keeps the marks, and has so little to do that it is not worth the while to let the program run beside.
    pub fn is_short(&self) -> bool {
        self.found < SHORT
            && self.written < 4 * SHORT
            && self.fulls == 0
            && self.keeps_marks(self.written)
    }

    /// So many bytes were written since the last collection when this one began.
    pub fn wrote(&mut self, bytes: usize) {
        self.written = bytes;
        if !self.is_little(bytes) {
            self.judge(false);
        }
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
            let little = self.written + bytes < self.old / 2;
            self.judge(self.survival < 50 || self.mortality < 20 && little);
        } else {
            self.grew = self.grows(bytes, new);
            let before = self.old + new / 100 * self.survival.min(100);
            self.mortality = before.saturating_sub(bytes) * 100 / before.max(1);
            (self.full, self.old, self.found) = (bytes, bytes, usize::MAX);
            self.fulls += 1;
            self.pause = self.pause.saturating_sub(1);
        }
        self.usable = true;
        self.old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// A heap of which a collection has marked 100 MB.
    fn marked() -> Generations {
        let mut g = Generations::new();
        g.marked(100 * MB, 100 * MB, false);
        g
    }

    #[test]
    fn pays_if_old_objects_live_and_new_ones_die() {
        for (mortality, marked_bytes, pays) in [
            (Some(0), 104 * MB, true),
            (Some(45), 100 * MB, false),
            (Some(0), 150 * MB, false),
            (None, 104 * MB, false),
            // Of 100 MB and 60 new ones.
            (Some(0), 159 * MB, true),
            (Some(0), 157 * MB, false),
        ] {
            let mut g = marked();
            g.sampled(mortality, marked_bytes, 60 * MB, true);
            assert_eq!(g.pays(), pays, "{mortality:?} {marked_bytes}");
        }
    }

    #[test]
    fn a_small_heap_is_marked_whole() {
        let mut g = Generations::new();
        g.marked(MB, MB, false);
        g.sampled(Some(0), MB, 8 * MB, true);
        assert!(!g.pays());
    }

    #[test]
    fn a_busy_program_is_given_its_processors() {
        let mut g = Generations::new();
        g.marked(30 * MB, 100 * MB, false);
        for (spare, pays) in [(true, true), (false, false)] {
            g.sampled(Some(0), 30 * MB, 60 * MB, spare);
            assert_eq!(g.pays(), pays, "{spare}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_expected_to_be_much() {
        let mut g = marked();
        assert_eq!(g.expected(true), pacer::since(), "all of it may be found");
        assert!(!g.is_short());
        g.marked(MB, 40 * MB, true);
        g.found = 0;
        assert_eq!(g.expected(true), 0);
    }

    #[test]
    fn attempts_that_do_not_pay_become_rarer() {
        let mut g = marked();
        for pause in [8, 16, 32, 64, 64] {
            g.sampled(Some(0), 104 * MB, 60 * MB, true);
            assert!(g.pays());
            g.wrote(200 * MB);
            for _ in 0..pause {
                assert!(!g.pays(), "{pause}");
                g.marked(100 * MB, 60 * MB, false);
            }
        }
        g.sampled(Some(0), 104 * MB, 60 * MB, true);
        assert!(g.pays() && g.keeps_marks(0));
        g.marked(MB, 40 * MB, true);
        g.wrote(200 * MB);
        for _ in 0..8 {
            g.marked(100 * MB, 60 * MB, false);
        }
        assert!(g.pays(), "one that pays makes up for those that did not");
    }
}
