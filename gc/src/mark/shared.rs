//! What the markers of one mark phase share: root work, deques, and the end of the phase.

use super::deque::Deque;
use super::dirty::{self, Kinds};
use super::marker::{Marker, Tally};
use super::packet::{Left, Packet};
use super::phase::Phase;
use super::shape::{self, SHAPES};
use crate::heap::block::Block;
use crate::heap::{find, runs};
use crate::kind::Kind;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Most markers.
pub const MAX_MARKERS: usize = 64;
/// Bytes that a helping thread owes for each look for work.
const PER_LOOK: u64 = 256;
/// Most looks for work: some ten microseconds.
const MOST_LOOKS: u64 = 256;
/// Number of a marker that has no deque.
const NO_DEQUE: usize = MAX_MARKERS;
/// Blocks of explicit objects claimed at a time as roots.
const BATCH: usize = 64;

/// A piece of memory scanned as a root, 8-byte aligned ends.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First byte.
    pub lo: usize,
    /// End.
    pub hi: usize,
}

/// State of a mark phase. One exists; phases follow one another.
pub struct Shared {
    deques: [Deque; MAX_MARKERS],
    /// Work that somebody left without a deque of his own.
    left: Left,
    phase: Phase,
    help_offered: AtomicBool,
    progress: AtomicU64,
    count: AtomicUsize,
    ranges: AtomicUsize,
    range_count: AtomicUsize,
    next_range: AtomicUsize,
    pages: AtomicUsize,
    page_count: AtomicUsize,
    next_pages: AtomicUsize,
    next_block: AtomicUsize,
    end_block: AtomicUsize,
    shapes: [AtomicU64; SHAPES],
    traced: AtomicU32,
    explicit: AtomicU32,
    tagged: AtomicBool,
    overflow: AtomicBool,
    objects: AtomicU64,
    bytes: AtomicU64,
    atomic: AtomicU64,
    roots: AtomicU64,
}

/// What a mark phase traces.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Kinds whose objects are marked when reached, as bits.
    pub traced: u32,
    /// Kinds whose allocated objects are all roots, as bits.
    pub explicit: u32,
    /// Words with something in the top 16 bits are tried without it, too.
    pub tagged: bool,
}

/// Where a mark phase begins.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Roots.
    pub roots: &'a [Range],
    /// Parts of the heap that were written: marked objects and those that are roots are scanned there.
    pub written: &'a [Range],
    /// All objects of the kinds that are roots are scanned.
    pub explicit_objects: bool,
}

impl<'a> Work<'a> {
    /// Everything reachable is marked from `roots`.
    pub fn all(roots: &'a [Range]) -> Self {
        Work {
            roots,
            written: &[],
            explicit_objects: true,
        }
    }
}

static SHARED: Shared = Shared {
    deques: [const { Deque::new() }; MAX_MARKERS],
    left: Left::new(),
    phase: Phase::new(),
    help_offered: AtomicBool::new(false),
    progress: AtomicU64::new(0),
    count: AtomicUsize::new(1),
    ranges: AtomicUsize::new(0),
    range_count: AtomicUsize::new(0),
    next_range: AtomicUsize::new(0),
    pages: AtomicUsize::new(0),
    page_count: AtomicUsize::new(0),
    next_pages: AtomicUsize::new(0),
    next_block: AtomicUsize::new(0),
    end_block: AtomicUsize::new(0),
    shapes: [const { AtomicU64::new(0) }; SHAPES],
    traced: AtomicU32::new(0),
    explicit: AtomicU32::new(0),
    tagged: AtomicBool::new(false),
    overflow: AtomicBool::new(false),
    objects: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    atomic: AtomicU64::new(0),
    roots: AtomicU64::new(0),
};

/// The mark phase.
pub fn shared() -> &'static Shared {
    &SHARED
}

impl Shared {
    /// Prepares a phase for up to `markers` markers. The ranges of `work` must stay where they are until it is over.
    pub fn begin(&self, scope: Scope, work: Work, markers: usize) {
        self.traced.store(scope.traced, Relaxed);
        shape::fill(&self.shapes, scope.traced);
        self.explicit.store(scope.explicit, Relaxed);
        self.tagged.store(scope.tagged, Relaxed);
        self.overflow.store(false, Relaxed);
        self.ranges.store(work.roots.as_ptr() as usize, Relaxed);
        self.range_count.store(work.roots.len(), Relaxed);
        self.next_range.store(0, Relaxed);
        self.pages.store(work.written.as_ptr() as usize, Relaxed);
        self.page_count.store(work.written.len(), Relaxed);
        self.next_pages.store(0, Relaxed);
        self.next_block.store(1, Relaxed);
        let explicit = work.explicit_objects && scope.explicit != 0;
        self.end_block
            .store(if explicit { runs::frontier() } else { 0 }, Relaxed);
        self.objects.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
        self.atomic.store(0, Relaxed);
        self.roots.store(0, Relaxed);
        self.count.store(markers.clamp(1, MAX_MARKERS), Relaxed);
        // The leader is at work from now on; this publishes all of the above to markers that join.
        self.phase.begin();
    }

