//! Free runs of blocks: best-fitting bins, coalescing by tables at both ends, and return of storage to the OS.
//!
//! A free run is *dirty* (storage behind it, content arbitrary) or *clean* (reads as zero). Neighbours of the same sort
//! are merged. Dirty runs are used first. A dirty run becomes clean by `MADV_DONTNEED` once it has been free for the
//! decay time, or at once while more is dirty than is in use (plus a constant), so that memory falls back after a spike
//! even if the program then sleeps.

use super::block::{Block, Info};
use super::layout::{self, BLOCK, table};
use super::populate;
use super::region::{Options, Region};
use crate::sys::lock::{Guard, Lock};
use crate::sys::{clock, mem};
use crate::trace::{self, Event};
use core::sync::atomic::Ordering::Relaxed;

const EXACT: usize = 32;
const BINS: usize = EXACT + 4 * 22;
const DIRTY: u32 = 1;
const CLEAN: u32 = 2;
/// Dirty blocks that may stay beyond the number in use: 16 MiB.
const SLACK: usize = 256;

/// The free runs and the region they come from.
pub struct Runs {
    region: Region,
    dirty: Bins,
    clean: Bins,
    in_use: usize,
    dirty_blocks: usize,
    max: usize,
    decay_ms: u64,
    next_purge: u64,
    /// Dirty blocks that decay does not touch.
    reserve: usize,
    /// Blocks below this were given storage by `populate`, or passed by.
    prepared: usize,
}

struct Bins {
    heads: [Block; BINS],
    filled: u128,
}

static RUNS: Lock<Runs> = Lock::new(Runs::new());

/// A run that was allocated.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// First block.
    pub first: Block,
    /// Every byte is zero.
    pub zero: bool,
}

/// Figures in blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunFigures {
    /// Allocated.
    pub in_use: usize,
    /// Free, with storage.
    pub dirty: usize,
    /// Below the frontier.
    pub frontier: usize,
}

/// Sets up the region. `max` and `decay_ms` (`u64::MAX`: never) may change later.
pub fn init(options: Options, max_bytes: usize, decay_ms: u64) {
    let mut r = RUNS.lock();
    r.region.set_up(options);
    // Block 0 stands for "none" in lists: it is taken here and never given back.
    if let Some(e) = r.region.grow(1) {
        r.insert(Block(e.first as u32 + 1), e.count - 1, CLEAN, 0);
    }
    drop(r);
    set_limits(max_bytes, decay_ms);
}

/// Changes the heap limit and the decay time.
pub fn set_limits(max_bytes: usize, decay_ms: u64) {
    let mut r = RUNS.lock();
    r.max = max_bytes / BLOCK;
    r.decay_ms = decay_ms;
}

/// Bytes of free storage that decay leaves alone, because they will be allocated before the next collection. With the
/// world stopped or in a critical section.
pub fn set_reserve(bytes: usize) {
    RUNS.lock().reserve = bytes / BLOCK;
}

/// The heap limit in bytes.
pub fn max_bytes() -> usize {
    RUNS.lock().max.saturating_mul(BLOCK)
}

/// Allocates `n` contiguous blocks, the first at a multiple of `align` blocks (a power of two). `None` at the heap
/// limit or when the system refuses memory. The caller publishes the info words.
pub fn allocate(n: usize, align: usize) -> Option<Run> {
    let mut r = RUNS.lock();
    if r.in_use.saturating_add(n) > r.max {
        return None;
    }
    let run = if align > 1 {
        r.take_aligned(n, align)
    } else {
        r.take(n)
    }?;
    r.in_use += n;
    if run.zero && n == 1 && r.in_use >= populate::from() {
        let ahead = r.unprepared(run.first, populate::step());
        let (huge, frontier) = (r.region.huge(), r.region.frontier());
        drop(r);
        if ahead > 0 && populate::ahead(run.first, ahead, frontier, huge) {
            crate::mark::pool::ask_one();
        }
    }
    Some(run)
}

/// Gives `n` blocks back. Their info words are cleared here.
pub fn release(first: Block, n: usize) {
    let mut r = RUNS.lock();
    r.in_use -= n;
    let now = clock::coarse_ms();
    r.insert(first, n, DIRTY, now);
    if now >= r.next_purge || r.has_plenty() {
        purge(r, now);
    }
}

