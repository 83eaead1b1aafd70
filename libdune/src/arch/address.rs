//! Virtual addresses of user space and their path through the four levels of tables.

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// First address above user space with four levels of tables. Linux keeps the last page for itself.
pub const USER_END: u64 = (1 << 47) - PAGE;
/// Entries of a table.
pub const ENTRIES: usize = 512;

/// The index into the table of `level` (4 is the root, 1 holds pages) for `address`.
pub const fn index(address: u64, level: u32) -> usize {
    ((address >> (12 + 9 * (level - 1))) & 511) as usize
}

/// Bytes that one entry of a table of `level` covers.
pub const fn span(level: u32) -> u64 {
    PAGE << (9 * (level - 1))
}

/// The start of the page of `address`.
pub const fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// The first page boundary not below `address`.
pub const fn page_up(address: u64) -> u64 {
    page_down(address + PAGE - 1)
}

/// Whole pages of user space: `start..end`, both on page boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte behind.
    pub end: u64,
}

impl Range {
    /// The pages that hold `start..end`, cut off at the end of user space.
    pub const fn covering(start: u64, end: u64) -> Range {
        let end = if end > USER_END { USER_END } else { end };
        let start = if start > end { end } else { start };
        Range {
            start: page_down(start),
            end: page_up(end),
        }
    }

    /// The page of an address.
    pub const fn page_of(address: u64) -> Range {
        Range::covering(address, address + 1)
    }

    /// Number of pages.
    pub const fn pages(self) -> u64 {
        (self.end - self.start) / PAGE
    }

    /// Whether an address lies inside.
    pub const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// The part that both have.
    pub fn intersection(self, other: Range) -> Option<Range> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Range { start, end })
    }

    /// The block of `span` bytes (a power of two) that holds `address`.
    pub const fn block(address: u64, span: u64) -> Range {
        let start = address & !(span - 1);
        Range {
            start,
            end: start + span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn indexes_make_up_the_address(page in 0..USER_END / PAGE) {
            let address = page * PAGE;
            let sum: u64 = (1..=4).map(|level| index(address, level) as u64 * span(level)).sum();
            prop_assert_eq!(sum, address);
        }

        #[test]
        fn ranges_cover(start in 0..USER_END, length in 0..1u64 << 40) {
            let range = Range::covering(start, start + length);
            prop_assert!(range.start <= start && range.end <= USER_END);
            prop_assert!(length == 0 || start + length > USER_END || range.contains(start + length - 1));
            prop_assert_eq!(range.start % PAGE + range.end % PAGE, 0);
        }

        #[test]
        fn intersection_holds_what_both_hold(a in 0..100u64, b in 0..100u64, c in 0..100u64, d in 0..100u64, x in 0..100u64) {
            let range = |a: u64, b: u64| Range { start: a.min(b) * PAGE, end: a.max(b) * PAGE };
            let (one, two) = (range(a, b), range(c, d));
            let both = one.intersection(two).is_some_and(|i| i.contains(x * PAGE));
            prop_assert_eq!(both, one.contains(x * PAGE) && two.contains(x * PAGE));
        }
    }

    #[test]
    fn user_space_ends_cut_ranges() {
        assert_eq!(Range::covering(USER_END - 1, u64::MAX).pages(), 1);
        assert_eq!(Range::covering(u64::MAX - 5, u64::MAX).pages(), 0);
        assert_eq!(
            Range::block(0x40_3123, 0x20_0000),
            Range {
                start: 0x40_0000,
                end: 0x60_0000
            }
        );
    }
}
