//! Which guest-physical address backs a virtual one. Memory is given to the guest in large chunks, each when it is first needed.

use crate::arch::address::{Range, USER_END};
use crate::error::Error;

/// Bytes of a chunk. With shadow paging the kernel spends 2.6 MB per GiB of chunks.
pub const CHUNK: u64 = 256 << 20;
/// Most chunks: one terabyte in use at a time.
pub const MAX_CHUNKS: usize = 4096;

/// How chunks are placed in guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// At their virtual address: the CPU's physical addresses are wide enough.
    Identity,
    /// One behind the other, in the order of first use.
    Packed,
}

impl Layout {
    /// The layout for a CPU with physical addresses of `bits` bits.
    pub const fn for_width(bits: u32) -> Layout {
        if 1u64 << bits >= USER_END {
            Layout::Identity
        } else {
            Layout::Packed
        }
    }
}

/// A chunk that was added and must be given to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Number of its slot.
    pub slot: u32,
    /// Its virtual addresses.
    pub range: Range,
    /// Its first guest-physical address.
    pub gpa: u64,
}

/// The chunks in use, sorted by address.
pub struct GpaMap {
    layout: Layout,
    /// Most chunks that the engine and the CPU's width allow.
    limit: usize,
    len: usize,
    chunks: [Known; MAX_CHUNKS],
}

#[derive(Clone, Copy)]
struct Known {
    /// Virtual address divided by [`CHUNK`].
    number: u32,
    slot: u32,
}

impl GpaMap {
    /// An empty map for a CPU with physical addresses of `bits` bits and an engine with `slots` slots.
    pub const fn new(layout: Layout, bits: u32, slots: usize) -> GpaMap {
        let mut limit = if slots < MAX_CHUNKS {
            slots
        } else {
            MAX_CHUNKS
        };
        let fit = ((1u64 << bits) / CHUNK) as usize;
        if matches!(layout, Layout::Packed) && fit < limit {
            limit = fit;
        }
        GpaMap {
            layout,
            limit,
            len: 0,
            chunks: [Known { number: 0, slot: 0 }; MAX_CHUNKS],
        }
    }

    fn find(&self, address: u64) -> Result<usize, usize> {
        let number = (address / CHUNK) as u32;
        self.chunks[..self.len].binary_search_by_key(&number, |c| c.number)
    }

    fn gpa(&self, known: Known) -> u64 {
        match self.layout {
            Layout::Identity => u64::from(known.number) * CHUNK,
            Layout::Packed => u64::from(known.slot) * CHUNK,
        }
    }

    /// The guest-physical address of a virtual one whose chunk is in use.
    pub fn get(&self, address: u64) -> Option<u64> {
        let at = self.find(address).ok()?;
        Some(self.gpa(self.chunks[at]) + address % CHUNK)
    }

    /// The same; a chunk that is not in use is added by `back`, which gives it to the engine.
    ///
    /// # Errors
    /// [`Error::SlotLimit`] if no slot is left, or what `back` says; nothing is added then.
    pub fn get_or_add(
        &mut self,
        address: u64,
        back: &mut dyn FnMut(Chunk) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        debug_assert!(address < USER_END);
        let at = match self.find(address) {
            Ok(at) => at,
            Err(at) => {
                if self.len == self.limit {
                    return Err(Error::SlotLimit(self.limit as u32));
                }
                let known = Known {
                    number: (address / CHUNK) as u32,
                    slot: self.len as u32,
                };
                // The last chunk of user space, where the stack may lie, is not whole.
                let block = Range::block(address, CHUNK);
                back(Chunk {
                    slot: known.slot,
                    range: Range {
                        end: block.end.min(USER_END),
                        ..block
                    },
                    gpa: self.gpa(known),
                })?;
                self.chunks.copy_within(at..self.len, at + 1);
                self.chunks[at] = known;
                self.len += 1;
                at
            }
        };
        Ok(self.gpa(self.chunks[at]) + address % CHUNK)
    }

    /// Number of chunks in use.
    pub fn in_use(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn map(layout: Layout, bits: u32, slots: usize) -> Box<GpaMap> {
        Box::new(GpaMap::new(layout, bits, slots))
    }

    proptest! {
        #[test]
        fn addresses_stay_distinct(
            addresses in prop::collection::vec(0..USER_END, 1..200),
            packed: bool,
        ) {
            let layout = if packed { Layout::Packed } else { Layout::Identity };
            let mut map = map(layout, 47, 400);
            let mut slots = Vec::new();
            let mut back = HashMap::new();
            for &a in &addresses {
                let gpa = map.get_or_add(a, &mut |c| { slots.push(c); Ok(()) }).expect("there is room");
                prop_assert_eq!(gpa % CHUNK, a % CHUNK);
                prop_assert!(gpa < USER_END);
                prop_assert!(!packed || gpa < map.in_use() as u64 * CHUNK);
                prop_assert_eq!(*back.entry(gpa).or_insert(a), a);
                let slot = slots.iter().find(|c| c.range.contains(a)).expect("its chunk was given");
                prop_assert_eq!(slot.gpa + (a - slot.range.start), gpa);
            }
            for &a in &addresses {
                prop_assert_eq!(back[&map.get(a).expect("known")], a);
            }
            prop_assert_eq!(slots.len(), map.in_use());
            prop_assert!(slots.iter().enumerate().all(|(i, c)| c.slot as usize == i));
        }
    }

    #[test]
    fn the_limit_is_an_error_and_changes_nothing() {
        let mut map = map(Layout::Packed, 39, 2);
        for a in [CHUNK, 5 * CHUNK] {
            map.get_or_add(a, &mut |_| Ok(())).expect("there is room");
        }
        let full = map.get_or_add(9 * CHUNK, &mut |_| panic!("no slot"));
        assert_eq!(full, Err(Error::SlotLimit(2)));
        assert_eq!(map.get(9 * CHUNK), None);
        assert_eq!(map.get(5 * CHUNK + 3), Some(CHUNK + 3));
    }

    #[test]
    fn the_last_chunk_ends_with_user_space() {
        let mut map = map(Layout::Identity, 48, 10);
        let mut last = Range { start: 0, end: 0 };
        let gpa = map.get_or_add(USER_END - 1, &mut |c| {
            last = c.range;
            Ok(())
        });
        assert_eq!(gpa, Ok(USER_END - 1));
        assert_eq!((last.end, last.start % CHUNK), (USER_END, 0));
    }

    #[test]
    fn a_refused_chunk_is_not_known() {
        let mut map = map(Layout::Identity, 48, 10);
        let refused = map.get_or_add(7, &mut |_| Err(Error::SlotLimit(0)));
        assert!(refused.is_err());
        assert_eq!(map.get(7), None);
        assert_eq!(map.get_or_add(7, &mut |_| Ok(())), Ok(7));
    }

    #[test]
    fn narrow_processors_are_packed() {
        assert_eq!(Layout::for_width(48), Layout::Identity);
        assert_eq!(Layout::for_width(47), Layout::Identity);
        assert_eq!(Layout::for_width(39), Layout::Packed);
        // 36 bits hold 256 chunks, whatever the engine has.
        assert_eq!(map(Layout::Packed, 36, 4096).limit, 256);
    }
}
