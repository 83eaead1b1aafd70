//! Medians and ratios.

use crate::model::{Peer, Variant};
use crate::schedule::Outcome;

/// The middle of `values`; the mean of the middle two of an even number. None without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The n-th root of the product. 1.0 without values.
pub fn geometric_mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 1.0;
    }
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

impl Outcome {
    /// Median of the value: milliseconds or requests per second. None after a failure.
    pub fn value(&self) -> Option<f64> {
        self.failure
            .is_none()
            .then(|| median(self.samples.iter().map(|s| s.value)))
            .flatten()
    }

    /// Median of the peak resident set in MiB. None after a failure.
    pub fn rss(&self) -> Option<f64> {
        self.failure
            .is_none()
            .then(|| median(self.samples.iter().map(|s| s.rss_mib)))
            .flatten()
    }

    /// Median of the longest pause of each run.
    pub fn pause(&self) -> Option<f64> {
        median(self.samples.iter().filter_map(|s| s.pause_max_ms))
    }

    /// Median of the CPU time, user and system.
    pub fn cpu(&self) -> Option<f64> {
        median(self.samples.iter().map(|s| s.user_ms + s.system_ms))
    }

    /// Median of the number of collections.
    pub fn collections(&self) -> Option<f64> {
        median(
            self.samples
                .iter()
                .filter_map(|s| s.collections.map(|c| c as f64)),
        )
    }

    /// Median of the foreign load.
    pub fn load(&self) -> Option<f64> {
        median(self.samples.iter().map(|s| s.foreign_load))
    }

    /// Smallest and largest value.
    pub fn range(&self) -> Option<(f64, f64)> {
        let values = || self.samples.iter().map(|s| s.value);
        Some((
            values().min_by(f64::total_cmp)?,
            values().max_by(f64::total_cmp)?,
        ))
    }
}

/// All outcomes of a session.
pub struct Results<'a>(pub &'a [Outcome]);

impl Results<'_> {
    /// The outcome of one contestant.
    pub fn find(&self, workload: &str, variant: Variant, peer: Peer) -> Option<&Outcome> {
        self.0
            .iter()
            .find(|o| o.workload == workload && o.variant == variant && o.peer == peer)
    }

    /// Median value of one contestant.
    pub fn value(&self, workload: &str, variant: Variant, peer: Peer) -> Option<f64> {
        self.find(workload, variant, peer)?.value()
    }

    /// Median peak RSS of one contestant.
    pub fn rss(&self, workload: &str, variant: Variant, peer: Peer) -> Option<f64> {
        self.find(workload, variant, peer)?.rss()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean(&[0.5, 2.0]) - 1.0).abs() < 1e-12);
    }
}