    /// In a fork child, where only the calling thread is left: a phase under way is given up. Packets that its markers held are lost.
    pub fn after_fork_child(&self) {
        self.phase.reset();
        self.deques.iter().for_each(Deque::reset);
        // SAFETY: there is no other thread, and this one was not marking.
        unsafe { self.left.reset() };
    }

    /// The leader's part, until the phase is over. The total over all markers. `None` if there was no memory for the
    /// leader's packets.
    pub fn lead(&self) -> Option<Tally> {
        let mut m = Marker::new(self, 0, self.count.load(Relaxed) == 1)?;
        self.work(&mut m);
        // Somebody who helped for a while may have left work when all others were done.
        while !self.left.is_empty() {
            self.phase.begin();
            self.work(&mut m);
        }
        Some(Tally {
            objects: self.objects.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            atomic: self.atomic.load(Relaxed),
            roots: self.roots.load(Relaxed),
            written: 0,
        })
    }

    /// A phase whose leader has no memory for its packets is called off; helpers finish what they took.
    pub fn abandon(&self) {
        self.next_range.store(usize::MAX / 2, Relaxed);
        self.next_pages.store(usize::MAX / 2, Relaxed);
        self.next_block.store(usize::MAX / 2, Relaxed);
        let phase = self.phase.current();
        self.phase.leave();
        while !self.phase.is_over(phase) {
            core::hint::spin_loop();
        }
    }

    /// A helper's part in the phase that is under way, if there is one and room in it.
    pub fn help(&self, id: usize) {
        let Some(phase) = self.phase.under_way() else {
            return;
        };
        if id >= self.count.load(Relaxed) || !self.phase.join(phase) {
            return;
        }
        match Marker::new(self, id, false) {
            Some(mut m) => self.work(&mut m),
            None => self.phase.leave(),
        }
    }

    fn work(&self, m: &mut Marker) {
        let phase = self.phase.current();
        loop {
            m.drain();
            if self.roots_step(m) || self.steal(m) {
                continue;
            }
            self.count_in(m);
            // Idle. Work appears only from markers at work, so none at work means none left.
            self.phase.leave();
            let mut spins = 0u32;
            loop {
                if self.phase.is_over(phase) {
                    return;
                }
                if self.has_work() && self.phase.join(phase) {
                    break;
                }
                spins += 1;
                if spins < 1000 {
                    core::hint::spin_loop();
                } else {
                    // SAFETY: sched_yield has no preconditions.
                    unsafe { libc::sched_yield() };
                }
            }
        }
    }

    fn count_in(&self, m: &mut Marker) {
        let t = m.take_tally();
        self.objects.fetch_add(t.objects, Relaxed);
        self.bytes.fetch_add(t.bytes, Relaxed);
        self.atomic.fetch_add(t.atomic, Relaxed);
        self.roots.fetch_add(t.roots, Relaxed);
    }

    /// A thread of the program marks about `bytes` bytes in a phase under way, or looks through as much written memory, if there is something
    /// for it to do; how much it did. In a critical section: the phase does not end before it leaves.
    pub fn assist(&self, bytes: u64) -> u64 {
        let Some(phase) = self.phase.under_way() else {
            return 0;
        };
        if !self.phase.join(phase) {
            return 0;
        }
        let mut done = 0;
        while done < bytes
            && let Some(mut m) = Marker::new(self, NO_DEQUE, true)
            && self.find_work(&mut m, bytes, done == 0)
        {
            m.help((bytes - done).saturating_sub(m.tally.written));
            done += m.tally.bytes + m.tally.written;
            self.count_in(&mut m);
        }
        self.phase.leave();
        done
    }

    /// Finds something for a thread that helps. With `wait` it looks for a while if the thread owes much.
    fn find_work(&self, m: &mut Marker, bytes: u64, wait: bool) -> bool {
        if self.steal(m) || self.roots_step(m) {
            return true;
        }
        if !wait {
            return false;
        }
        self.help_offered.store(true, Relaxed);
        (0..(bytes / PER_LOOK).min(MOST_LOOKS)).any(|_| {
            core::hint::spin_loop();
            self.steal(m)
        })
    }

    /// Bytes marked so far in all phases since [`Self::reset_progress`], as far as markers told.
    pub fn progress(&self) -> u64 {
        self.progress.load(Relaxed)
    }