/// Purges what has decayed, if it is time: for callers that come by now and then.
pub fn tick() {
    if let Some(r) = RUNS.try_lock() {
        let now = clock::coarse_ms();
        if now >= r.next_purge && r.dirty_blocks > 0 {
            purge(r, now);
        }
    }
}

/// Purges all but `keep` bytes of the dirty runs; true if anything was given back.
pub fn trim(keep: usize) -> bool {
    let mut done = false;
    loop {
        let mut r = RUNS.lock();
        if r.dirty_blocks * BLOCK <= keep {
            return done;
        }
        let Some((b, n)) = r.dirty.largest() else {
            return done;
        };
        r.remove(b, n);
        if !clean_one(r, b, n) {
            return done;
        }
        done = true;
    }
}

/// Figures now.
pub fn figures() -> RunFigures {
    let r = RUNS.lock();
    RunFigures {
        in_use: r.in_use,
        dirty: r.dirty_blocks,
        frontier: r.region.frontier(),
    }
}

/// Blocks below this have tables.
pub fn frontier() -> usize {
    layout::limit() / BLOCK
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Runs> {
    &RUNS
}

/// Gives decayed runs back to the system, the lock released around each system call.
fn purge(mut r: Guard<'static, Runs>, now: u64) {
    if r.decay_ms == u64::MAX {
        r.next_purge = u64::MAX;
        return;
    }
    r.next_purge = now + (r.decay_ms / 2).max(1);
    let pressure = r.has_plenty();
    let target = if pressure {
        r.reserve.max((r.in_use + SLACK) / 2)
    } else {
        r.reserve.min(r.in_use / 2)
    };
    loop {
        let found = if r.dirty_blocks <= target {
            None
        } else if pressure {
            r.dirty.largest()
        } else {
            r.decayed(now)
        };
        let Some((b, n)) = found else { return };
        r.remove(b, n);
        if !clean_one(r, b, n) {
            return;
        }
        r = RUNS.lock();
    }
}

/// Discards the storage of a run that is in no list, with the lock released, and inserts it as clean.
fn clean_one(r: Guard<'static, Runs>, b: Block, n: usize) -> bool {
    drop(r);
    let mut release = trace::span(Event::Release);
    let ok = discard(b, n);
    release.set(if ok { n * BLOCK } else { 0 } as u64);
    drop(release);
    let mut r = RUNS.lock();
    if ok {
        r.insert(b, n, CLEAN, 0);
    } else {
        // mlocked memory: keep it dirty for a long time.
        r.insert(b, n, DIRTY, clock::coarse_ms() + 3_600_000);
    }
    ok
}

/// Gives the storage of free blocks back, with what whole pages of their tables it leaves without use: those are zero, or
/// set anew when a block is made.
fn discard(b: Block, n: usize) -> bool {
    for (start, size) in [
        (table::MARK, table::MARK_SIZE),
        (table::MARK_REST, table::MARK_SIZE),
        (table::SIDE, table::SIDE_SIZE),
        (table::FREE, table::FREE_SIZE),
    ] {
        let at = layout::base() + start + b.0 as usize * size;
        let (lo, hi) = (
            mem::round_up(at, mem::PAGE),
            (at + n * size) & !(mem::PAGE - 1),
        );
        if lo < hi {
            mem::discard(lo, hi - lo);
        }
    }
    if super::has_tags() {
        mem::discard(
            layout::base() + table::TAG + b.0 as usize * table::TAG_SIZE,
            n * table::TAG_SIZE,
        );
    }
    mem::discard(b.addr(), n * BLOCK)
}

impl Runs {
    /// No region, nothing free.
    const fn new() -> Self {
        Runs {
            region: Region::new(),
            dirty: Bins::new(),
            clean: Bins::new(),
            in_use: 0,
            dirty_blocks: 0,
            max: usize::MAX,
            decay_ms: 100,
            next_purge: 0,
            reserve: 0,
            prepared: 0,
        }
    }

    fn take(&mut self, n: usize) -> Option<Run> {
        if let Some((b, len)) = self.dirty.fit(n) {
            self.split(b, len, n);
            return Some(Run {
                first: b,
                zero: false,
            });
        }
        if let Some((b, len)) = self.clean.fit(n) {
            self.split(b, len, n);
            return Some(Run {
                first: b,
                zero: true,
            });
        }
        self.extend(n)?;
        let (b, len) = self.clean.fit(n)?;
        self.split(b, len, n);
        Some(Run {
            first: b,
            zero: true,
        })
    }

    fn take_aligned(&mut self, n: usize, align: usize) -> Option<Run> {
        let whole = n.checked_add(align)?;
        let run = self.take(whole)?;
        // Of the address, not of the place in the heap, whose base may be aligned to less.
        let skew = (run.first.addr() / BLOCK).wrapping_neg() & (align - 1);
        let state = if run.zero { CLEAN } else { DIRTY };
        let now = clock::coarse_ms();
        if skew > 0 {
            self.list(run.first, skew, state, now);
        }
        self.list(run.first.offset(skew + n), whole - skew - n, state, now);
        Some(Run {
            first: run.first.offset(skew),
            zero: run.zero,
        })
    }

    /// Blocks from `b`, just taken, to the end of its `step` ones, if they are the end of the heap that is entered for the
    /// first time; else 0.
    fn unprepared(&mut self, b: Block, step: usize) -> usize {
        let end = (b.0 as usize / step + 1) * step;
        if (b.0 as usize) < self.prepared || end > self.region.frontier() {
            return 0;
        }
        self.prepared = end;
        end - b.0 as usize
    }

    /// Takes the first `n` blocks of a listed run; the rest stays listed.
    fn split(&mut self, b: Block, len: usize, n: usize) {
        let state = b.head().listed.load(Relaxed);
        let since = b.head().stamp.load(Relaxed);
        self.remove(b, len);
        if len > n {
            self.list(b.offset(n), len - n, state, since);
        }
    }

    fn extend(&mut self, n: usize) -> Option<()> {
        let e = match self.region.grow(n) {
            Some(e) => e,
            None => {
                // The system refuses: free runs of both sorts may still make a fitting one together.
                self.clean_all();
                return self.clean.fit(n).map(|_| ());
            }
        };
        let skip = usize::from(e.first == 0);
        self.insert(Block((e.first + skip) as u32), e.count - skip, CLEAN, 0);
        crate::hooks::grown();
        Some(())
    }

    fn clean_all(&mut self) {
        while let Some((b, n)) = self.dirty.largest() {
            self.remove(b, n);
            if !discard(b, n) {
                self.insert(b, n, DIRTY, clock::coarse_ms());
                return;
            }
            self.insert(b, n, CLEAN, 0);
        }
    }

    /// Lists a run that was in use, or nobody's.
    fn insert(&mut self, b: Block, n: usize, state: u32, since: u64) {
        for i in 0..n {
            b.offset(i).set_info(Info::FREE);
        }
        self.list(b, n, state, since);
    }

    /// Lists a run whose blocks all say that they are free, merged with neighbours of the same state. What it takes does not depend
    /// on the length.
    fn list(&mut self, mut b: Block, mut n: usize, state: u32, since: u64) {
        let before = Block(b.0 - 1);
        if before.0 > 0
            && before.head().listed.load(Relaxed) == state
            && before.info() == Info::FREE
        {
            let len = before.head().length.load(Relaxed) as usize;
            let first = Block(before.0 + 1 - len as u32);
            self.remove(first, len);
            b = first;
            n += len;
        }
        let after = b.offset(n);
        if (after.0 as usize) < self.region.frontier()
            && after.head().listed.load(Relaxed) == state
            && after.info() == Info::FREE
        {
            let len = after.head().length.load(Relaxed) as usize;
            self.remove(after, len);
            n += len;
        }
        let last = b.offset(n - 1);
        for end in [b, last] {
            end.head().length.store(n as u64, Relaxed);
            end.head().listed.store(state, Relaxed);
        }
        b.head().stamp.store(since, Relaxed);
        if state == DIRTY {
            self.dirty_blocks += n;
        }
        self.bins(state).push(b, n);
    }

    fn remove(&mut self, b: Block, n: usize) {
        let state = b.head().listed.load(Relaxed);
        if state == DIRTY {
            self.dirty_blocks -= n;
        }
        self.bins(state).unlink(b, n);
        b.head().listed.store(0, Relaxed);
        b.offset(n - 1).head().listed.store(0, Relaxed);
    }

    fn bins(&mut self, state: u32) -> &mut Bins {
        if state == DIRTY {
            &mut self.dirty
        } else {
            &mut self.clean
        }
    }

    /// More is free than in use, or than will be allocated soon.
    fn has_plenty(&self) -> bool {
        self.dirty_blocks > self.in_use.max(self.reserve) + SLACK
    }

    fn decayed(&self, now: u64) -> Option<(Block, usize)> {
        let mut bins = self.dirty.filled;
        while bins != 0 {
            let i = bins.trailing_zeros() as usize;
            bins &= bins - 1;
            let mut b = self.dirty.heads[i];
            while b != Block::NONE {
                if b.head().stamp.load(Relaxed).saturating_add(self.decay_ms) <= now {
                    return Some((b, b.head().length.load(Relaxed) as usize));
                }
                b = Block(b.head().next.load(Relaxed));
            }
        }
        None
    }
}

/// The bin that holds runs of `n` blocks: exact up to [`EXACT`], then four per doubling.
fn bin(n: usize) -> usize {
    if n <= EXACT {
        return n - 1;
    }
    let top = (usize::BITS - 1 - n.leading_zeros()) as usize;
    let sub = (n >> (top - 2)) & 3;
    (EXACT + (top - 5) * 4 + sub).min(BINS - 1)
}

impl Bins {
    const fn new() -> Self {
        Bins {
            heads: [Block::NONE; BINS],
            filled: 0,
        }
    }

    fn push(&mut self, b: Block, n: usize) {
        let i = bin(n);
        let old = self.heads[i];
        b.head().next.store(old.0, Relaxed);
        b.head().prev.store(0, Relaxed);
        if old != Block::NONE {
            old.head().prev.store(b.0, Relaxed);
        }
        self.heads[i] = b;
        self.filled |= 1 << i;
    }

    fn unlink(&mut self, b: Block, n: usize) {
        let i = bin(n);
        let next = Block(b.head().next.load(Relaxed));
        let prev = Block(b.head().prev.load(Relaxed));
        if next != Block::NONE {
            next.head().prev.store(prev.0, Relaxed);
        }
        if prev != Block::NONE {
            prev.head().next.store(next.0, Relaxed);
        } else {
            self.heads[i] = next;
            if next == Block::NONE {
                self.filled &= !(1 << i);
            }
        }
    }

    /// A run of at least `n` blocks: the lowest-addressed of a few candidates in its own bin, else from the next bin.
    fn fit(&self, n: usize) -> Option<(Block, usize)> {
        let own = bin(n);
        let mut best: Option<(Block, usize)> = None;
        let mut b = self.heads[own];
        let mut tries = 0;
        while b != Block::NONE && tries < 16 {
            let len = b.head().length.load(Relaxed) as usize;
            if len >= n && best.is_none_or(|(c, _)| b < c) {
                best = Some((b, len));
            }
            b = Block(b.head().next.load(Relaxed));
            tries += 1;
        }
        if best.is_some() {
            return best;
        }
        let above = if own + 1 < 128 {
            self.filled >> (own + 1) << (own + 1)
        } else {
            0
        };
        if above != 0 {
            let b = self.heads[above.trailing_zeros() as usize];
            return Some((b, b.head().length.load(Relaxed) as usize));
        }
        // The last resort in the own bin beyond the first candidates.
        while b != Block::NONE {
            let len = b.head().length.load(Relaxed) as usize;
            if len >= n {
                return Some((b, len));
            }
            b = Block(b.head().next.load(Relaxed));
        }
        None
    }

    fn largest(&self) -> Option<(Block, usize)> {
        if self.filled == 0 {
            return None;
        }
        let b = self.heads[127 - self.filled.leading_zeros() as usize];
        Some((b, b.head().length.load(Relaxed) as usize))
    }
}

#[cfg(test)]
mod tests;
