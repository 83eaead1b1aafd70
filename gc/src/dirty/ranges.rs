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

/// The ranges that are tracked, in memory of their own.
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

    /// Adds one, joined with the last if that ends where it begins.
    pub fn push(&mut self, range: Range) -> Result<(), Errno> {
        debug_assert!(range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE));
        if range.is_empty() {
            return Ok(());
        }
        if let Some(last) = self.0.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return Ok(());
        }
        self.0.push(range)
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
        for x in [r(1, 2), r(2, 5), r(7, 7), r(8, 9)] {
            all.push(x).unwrap();
        }
        assert_eq!(all.as_slice(), [r(1, 5), r(8, 9)]);
    }
}
