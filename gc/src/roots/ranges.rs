//! A set of addresses as sorted, disjoint, non-adjacent ranges.
use crate::sys::raw::Errno;
use crate::sys::scratch::ScratchVec;

/// The set. Ranges are (first address, address behind).
pub struct RangeSet(ScratchVec<(usize, usize)>);

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        RangeSet(ScratchVec::new())
    }

    /// Adds `lo..hi`.
    pub fn add(&mut self, mut lo: usize, mut hi: usize) -> Result<(), Errno> {
        if lo >= hi {
            return Ok(());
        }
        // The ranges that overlap or touch lo..hi are those from `from` to before `to`.
        let from = self.0.partition_point(|r| r.1 < lo);
        let to = self.0.partition_point(|r| r.0 <= hi);
        if from < to {
            lo = lo.min(self.0[from].0);
            hi = hi.max(self.0[to - 1].1);
            self.0[from] = (lo, hi);
            self.0.remove_range(from + 1, to);
            return Ok(());
        }
        self.0.insert(from, (lo, hi))
    }

    /// Removes `lo..hi`: ranges that stick out are cut or split.
    pub fn remove(&mut self, lo: usize, hi: usize) -> Result<(), Errno> {
        if lo >= hi {
            return Ok(());
        }
        let from = self.0.partition_point(|r| r.1 <= lo);
        let to = self.0.partition_point(|r| r.0 < hi);
        if from >= to {
            return Ok(());
        }
        let (head, tail) = ((self.0[from].0, lo), (hi, self.0[to - 1].1));
        match (head.0 < head.1, tail.0 < tail.1) {
            (true, true) if from + 1 == to => {
                self.0.insert(from + 1, tail)?;
                self.0[from] = head;
            }
            (true, true) => {
                self.0[from] = head;
                self.0[to - 1] = tail;
                self.0.remove_range(from + 1, to - 1);
            }
            (true, false) => {
                self.0[from] = head;
                self.0.remove_range(from + 1, to);
            }
            (false, true) => {
                self.0[to - 1] = tail;
                self.0.remove_range(from, to - 1);
            }
            (false, false) => self.0.remove_range(from, to),
        }
        Ok(())
    }

    /// The ranges in ascending order.
    pub fn as_slice(&self) -> &[(usize, usize)] {
        &self.0
    }

    /// Forgets every range, keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether `addr` is in the set.
    pub fn contains(&self, addr: usize) -> bool {
        let i = self.0.partition_point(|r| r.1 <= addr);
        self.0.get(i).is_some_and(|r| r.0 <= addr)
    }

    /// Calls `f` for the parts of `lo..hi` that are not in the set.
    pub fn gaps(&self, mut lo: usize, hi: usize, mut f: impl FnMut(usize, usize)) {
        let from = self.0.partition_point(|r| r.1 <= lo);
        for r in &self.0[from..] {
            if r.0 >= hi {
                break;
            }
            if lo < r.0 {
                f(lo, r.0);
            }
            lo = r.1;
        }
        if lo < hi {
            f(lo, hi);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Ranges of the `true` stretches of a bit vector.
    fn stretches(bits: &[bool], want: bool) -> Vec<(usize, usize)> {
        let mut out: Vec<(usize, usize)> = Vec::new();
        for (i, b) in bits.iter().enumerate() {
            match out.last_mut() {
                Some(r) if *b == want && r.1 == i => r.1 = i + 1,
                _ if *b == want => out.push((i, i + 1)),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn as_a_bit_vector() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % n
        };
        for _ in 0..200 {
            let (mut set, mut bits) = (RangeSet::new(), [false; 64]);
            for _ in 0..100 {
                let (lo, hi) = (below(64), below(65));
                let add = below(2) == 0;
                if add {
                    set.add(lo, hi).unwrap()
                } else {
                    set.remove(lo, hi).unwrap()
                }
                if lo < hi {
                    bits[lo..hi].fill(add);
                }
                assert_eq!(set.as_slice(), stretches(&bits, true));
                let (a, b) = (below(64), below(65));
                let mut gaps = Vec::new();
                set.gaps(a, b, |x, y| gaps.push((x, y)));
                let want: Vec<_> = if a < b {
                    stretches(&bits[a..b], false)
                } else {
                    Vec::new()
                };
                assert_eq!(
                    gaps,
                    want.into_iter()
                        .map(|r| (r.0 + a, r.1 + a))
                        .collect::<Vec<_>>()
                );
                assert_eq!(set.contains(a), bits[a]);
            }
        }
    }
}
