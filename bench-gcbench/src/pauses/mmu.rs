//! Minimum mutator utilisation (Cheng and Blelloch, 2001).

/// Time in which a thread did not get on: where it began and how long it was, in nanoseconds since the thread's start.
pub type Gap = (f64, f64);

/// The smallest share of any window of `window` nanoseconds in `0..elapsed` that is not in a gap. `gaps` ascend and
/// do not overlap. A run shorter than the window is one window.
pub fn minimum_utilisation(gaps: &[Gap], elapsed: f64, window: f64) -> f64 {
    let window = window.min(elapsed);
    if window <= 0.0 {
        return 1.0;
    }
    // Lost time before each gap.
    let before: Vec<f64> = gaps
        .iter()
        .scan(0.0, |sum, gap| {
            let so_far = *sum;
            *sum += gap.1;
            Some(so_far)
        })
        .collect();
    let lost_until = |at: f64| {
        let index = gaps.partition_point(|gap| gap.0 < at);
        match index.checked_sub(1) {
            None => 0.0,
            Some(k) => before[k] + gaps[k].1.min(at - gaps[k].0),
        }
    };
    // What a window loses while it slides only falls from where its start enters a gap, so the most is lost in a window
    // that begins with a gap, or in the last one.
    let starts = gaps.iter().map(|gap| gap.0);
    let most = starts
        .map(|start| start.clamp(0.0, elapsed - window))
        .map(|start| lost_until(start + window) - lost_until(start))
        .fold(0.0, f64::max);
    (1.0 - most / window).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by trying every window at steps of 1.
    fn by_trying(gaps: &[Gap], elapsed: u64, window: u64) -> f64 {
        let lost_in = |from: f64, to: f64| -> f64 {
            let overlap = |g: &Gap| ((g.0 + g.1).min(to) - g.0.max(from)).max(0.0);
            gaps.iter().map(overlap).sum()
        };
        let utilisation =
            |start: u64| 1.0 - lost_in(start as f64, (start + window) as f64) / window as f64;
        (0..=elapsed - window).map(utilisation).fold(1.0, f64::min)
    }

    #[test]
    fn one_gap_costs_its_share_of_the_window() {
        let gaps = [(400.0, 10.0)];
        assert_eq!(minimum_utilisation(&gaps, 1000.0, 50.0), 0.8);
        assert_eq!(minimum_utilisation(&gaps, 1000.0, 10.0), 0.0);
        assert_eq!(minimum_utilisation(&gaps, 1000.0, 5.0), 0.0);
        assert_eq!(minimum_utilisation(&gaps, 1000.0, 2000.0), 0.99);
        assert_eq!(minimum_utilisation(&[], 1000.0, 50.0), 1.0);
        assert_eq!(minimum_utilisation(&[], 0.0, 50.0), 1.0);
    }

    #[test]
    fn gaps_close_to_each_other_add_up_and_those_apart_do_not() {
        let close = [(100.0, 10.0), (120.0, 10.0)];
        let apart = [(100.0, 10.0), (200.0, 10.0)];
        assert_eq!(minimum_utilisation(&close, 1000.0, 50.0), 0.6);
        assert_eq!(minimum_utilisation(&apart, 1000.0, 50.0), 0.8);
    }

    #[test]
    fn windows_lie_inside_the_run() {
        // Both gaps touch an end of the run.
        let gaps = [(0.0, 10.0), (95.0, 5.0)];
        assert_eq!(minimum_utilisation(&gaps, 100.0, 50.0), 0.8);
        assert_eq!(minimum_utilisation(&gaps, 100.0, 100.0), 0.85);
    }

    #[test]
    fn the_same_as_trying_every_window() {
        let mut state = 88172645463325252_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..200 {
            let (mut gaps, mut at) = (Vec::new(), 0);
            while at < 900 {
                at += random(100);
                let length = 1 + random(30);
                gaps.push((at as f64, length as f64));
                at += length;
            }
            let elapsed = at.max(1) + random(50);
            for window in [1, 7, 50, 200] {
                let window = window.min(elapsed);
                let fast = minimum_utilisation(&gaps, elapsed as f64, window as f64);
                let slow = by_trying(&gaps, elapsed, window);
                assert!(
                    (fast - slow).abs() < 1e-9,
                    "{gaps:?} {window}: {fast} {slow}"
                );
            }
        }
    }
}
