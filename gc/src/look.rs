//! The last harvest of a collection, shared with the helpers: which of the watched pages were written. The kernel goes through their page table
//! entries one by one, 3 to 4 ns each, and with the world stopped.

use crate::dirty::{self, Range, Reader};
use crate::mark::{errand, pool};
use crate::sys::lock::Lock;
use crate::sys::mem::PAGE;
use crate::sys::scratch::ScratchVec;
use core::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// Most parts.
const PARTS: usize = 64;
/// Most ranges that a part reports. There are few where collections beside a program converge.
const MOST: usize = 32;
/// Least bytes of a part: some 15 microseconds. Checked builds cut small heaps as well.
const LEAST: usize = if cfg!(feature = "paranoid") {
    1 << 16
} else {
    16 << 20
};

/// [`Part::count`] of a part that found more than it holds.
const OVERFLOW: usize = usize::MAX;
/// Of one whose scan failed.
const FAILED: usize = usize::MAX - 1;

/// What was found in one part.
struct Part {
    count: AtomicUsize,
    ranges: [[AtomicUsize; 2]; MOST],
}

static FOUND: [Part; PARTS] = [const {
    Part {
        count: AtomicUsize::new(0),
        ranges: [const { [const { AtomicUsize::new(0) }; 2] }; MOST],
    }
}; PARTS];

/// What is looked through.
struct Look {
    reader: Option<Reader>,
    ranges: ScratchVec<Range>,
    /// Bytes of each part: the ranges one behind the other, cut.
    part: usize,
    parts: usize,
}

static LOOK: Lock<Look> = Lock::new(Look {
    reader: None,
    ranges: ScratchVec::new(),
    part: 0,
    parts: 0,
});

/// With the world stopped: helpers begin to look. False if it is not worth it, or the source cannot: nothing has begun then.
pub fn begin() -> bool {
    if pool::helpers() == 0 {
        return false;
    }
    let mut look = LOOK.lock();
    let Look { ranges, .. } = &mut *look;
    ranges.clear();
    let (mut ok, mut bytes) = (true, 0);
    let reader = dirty::reader(|list| {
        for &r in list {
            bytes += r.len();
            ok &= ranges.push(r).is_ok();
        }
    });
    if !ok || bytes < 2 * LEAST || reader.is_none() {
        return false;
    }
    look.reader = reader;
    look.parts = (bytes / LEAST).min(PARTS);
    look.part = bytes.div_ceil(look.parts).next_multiple_of(PAGE);
    let parts = look.parts;
    drop(look);
    errand::begin(parts, find);
    true
}

/// Ends what [`begin`] began: reports what was written. `None` if that cannot be known this way.
pub fn end(sink: &mut dyn FnMut(Range)) -> Option<()> {
    errand::finish();
    let parts = LOOK.lock().parts;
    for (i, part) in FOUND[..parts].iter().enumerate() {
        match part.count.load(Acquire) {
            FAILED => return None,
            OVERFLOW => scan(i, sink)?,
            n => part.ranges[..n].iter().for_each(|[start, end]| {
                sink(Range {
                    start: start.load(Relaxed),
                    end: end.load(Relaxed),
                });
            }),
        }
    }
    Some(())
}

/// Looks through one part, and keeps what it finds.
fn find(part: usize) {
    let found = &FOUND[part];
    let mut n = 0;
    let scanned = scan(part, &mut |r| {
        if let Some([start, end]) = found.ranges.get(n) {
            start.store(r.start, Relaxed);
            end.store(r.end, Relaxed);
        }
        n += 1;
    });
    let count = match scanned {
        None => FAILED,
        Some(()) if n > MOST => OVERFLOW,
        Some(()) => n,
    };
    found.count.store(count, Release);
}

/// Reports what was written in one part.
fn scan(part: usize, sink: &mut dyn FnMut(Range)) -> Option<()> {
    let (mut skip, mut left, reader) = {
        let look = LOOK.lock();
        (part * look.part, look.part, look.reader?)
    };
    let mut next = 0;
    while left > 0 {
        let Some(&range) = LOOK.lock().ranges.get(next) else {
            break;
        };
        next += 1;
        if skip >= range.len() {
            skip -= range.len();
            continue;
        }
        let start = range.start + skip;
        let end = range.end.min(start + left);
        skip = 0;
        left -= end - start;
        reader.written(Range { start, end }, sink).ok()?;
    }
    Some(())
}

/// In a fork child, whose parent was not in a stop.
pub fn after_fork_child() {
    // SAFETY: only this thread exists, and it holds no guard.
    unsafe { LOOK.reset() };
}
