//! Pages that the CPU has written.

use super::{Table, View};
use crate::arch::address::{PAGE, Range, index, span};

/// Iterates over the dirty pages of a range and clears each as it is reported. When it has ended, [`Dirty::finish`] gives what must be flushed.
#[must_use = "pages are read and cleared as this is iterated"]
pub struct Dirty {
    view: View,
    at: u64,
    end: u64,
    /// The table of the 2 MiB block of `at`, looked up once per block.
    leaf: Option<&'static Table>,
    flush: Flush,
}

impl Dirty {
    pub(super) fn new(view: View, range: Range) -> Dirty {
        Dirty {
            view,
            at: range.start,
            end: range.end,
            leaf: view.leaf(range.start),
            flush: Flush::nothing(),
        }
    }

    /// Ends the iteration. Pages not reported yet stay as they are.
    pub fn finish(self) -> Flush {
        self.flush
    }
}

impl Iterator for Dirty {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.at < self.end {
            let page = self.at;
            let Some(leaf) = self.leaf else {
                self.at = Range::block(page, span(2)).end;
                self.leaf = (self.at < self.end)
                    .then(|| self.view.leaf(self.at))
                    .flatten();
                continue;
            };
            self.at += PAGE;
            if self.at.is_multiple_of(span(2)) && self.at < self.end {
                self.leaf = self.view.leaf(self.at);
            }
            if leaf[index(page, 1)].take_dirty() {
                self.flush.add(page);
                return Some(page);
            }
        }
        None
    }
}

/// Most pages that are flushed one by one.
const TARGETED: usize = 32;

/// What TLBs may still hold. As long as it is not flushed ([`crate::Dune::flush`]), a CPU may write to these pages and not set D again.
#[must_use = "before the flush, writes to these pages may go unseen"]
#[derive(Debug)]
pub struct Flush {
    len: usize,
    pages: [u64; TARGETED],
}

impl Flush {
    /// Nothing to flush.
    pub fn nothing() -> Flush {
        Flush {
            len: 0,
            pages: [0; TARGETED],
        }
    }

    /// Every translation.
    pub fn everything() -> Flush {
        Flush {
            len: TARGETED + 1,
            pages: [0; TARGETED],
        }
    }

    /// Adds a page.
    pub fn add(&mut self, page: u64) {
        if self.len < TARGETED {
            self.pages[self.len] = page;
        }
        self.len = (self.len + 1).min(TARGETED + 1);
    }

    /// Adds all of another.
    pub fn join(&mut self, other: Flush) {
        match other.pages() {
            Some(pages) => pages.iter().for_each(|p| self.add(*p)),
            None => self.len = TARGETED + 1,
        }
    }

    /// The pages, if they are few; `None` asks for a flush of everything.
    pub fn pages(&self) -> Option<&[u64]> {
        self.pages.get(..self.len)
    }

    /// Whether nothing is to do.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
