//! A log-linear histogram of durations, after HdrHistogram (G. Tene): every power of two is cut into 32 equal buckets,
//! so that a value and the bound of its bucket differ by at most 1/32 (3.1 %). Recording is one relaxed atomic add.

use core::sync::atomic::{AtomicU64, Ordering};

/// log2 of the number of buckets per power of two.
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
/// Values from `1 << TOP_BITS` on (137 s in nanoseconds) count in the last bucket.
const TOP_BITS: u32 = 37;
/// Values below `SUB` have a bucket each, then 32 buckets for each power of two.
const BUCKETS: usize = SUB + (TOP_BITS - SUB_BITS) as usize * SUB;

/// Counts of durations in nanoseconds.
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
}

/// The bucket of a value.
fn index(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    if value >> TOP_BITS != 0 {
        return BUCKETS - 1;
    }
    let shift = value.ilog2() - SUB_BITS;
    // value >> shift is in SUB..2 * SUB.
    shift as usize * SUB + (value >> shift) as usize
}

/// The largest value that falls into a bucket.
fn upper(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    let shift = (index / SUB - 1) as u32;
    let sub = (index % SUB + SUB) as u64;
    ((sub + 1) << shift) - 1
}

impl Histogram {
    /// An empty histogram.
    pub const fn new() -> Self {
        Histogram {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    /// Counts one value.
    pub fn record(&self, value: u64) {
        self.counts[index(value)].fetch_add(1, Ordering::Relaxed);
    }

    /// The buckets that are not empty: largest value of the bucket, and count. Ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self
            .counts
            .iter()
            .map(|c| c.load(Ordering::Relaxed))
            .enumerate();
        counted.filter(|&(_, n)| n != 0).map(|(i, n)| (upper(i), n))
    }

    /// The smallest bucket bound that at least `percent` (0 to 100) of the values do not exceed; 0 without values.
    ///
    /// At most 1/32 above the exact quantile (nearest rank) of values below 2^37.
    pub fn percentile(&self, percent: u64) -> u64 {
        let total: u64 = self.buckets().map(|(_, n)| n).sum();
        let rank = (u128::from(total) * u128::from(percent))
            .div_ceil(100)
            .max(1) as u64;
        let mut below = 0;
        for (bound, n) in self.buckets() {
            below += n;
            if below >= rank {
                return bound;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn buckets_tile_the_range() {
        for i in 0..BUCKETS {
            assert_eq!(index(upper(i)), i);
            if i + 1 < BUCKETS {
                assert_eq!(index(upper(i) + 1), i + 1);
            }
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        assert!(upper(BUCKETS - 1) > 100_000_000_000, "100 s are in range");
    }

    #[test]
    fn empty() {
        let h = Histogram::new();
        assert_eq!(h.percentile(99), 0);
        assert_eq!(h.buckets().count(), 0);
    }

    /// Values over all magnitudes alike.
    fn value() -> impl Strategy<Value = u64> {
        (0u32..37, any::<u64>()).prop_map(|(bits, v)| v & ((2 << bits) - 1))
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_a_sort(values in proptest::collection::vec(value(), 1..300), percent in 0u64..=100) {
            let h = Histogram::new();
            values.iter().for_each(|&v| h.record(v));
            let mut sorted: Vec<u64> = values;
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1) as usize;
            let exact = sorted[rank - 1];
            let got = h.percentile(percent);
            prop_assert!(got >= exact && got - exact <= exact / 32, "got {}, exact {}", got, exact);
            prop_assert_eq!(h.buckets().map(|(_, n)| n).sum::<u64>(), sorted.len() as u64);
            prop_assert!(h.buckets().is_sorted_by(|a, b| a.0 < b.0));
        }
    }
}
