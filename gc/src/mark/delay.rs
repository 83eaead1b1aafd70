//! Grey objects that are scanned by their descriptors, while their memory is on its way to the cache: first in, first out.

use crate::heap::find;
use crate::kind::Kind;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Objects between prefetch and scan.
const ROOM: usize = 16;
/// Objects put in between looks for idle markers.
const OLD: usize = 128;

/// An object that is scanned by its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it begins.
    pub base: usize,
    /// Its bytes.
    pub size: usize,
    /// Its kind.
    pub kind: Kind,
}

/// The queue: addresses, sizes and kinds. It lies on the stack, where the next collection may find what this one leaves there: the
/// addresses are inverted, and so are no pointers.
pub struct Delay {
    objects: [Described; ROOM],
    first: usize,
    end: usize,
    age: usize,
}

impl Delay {
    /// With nothing in it.
    pub const EMPTY: Delay = Delay {
        objects: [Described {
            base: 0,
            size: 0,
            kind: Kind::Malloc,
        }; ROOM],
        first: 0,
        end: 0,
        age: 0,
    };

    /// Has the memory of the object at `addr` fetched, of which the first and the last word are needed first, and puts it in. Takes the
    /// oldest out if there is no room.
    #[inline]
    pub fn exchange(&mut self, addr: usize) -> Option<Described> {
        let slot = find::slot(addr)?;
        for at in [slot.base, slot.base + slot.size - 8] {
            // SAFETY: prefetching has no effect that a program can see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at as *const i8) };
        }
        let is_full = self.end - self.first == ROOM;
        let oldest = if is_full { self.pop() } else { None };
        self.objects[self.end % ROOM] = Described {
            base: !slot.base,
            size: slot.size,
            kind: slot.info.kind(),
        };
        self.end += 1;
        self.age += 1;
        oldest
    }

    /// Nothing is in it.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.end == self.first
    }

    /// Not many were put in since the marker was last to look around.
    #[inline(always)]
    pub fn is_young(&mut self) -> bool {
        if self.age < OLD {
            return true;
        }
        self.age = 0;
        false
    }

    /// The marker is to look around.
    pub fn grow_old(&mut self) {
        self.age = OLD;
    }

    /// Takes the oldest.
    #[inline]
    pub fn pop(&mut self) -> Option<Described> {
        if self.end == self.first {
            return None;
        }
        let object = self.objects[self.first % ROOM];
        self.first += 1;
        Some(Described {
            base: !object.base,
            ..object
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{self, alloc};

    #[test]
    fn gives_everything_back_in_order() {
        heap::init();
        let mut delay = Delay::EMPTY;
        let objects: [Described; 3 * ROOM] = core::array::from_fn(|_| Described {
            base: alloc::alloc(Kind::Uncollectable, 48, true) as usize,
            size: 48,
            kind: Kind::Uncollectable,
        });
        let mut back = 0;
        for object in objects {
            if let Some(oldest) = delay.exchange(object.base) {
                assert_eq!(oldest, objects[back]);
                back += 1;
            }
        }
        assert_eq!(back, 2 * ROOM);
        while let Some(oldest) = delay.pop() {
            assert_eq!(oldest, objects[back]);
            back += 1;
        }
        assert_eq!(back, objects.len());
    }
}