    /// Begins to count progress.
    pub fn reset_progress(&self) {
        self.progress.store(0, Relaxed);
    }

    /// A marker marked `bytes` more.
    pub fn progressed(&self, bytes: u64) {
        self.progress.fetch_add(bytes, Relaxed);
    }

    /// Somebody looked for work and found none since this was last asked.
    #[inline]
    pub fn is_help_offered(&self) -> bool {
        self.help_offered.load(Relaxed) && self.help_offered.swap(false, Relaxed)
    }

    /// Where markers without a deque leave work.
    pub fn left(&self) -> &Left {
        &self.left
    }

    fn has_work(&self) -> bool {
        self.next_range.load(Relaxed) < self.range_count.load(Relaxed)
            || self.next_pages.load(Relaxed) < self.page_count.load(Relaxed)
            || self.next_block.load(Relaxed) < self.end_block.load(Relaxed)
            || !self.left.is_empty()
            || self.deques[..self.count.load(Relaxed)]
                .iter()
                .any(|d| !d.is_empty())
    }

    fn steal(&self, m: &mut Marker) -> bool {
        for d in &self.deques[..self.count.load(Relaxed)] {
            if let Some(p) = d.steal() {
                m.adopt(p as *mut Packet);
                return true;
            }
        }
        if let Some(p) = self.left.pop() {
            m.adopt(p);
            return true;
        }
        false
    }

    /// Scans one root range, one range of written pages, or one batch of explicit blocks; false if none is left.
    fn roots_step(&self, m: &mut Marker) -> bool {
        let i = self.next_range.fetch_add(1, Relaxed);
        if i < self.range_count.load(Relaxed) {
            // SAFETY: `begin` was given `range_count` ranges at this address, which stay there during the phase.
            let r = unsafe { *(self.ranges.load(Relaxed) as *const Range).add(i) };
            m.tally.roots += (r.hi - r.lo) as u64;
            m.range(r.lo, r.hi);
            return true;
        }
        self.next_range.store(usize::MAX / 2, Relaxed);
        let i = self.next_pages.fetch_add(1, Relaxed);
        if i < self.page_count.load(Relaxed) {
            // SAFETY: as above, with `page_count` ranges.
            let r = unsafe { *(self.pages.load(Relaxed) as *const Range).add(i) };
            let kinds = Kinds {
                traced: self.traced.load(Relaxed),
                explicit: self.explicit.load(Relaxed),
            };
            dirty::scan(m, r.lo, r.hi, kinds);
            m.tally.written += (r.hi - r.lo) as u64;
            self.progressed((r.hi - r.lo) as u64);
            return true;
        }
        self.next_pages.store(usize::MAX / 2, Relaxed);
        if self.next_block.load(Relaxed) >= self.end_block.load(Relaxed) {
            return false;
        }
        let first = self.next_block.fetch_add(BATCH, Relaxed);
        let end = self.end_block.load(Relaxed);
        for b in first..(first + BATCH).min(end) {
            self.explicit_block(m, Block(b as u32));
        }
        first < end
    }

    fn explicit_block(&self, m: &mut Marker, b: Block) {
        let info = b.info();
        if self.explicit.load(Relaxed) >> info.kind().bit() & 1 == 0 {
            return;
        }
        find::each_in(b, info, |s| {
            m.tally.roots += s.size as u64;
            m.range(s.base, s.base + s.size);
        });
    }

    /// The deque of marker `id`; `None` for [`NO_DEQUE`].
    #[inline]
    pub fn deque(&self, id: usize) -> Option<&Deque> {
        self.deques.get(id)
    }

    /// Kinds that are traced, as bits.
    pub fn traced(&self) -> u32 {
        self.traced.load(Relaxed)
    }

    /// The shapes of objects, of which those of kinds that are not traced are not marked.
    pub fn shapes(&self) -> &[AtomicU64; SHAPES] {
        &self.shapes
    }

    /// Whether top bits are cut off.
    pub fn tagged(&self) -> bool {
        self.tagged.load(Relaxed)
    }

    /// A marker waits for work, or could join.
    #[inline]
    pub fn someone_idle(&self) -> bool {
        self.phase.at_work() < self.count.load(Relaxed)
    }

    /// A marker had no memory for a grey object: the phase has to be completed by rescanning marked objects.
    #[cold]
    pub fn overflowed(&self) {
        self.overflow.store(true, Relaxed);
    }

    /// Whether a marker overflowed since this was last asked.
    pub fn take_overflow(&self) -> bool {
        self.overflow.swap(false, Relaxed)
    }

    /// Kinds that are traced and scanned, for rescanning after an overflow.
    pub fn scans(&self, kind: Kind) -> bool {
        kind.is_scanned() && self.traced() >> kind.bit() & 1 != 0
    }
}
