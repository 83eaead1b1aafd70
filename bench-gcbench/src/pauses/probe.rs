//! What the probes of the C programs saw; see `c/probe.h`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::pauses::mmu::{Gap, minimum_utilisation};

/// Windows of the minimum mutator utilisation in milliseconds.
pub const WINDOWS: [f64; 4] = [5.0, 20.0, 50.0, 200.0];

/// One thread that was watched.
#[derive(Deserialize)]
pub struct Thread {
    elapsed_ns: f64,
    longest_ns: f64,
    gaps_lost: u64,
    /// Upper bound and count.
    histogram: Vec<(f64, u64)>,
    /// Begin, length, and how much of it the thread waited for a CPU.
    gaps: Vec<(f64, f64, f64)>,
}

/// The log of one run.
#[derive(Deserialize)]
pub struct Log {
    mutators: Vec<Thread>,
    clock: Option<Thread>,
}

/// What the mutators' stamps say of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Stamps {
    /// Longest single allocation.
    pub stall_max_ms: f64,
    /// 99.9 % of the allocations did not take longer.
    pub stall_p999_ms: f64,
    /// Minimum mutator utilisation over each of [`WINDOWS`]: the worst thread's.
    pub mmu: [f64; 4],
    /// The same without the time in which the thread waited for a CPU.
    pub mmu_without_waits: [f64; 4],
    /// Times of all allocations.
    pub stalls: Histogram,
}

/// What the clock's thread saw in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Clock {
    /// Longest time between two readings.
    pub max_ms: f64,
    /// The same without the time in which the thread waited for a CPU.
    pub max_without_waits_ms: f64,
    /// Time between two readings, all of them.
    pub gaps: Histogram,
}

/// What one run gave beside its own result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Of the mutators.
    pub stamps: Option<Stamps>,
    /// Of the clock.
    pub clock: Option<Clock>,
}

impl Log {
    /// Reads the log that a program wrote to `path`.
    pub fn read(path: &Path) -> Result<Log> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the program wrote no {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no log", path.display()))
    }

    /// The figures. An error if a thread had more gaps than its log has room for.
    pub fn evaluate(&self) -> Result<Seen> {
        let lost: u64 = self
            .mutators
            .iter()
            .chain(&self.clock)
            .map(|t| t.gaps_lost)
            .sum();
        if lost > 0 {
            bail!("{lost} gaps found no room in the log");
        }
        Ok(Seen {
            stamps: (!self.mutators.is_empty()).then(|| stamps(&self.mutators)),
            clock: self.clock.as_ref().map(|thread| Clock {
                max_ms: thread.longest_ns / 1e6,
                max_without_waits_ms: thread
                    .without_waits()
                    .iter()
                    .map(|gap| gap.1 / 1e6)
                    .fold(0.0, f64::max),
                gaps: Histogram::from_pairs(&thread.histogram),
            }),
        })
    }
}

fn stamps(threads: &[Thread]) -> Stamps {
    let mut stalls = Histogram::default();
    for thread in threads {
        stalls.add(&Histogram::from_pairs(&thread.histogram));
    }
    let worst = |gaps: &dyn Fn(&Thread) -> Vec<Gap>| {
        WINDOWS.map(|window| {
            threads
                .iter()
                .map(|t| minimum_utilisation(&gaps(t), t.elapsed_ns, window * 1e6))
                .fold(1.0, f64::min)
        })
    };
    Stamps {
        stall_max_ms: threads.iter().map(|t| t.longest_ns).fold(0.0, f64::max) / 1e6,
        stall_p999_ms: stalls.quantile(0.999).unwrap_or(0) as f64 / 1e6,
        mmu: worst(&Thread::whole),
        mmu_without_waits: worst(&Thread::without_waits),
        stalls,
    }
}

impl Thread {
    fn whole(&self) -> Vec<Gap> {
        self.gaps.iter().map(|g| (g.0, g.1)).collect()
    }

    /// The gaps, each shorter by the time for which the thread could have run but had no CPU.
    fn without_waits(&self) -> Vec<Gap> {
        self.gaps
            .iter()
            .map(|g| (g.0, g.1 - g.2.clamp(0.0, g.1)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        serde_json::from_str(text).unwrap()
    }

    const TWO: &str = r#"{"mutators":[
        {"elapsed_ns":1e9,"longest_ns":3e6,"gaps_lost":0,"histogram":[[100,999],[3e6,1]],"gaps":[[5e8,1e7,4e6]]},
        {"elapsed_ns":1e9,"longest_ns":2e6,"gaps_lost":0,"histogram":[[100,1000]],"gaps":[[1e8,2e7,5e7]]}],
        "clock":{"elapsed_ns":1e9,"longest_ns":7e6,"gaps_lost":0,"histogram":[[50,10],[7e6,1]],"gaps":[[3e8,7e6,6e6]]}}"#;

    #[test]
    fn the_worst_thread_counts() {
        let seen = log(TWO).evaluate().unwrap();
        let stamps = seen.stamps.unwrap();
        assert_eq!(stamps.stall_max_ms, 3.0);
        assert_eq!(stamps.stall_p999_ms, 1e-4);
        assert_eq!(stamps.mmu, [0.0, 0.0, 0.6, 0.9]);
        let [_, _, at_50, _] = stamps.mmu_without_waits;
        assert!((at_50 - (1.0 - 6.0 / 50.0)).abs() < 1e-9, "{at_50}");
        let clock = seen.clock.unwrap();
        assert_eq!((clock.max_ms, clock.max_without_waits_ms), (7.0, 1.0));
    }

    #[test]
    fn a_log_that_overflowed_gives_no_figures() {
        let text = TWO.replacen("\"gaps_lost\":0", "\"gaps_lost\":2", 1);
        assert!(log(&text).evaluate().is_err());
    }
}
