//! Pointers that a program stores in another form, as far as they are recognised where malloc'ed blocks are reclaimed.

/// The offset into the heap of what `word` leads to: an address there, one with a tag in its top 16 bits, or one turned right by
/// one bit with the top bit set. Not below `limit` if it is none of them.
///
/// The last form is that of `semver::Identifier`, in which cargo and whoever else reads versions of crates keeps strings: the
/// lowest bit, clear in an address, is set and becomes the sign.
#[inline(always)]
pub fn offset(word: usize, base: usize, limit: usize) -> usize {
    // The top 17 bits: 16, and the one that is clear in addresses of user space.
    let untagged = (word & ((1 << 47) - 1)).wrapping_sub(base);
    if (word as isize) < 0 && untagged >= limit {
        return (word << 1).wrapping_sub(base);
    }
    untagged
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 0x3428_0000_0000;
    const LIMIT: usize = 1 << 32;

    fn leads_to(word: usize) -> Option<usize> {
        let off = offset(word, BASE, LIMIT);
        (off < LIMIT).then_some(off)
    }

    #[test]
    fn addresses_with_and_without_tags() {
        for off in [0, 8, 0x4c_5ff0, LIMIT - 1] {
            let addr = BASE + off;
            assert_eq!(leads_to(addr), Some(off));
            for tag in [1, 0x7fff, 0x8000, 0xffff] {
                assert_eq!(leads_to(addr | tag << 48), Some(off), "{tag:#x}");
            }
        }
    }

    #[test]
    fn addresses_turned_right() {
        for off in [0, 16, 0x4c_5ff0, LIMIT - 16] {
            assert_eq!(leads_to((BASE + off | 1).rotate_right(1)), Some(off));
        }
        assert_eq!(leads_to((BASE + 16) >> 1), None, "without the sign");
        assert_eq!(leads_to((BASE + 16) >> 1 | 3 << 62), None, "with a tag");
    }

    #[test]
    fn other_words() {
        for word in [0, 1, usize::MAX, BASE - 1, BASE + LIMIT, 1 << 63] {
            assert_eq!(leads_to(word), None, "{word:#x}");
        }
    }
}
