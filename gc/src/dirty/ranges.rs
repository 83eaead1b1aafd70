//! Address ranges of whole pages.

use crate::sys::mem::PAGE;
use crate::sys::raw::Errno;
use crate::sys::scratch::ScratchVec;

/// Pages `[start, end)`; both are multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
}

impl Range {
    /// The pages that `[start, end)` touches.
    pub const fn covering(start: usize, end: usize) -> Range {
        Range {
            start: start & !(PAGE - 1),
            end: (end + PAGE - 1) & !(PAGE - 1),
        }
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// No page.
    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Number of pages.
    pub const fn pages(&self) -> usize {
        self.len() / PAGE
    }
}

/// A set of pages as ranges, in memory of their own.
pub struct Ranges(ScratchVec<Range>);

impl Ranges {
    /// None.
    pub const fn new() -> Self {
        Ranges(ScratchVec::new())
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds one, joined with those that it overlaps or touches: what is held is ascending and has gaps between any two.
    pub fn push(&mut self, range: Range) -> Result<(), Errno> {
        debug_assert!(range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE));
        if range.is_empty() {
            return Ok(());
        }
        let from = self.0.partition_point(|r| r.end < range.start);
        let to = from + self.0[from..].partition_point(|r| r.start <= range.end);
        if from == to {
            return self.0.insert(from, range);
        }
        self.0[from] = Range {
            start: range.start.min(self.0[from].start),
            end: range.end.max(self.0[to - 1].end),
        };
        self.0.remove_range(from + 1, to);
        Ok(())
    }

    /// All.
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }
}

/// Joins what a walk reports piecemeal, and cuts off what it reports twice.
pub struct Joiner<'s> {
    held: Range,
    pages: usize,
    sink: &'s mut dyn FnMut(Range),
}

impl<'s> Joiner<'s> {
    /// Passes joined ranges on to `sink`.
    pub fn new(sink: &'s mut dyn FnMut(Range)) -> Self {
        Joiner {
            held: Range { start: 0, end: 0 },
            pages: 0,
            sink,
        }
    }

    /// Adds pages; within one tracked range in ascending order.
    pub fn add(&mut self, mut range: Range) {
        if range.start >= self.held.start {
            range.start = range.start.max(self.held.end);
        }
        if range.is_empty() {
            return;
        }
        if range.start == self.held.end {
            self.held.end = range.end;
        } else {
            self.flush();
            self.held = range;
        }
    }

    fn flush(&mut self) {
        if !self.held.is_empty() {
            self.pages += self.held.pages();
            (self.sink)(self.held);
        }
    }

    /// Passes the last range on; the number of pages in all.
    pub fn finish(mut self) -> usize {
        self.flush();
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn r(a: usize, b: usize) -> Range {
        Range {
            start: a * PAGE,
            end: b * PAGE,
        }
    }

    #[test]
    fn joins_and_cuts() {
        let mut got = Vec::new();
        let mut sink = |x| got.push(x);
        let mut j = Joiner::new(&mut sink);
        for x in [
            r(1, 2),
            r(2, 3),
            r(2, 4),
            r(6, 7),
            r(6, 7),
            r(0, 0),
            r(7, 9),
        ] {
            j.add(x);
        }
        // A tracked range below the last one.
        j.add(r(3, 5));
        assert_eq!(j.finish(), 3 + 3 + 2);
        assert_eq!(got, [r(1, 4), r(6, 9), r(3, 5)]);
    }

    #[test]
    fn covering_rounds_outwards() {
        assert_eq!(Range::covering(PAGE + 1, 2 * PAGE + 1), r(1, 3));
        assert_eq!(Range::covering(PAGE, 2 * PAGE), r(1, 2));
        assert!(Range::covering(PAGE, PAGE).is_empty());
    }

    #[test]
    fn neighbours_are_one_range() {
        let mut all = Ranges::new();
        for x in [r(8, 9), r(1, 2), r(7, 7), r(2, 5), r(20, 30)] {
            all.push(x).unwrap();
        }
        assert_eq!(all.as_slice(), [r(1, 5), r(8, 9), r(20, 30)]);
        for x in [r(5, 8), r(22, 24), r(40, 41), r(19, 40)] {
            all.push(x).unwrap();
        }
        assert_eq!(all.as_slice(), [r(1, 9), r(19, 41)]);
    }

    #[test]
    fn any_order_gives_the_same_pages() {
        let mut seed = 1u64;
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % n
        };
        for _ in 0..200 {
            let (mut all, mut model) = (Ranges::new(), [false; 100]);
            for _ in 0..below(40) {
                let (a, n) = (below(90), below(10));
                all.push(r(a, a + n)).unwrap();
                model[a..a + n].fill(true);
                let mut got = [false; 100];
                for x in all.as_slice() {
                    got[x.start / PAGE..x.end / PAGE].fill(true);
                }
                assert_eq!(got, model);
                assert!(all.as_slice().windows(2).all(|w| w[0].end < w[1].start));
            }
        }
    }
}
