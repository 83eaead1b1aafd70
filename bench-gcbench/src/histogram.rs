//! Counts of durations.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Durations in nanoseconds, counted in buckets: an upper bound, and how many lie at or below it and above the bound
/// before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    counts: BTreeMap<u64, u64>,
}

impl Histogram {
    /// From upper bounds and counts.
    pub fn from_pairs(pairs: &[(f64, u64)]) -> Self {
        let mut histogram = Histogram::default();
        for &(upper, count) in pairs {
            *histogram.counts.entry(upper.max(0.0) as u64).or_default() += count;
        }
        histogram
    }

    /// Counts `ns`, rounded up by at most 1/32.
    pub fn record(&mut self, ns: u64) {
        let shift = (64 - ns.leading_zeros()).saturating_sub(6);
        let upper = ns | ((1 << shift) - 1);
        *self.counts.entry(upper).or_default() += 1;
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Histogram) {
        for (&upper, &count) in &other.counts {
            *self.counts.entry(upper).or_default() += count;
        }
    }

    /// How many durations there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The bound that a share of `q` of the durations does not exceed. None without durations.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total = self.total();
        let wanted = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        self.counts
            .iter()
            .find(|&(_, count)| {
                seen += count;
                seen >= wanted
            })
            .map(|(&upper, _)| upper)
    }

    /// Upper bounds, and how many durations lie in this bucket or in a later one.
    pub fn at_least(&self) -> Vec<(u64, u64)> {
        let mut left = self.total();
        let steps = self.counts.iter().map(|(&upper, &count)| {
            let here = left;
            left -= count;
            (upper, here)
        });
        steps.collect()
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(&self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_duration_is_rounded_up_by_a_thirty_second_at_most() {
        for ns in [
            0,
            1,
            31,
            32,
            63,
            64,
            1000,
            123_456,
            999_999_999,
            u64::MAX / 3,
        ] {
            let mut histogram = Histogram::default();
            histogram.record(ns);
            let upper = histogram.quantile(1.0).unwrap();
            assert!(upper >= ns && upper - ns <= ns / 32, "{ns} as {upper}");
        }
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let histogram = Histogram::from_pairs(&[(10.0, 989), (20.0, 10), (5000.0, 1)]);
        assert_eq!(histogram.quantile(0.5), Some(10));
        assert_eq!(histogram.quantile(0.989), Some(10));
        assert_eq!(histogram.quantile(0.99), Some(20));
        assert_eq!(histogram.quantile(0.999), Some(20));
        assert_eq!(histogram.quantile(0.9991), Some(5000));
        assert_eq!(histogram.quantile(1.0), Some(5000));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn at_least_starts_with_all_and_ends_with_the_longest() {
        let mut histogram = Histogram::from_pairs(&[(10.0, 3), (20.0, 2)]);
        histogram.add(&Histogram::from_pairs(&[(20.0, 1)]));
        assert_eq!(histogram.at_least(), [(10, 6), (20, 3)]);
    }
}
