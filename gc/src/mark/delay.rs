//! Grey objects that are scanned by their descriptors, while their memory is on its way to the cache: first in, first out.

use super::entry::Entry;
use crate::heap::find;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Objects between prefetch and scan.
const ROOM: usize = 16;

/// The queue. It lies on the stack, where the next collection may find what this one leaves there: the entries are inverted, and so are
/// no pointers.
pub struct Delay {
    entries: [u64; ROOM],
    first: usize,
    end: usize,
}

impl Delay {
    /// With nothing in it.
    pub const EMPTY: Delay = Delay {
        entries: [0; ROOM],
        first: 0,
        end: 0,
    };

    /// Has the memory of a small object fetched, of which the first and the last word are needed first, and puts it in; takes the oldest
    /// out if there is no room. Anything else comes back at once.
    #[inline]
    pub fn exchange(&mut self, entry: Entry) -> Option<Entry> {
        let slot = match entry.is_large() {
            true => None,
            false => find::slot(entry.addr()),
        };
        let Some(slot) = slot else {
            return Some(entry);
        };
        for at in [slot.base, slot.base + slot.size - 8] {
            // SAFETY: prefetching has no effect that a program can see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at as *const i8) };
        }
        let oldest = (self.end - self.first == ROOM)
            .then(|| self.pop())
            .flatten();
        self.entries[self.end % ROOM] = !entry.bits();
        self.end += 1;
        oldest
    }

    /// Takes the oldest.
    #[inline]
    pub fn pop(&mut self) -> Option<Entry> {
        if self.end == self.first {
            return None;
        }
        let bits = !self.entries[self.first % ROOM];
        self.first += 1;
        Some(Entry::from_parts(bits as usize & Entry::ADDRESS, bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{self, alloc};
    use crate::kind::Kind;

    #[test]
    fn gives_everything_back_in_order() {
        heap::init();
        let mut delay = Delay::EMPTY;
        let entries: [Entry; 3 * ROOM] = core::array::from_fn(|_| {
            let p = alloc::alloc(Kind::Uncollectable, 48, true);
            Entry::described(p as usize)
        });
        let mut back = 0;
        for entry in entries {
            if let Some(oldest) = delay.exchange(entry) {
                assert_eq!(oldest, entries[back]);
                back += 1;
            }
        }
        assert_eq!(back, 2 * ROOM);
        let large = Entry::large(entries[0].addr());
        assert_eq!(delay.exchange(large), Some(large));
        while let Some(oldest) = delay.pop() {
            assert_eq!(oldest, entries[back]);
            back += 1;
        }
        assert_eq!(back, entries.len());
    }
}
