//! A hash map from words to words in its own mapping: open addressing with linear probing and backward-shift deletion.

use super::mem;
use crate::heap::own;
use core::ptr;

/// Maps non-zero words to `V` words. Keys are stored inverted, so that a conservative scan that comes across the table
/// does not take them for pointers.
pub struct WordMap<const V: usize> {
    slots: *mut Slot<V>,
    capacity: usize,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Slot<const V: usize> {
    /// Inverted key; 0 for empty.
    key: usize,
    value: [usize; V],
}

// SAFETY: the map owns its mapping; words are plain data.
unsafe impl<const V: usize> Send for WordMap<V> {}

impl<const V: usize> WordMap<V> {
    /// An empty map without a mapping.
    pub const fn new() -> Self {
        WordMap {
            slots: ptr::null_mut(),
            capacity: 0,
            len: 0,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn slot(&mut self, i: usize) -> &mut Slot<V> {
        debug_assert!(i < self.capacity);
        // SAFETY: `i < capacity`, and the mapping holds `capacity` slots, zero or written here; `self` is borrowed mutably.
        unsafe { &mut *self.slots.add(i) }
    }

    fn home(&self, key: usize) -> usize {
        (key >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & (self.capacity - 1)
    }

    /// Index of the key, or of the empty slot where it belongs.
    fn find(&mut self, key: usize) -> (usize, bool) {
        let mut i = self.home(key);
        loop {
            let k = self.slot(i).key;
            if k == !key {
                return (i, true);
            }
            if k == 0 {
                return (i, false);
            }
            i = (i + 1) & (self.capacity - 1);
        }
    }

    /// The value of `key`.
    pub fn get(&mut self, key: usize) -> Option<[usize; V]> {
        if self.capacity == 0 {
            return None;
        }
        let (i, found) = self.find(key);
        found.then(|| self.slot(i).value)
    }

    /// Sets the value of `key`; false without memory.
    pub fn insert(&mut self, key: usize, value: [usize; V]) -> bool {
        if (self.len + 1) * 4 > self.capacity * 3 && !self.grow() {
            return false;
        }
        let (i, found) = self.find(key);
        *self.slot(i) = Slot { key: !key, value };
        self.len += usize::from(!found);
        true
    }

    /// Removes `key`; its value.
    pub fn remove(&mut self, key: usize) -> Option<[usize; V]> {
        if self.capacity == 0 {
            return None;
        }
        let (mut hole, found) = self.find(key);
        if !found {
            return None;
        }
        let value = self.slot(hole).value;
        let mask = self.capacity - 1;
        let mut i = (hole + 1) & mask;
        while self.slot(i).key != 0 {
            let key = !self.slot(i).key;
            let home = self.home(key);
            // The entry may move back if its home does not lie between the hole and itself.
            if (i.wrapping_sub(home) & mask) >= (i.wrapping_sub(hole) & mask) {
                *self.slot(hole) = *self.slot(i);
                hole = i;
            }
            i = (i + 1) & mask;
        }
        self.slot(hole).key = 0;
        self.len -= 1;
        Some(value)
    }

    /// Calls `f` with every entry.
    pub fn for_each(&mut self, mut f: impl FnMut(usize, [usize; V])) {
        for i in 0..self.capacity {
            let s = *self.slot(i);
            if s.key != 0 {
                f(!s.key, s.value);
            }
        }
    }

    fn grow(&mut self) -> bool {
        let capacity = (self.capacity * 2)
            .max(mem::PAGE / size_of::<Slot<V>>())
            .next_power_of_two();
        let bytes = mem::round_up(capacity * size_of::<Slot<V>>(), mem::PAGE);
        let p = mem::map(bytes);
        if p.is_null() {
            return false;
        }
        own::add(p as usize, bytes);
        let (old, n) = (self.slots, self.capacity);
        self.slots = p.cast();
        self.capacity = capacity;
        self.len = 0;
        for i in 0..n {
            // SAFETY: the old mapping holds `n` slots and is still mapped.
            let s = unsafe { *old.add(i) };
            if s.key != 0 {
                let (j, _) = self.find(!s.key);
                *self.slot(j) = s;
                self.len += 1;
            }
        }
        if n > 0 {
            own::remove(old as usize);
            mem::unmap(
                old as usize,
                mem::round_up(n * size_of::<Slot<V>>(), mem::PAGE),
            );
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_a_hash_map() {
        let mut map = WordMap::<2>::new();
        let mut model = HashMap::new();
        let mut x = 12345u64;
        for step in 0..200_000usize {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let key = ((x >> 40) as usize % 3000 + 1) * 16;
            if x >> 33 & 3 == 0 {
                assert_eq!(map.remove(key), model.remove(&key));
            } else {
                assert!(map.insert(key, [step, key]));
                model.insert(key, [step, key]);
            }
            assert_eq!(map.get(key), model.get(&key).copied());
        }
        let mut n = 0;
        map.for_each(|k, v| {
            assert_eq!(model.get(&k), Some(&v));
            n += 1;
        });
        assert_eq!((n, map.len()), (model.len(), model.len()));
    }
}
