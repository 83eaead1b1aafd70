//! The bars: what the collector must and wants to reach, as ratios within one session.

use serde::Serialize;

use crate::model::Peer::{self, Dunegc, Glibc, Libgc, Mimalloc};
use crate::model::Variant::{Collected, Freeing, Malloc};
use crate::schedule::Outcome;
use crate::summary::{Results, geometric_mean};

/// One bar and what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What is compared.
    pub name: String,
    /// The measured ratio, or a figure in `unit`; none when it could not be measured.
    pub ratio: Option<f64>,
    /// The unit; empty for ratios.
    pub unit: &'static str,
    /// The same ratio of CPU time, which a busy machine disturbs less; none where time is not compared.
    pub cpu_ratio: Option<f64>,
    /// The ratio that must be reached.
    pub must: f64,
    /// The ratio to aim at; none where `aim_text` is no ratio.
    pub aim: Option<f64>,
    /// The aim in words.
    pub aim_text: String,
    /// Whether the ratio is a rate that must be at least `must`; otherwise it must be at most `must`.
    pub at_least: bool,
    /// A condition of the aim beside the ratio; none where it could not be judged or there is none.
    pub aim_condition: Option<bool>,
    /// What is missing when there is no ratio.
    pub missing: Option<String>,
}

impl Bar {
    /// Whether the `must` is reached.
    pub fn must_holds(&self) -> Option<bool> {
        self.ratio.map(|ratio| self.reaches(ratio, self.must))
    }

    fn reaches(&self, ratio: f64, bar: f64) -> bool {
        if self.at_least {
            ratio >= bar
        } else {
            ratio <= bar
        }
    }

    /// Whether the aim is reached.
    pub fn aim_holds(&self) -> Option<bool> {
        let ratio = self.ratio?;
        let by_ratio = self.aim.is_none_or(|aim| self.reaches(ratio, aim));
        Some(by_ratio && self.aim_condition.unwrap_or(true))
    }
}

/// The programs whose collected variants are held against libgc: name, must and aim for time.
const COLLECTED: [(&str, f64, f64); 5] = [
    ("gcbench", 0.60, 0.45),
    ("gcbench-22", 0.50, 0.25),
    ("list", 0.60, 0.35),
    ("hashmap", 0.85, 0.70),
    ("xml", 0.65, 0.45),
];

/// All bars, judged by the medians in `results`.
pub fn judge(results: &Results<'_>) -> Vec<Bar> {
    let mut bars = Vec::new();
    let cpu = |name: &str, variant, peer| results.find(name, variant, peer).and_then(Outcome::cpu);
    for (name, must, aim) in COLLECTED {
        let ours = results.value(name, Collected, Dunegc);
        let theirs = results.value(name, Collected, Libgc);
        let mut bar = at_most(
            format!("{name}, collected: time vs libgc"),
            quotient(ours, theirs),
            must,
            aim,
        );
        bar.cpu_ratio = quotient(cpu(name, Collected, Dunegc), cpu(name, Collected, Libgc)).ok();
        if name == "gcbench" {
            bar.aim_text = format!("≤ {aim:.2}, and below mimalloc with free");
            bar.aim_condition = ours
                .zip(results.value(name, Malloc, Mimalloc))
                .map(|(us, them)| us < them);
        }
        bars.push(bar);
    }
    for (name, ..) in COLLECTED {
        let ratio = quotient(
            results.rss(name, Collected, Dunegc),
            results.rss(name, Collected, Libgc),
        );
        bars.push(at_most(
            format!("{name}, collected: peak RSS vs libgc"),
            ratio,
            1.0,
            0.7,
        ));
    }
    let freeing = |peer| results.value("gcbench", Freeing, peer);
    let ratio = quotient(freeing(Dunegc), freeing(Libgc));
    let mut bar = at_most(
        "gcbench, collected API with explicit free: time vs libgc".into(),
        ratio,
        0.35,
        0.25,
    );
    bar.cpu_ratio = quotient(
        cpu("gcbench", Freeing, Dunegc),
        cpu("gcbench", Freeing, Libgc),
    )
    .ok();
    bars.push(bar);

    let malloc_time = |name: &str, peer: Peer| results.value(name, Malloc, peer);
    let malloc_rss = |name: &str, peer: Peer| results.rss(name, Malloc, peer);
    let malloc_cpu = |name: &str, peer: Peer| cpu(name, Malloc, peer);
    let name = "malloc/free of those five: time vs mimalloc, geometric mean";
    let mut bar = at_most(name.into(), mean_ratio(&malloc_time), 1.15, 1.0);
    bar.cpu_ratio = mean_ratio(&malloc_cpu).ok();
    bars.push(bar);
    let name = "malloc/free of those five: peak RSS vs mimalloc, geometric mean";
    bars.push(at_most(name.into(), mean_ratio(&malloc_rss), 1.15, 1.0));

    let ratio = quotient(
        malloc_time("xmalloc", Dunegc),
        malloc_time("xmalloc", Mimalloc),
    );
    let mut bar = at_most(
        "xmalloc, 2 threads: time vs mimalloc".into(),
        ratio,
        1.2,
        0.8,
    );
    bar.cpu_ratio = quotient(
        malloc_cpu("xmalloc", Dunegc),
        malloc_cpu("xmalloc", Mimalloc),
    )
    .ok();
    bars.push(bar);
    for name in ["redis-p1", "redis-p16"] {
        bars.push(redis(results, name));
    }
    let collected = |name| results.value(name, Collected, Dunegc);
    let ratio = quotient(collected("gcbench-2t"), collected("gcbench"));
    bars.push(at_most(
        "gcbench, collected: 2 threads vs 1 thread, same work each".into(),
        ratio,
        1.4,
        1.15,
    ));
    bars
}

fn redis(results: &Results<'_>, name: &str) -> Bar {
    let rate = |peer| results.value(name, Malloc, peer);
    let ours = rate(Dunegc);
    let others: Vec<f64> = Peer::ALL
        .iter()
        .filter(|&&p| p != Dunegc)
        .filter_map(|&p| rate(p))
        .collect();
    let mut bar = at_most(
        format!("{name}: requests/s vs glibc"),
        quotient(ours, rate(Glibc)),
        1.0,
        1.0,
    );
    bar.at_least = true;
    bar.aim = None;
    bar.aim_text = "best of all peers".to_owned();
    bar.aim_condition = ours.map(|us| others.iter().all(|them| us >= *them));
    bar
}

/// A bar from above, without a unit.
pub fn at_most(name: String, ratio: Result<f64, String>, must: f64, aim: f64) -> Bar {
    Bar {
        name,
        unit: "",
        cpu_ratio: None,
        missing: ratio.as_ref().err().cloned(),
        ratio: ratio.ok(),
        must,
        aim: Some(aim),
        aim_text: format!("≤ {aim:.2}"),
        at_least: false,
        aim_condition: None,
    }
}

/// Ours over theirs, or what is missing.
pub fn quotient(ours: Option<f64>, theirs: Option<f64>) -> Result<f64, String> {
    match (ours, theirs) {
        (Some(us), Some(them)) if them > 0.0 => Ok(us / them),
        (None, None) => Err("neither side was measured".to_owned()),
        (None, _) => Err("dunegc was not measured".to_owned()),
        _ => Err("the peer was not measured".to_owned()),
    }
}

/// Geometric mean over the five programs of ours over mimalloc's. All five must have been measured.
fn mean_ratio(of: &dyn Fn(&str, Peer) -> Option<f64>) -> Result<f64, String> {
    let ratios: Result<Vec<f64>, String> = COLLECTED
        .iter()
        .map(|(name, ..)| {
            quotient(of(name, Dunegc), of(name, Mimalloc)).map_err(|e| format!("{name}: {e}"))
        })
        .collect();
    Ok(geometric_mean(&ratios?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

    fn outcome(
        workload: &'static str,
        variant: crate::model::Variant,
        peer: Peer,
        value: f64,
    ) -> Outcome {
        let sample = Sample {
            value,
            wall_ms: value,
            user_ms: value,
            system_ms: 0.0,
            pause_max_ms: None,
            stops: None,
            stderr: String::new(),
            collections: None,
            rss_mib: value,
            foreign_load: 0.0,
            checksum: String::new(),
        };
        Outcome {
            workload,
            variant,
            peer,
            samples: vec![sample],
            dropped: 0,
            loaded: 0,
            failure: None,
        }
    }

    fn bar(bars: &[Bar], name: &str) -> Bar {
        bars.iter().find(|b| b.name == name).unwrap().clone()
    }

    #[test]
    fn a_ratio_at_the_bar_passes_and_one_above_fails() {
        let judged = |ours| {
            let all = [
                outcome("list", Collected, Dunegc, ours),
                outcome("list", Collected, Libgc, 100.0),
            ];
            bar(&judge(&Results(&all)), "list, collected: time vs libgc")
        };
        assert_eq!(judged(60.0).must_holds(), Some(true));
        assert_eq!(judged(60.1).must_holds(), Some(false));
        assert_eq!(judged(35.0).aim_holds(), Some(true));
        assert_eq!(judged(36.0).aim_holds(), Some(false));
    }

    #[test]
    fn redis_counts_requests_so_more_is_better() {
        let all = [
            outcome("redis-p1", Malloc, Dunegc, 100.0),
            outcome("redis-p1", Malloc, Glibc, 90.0),
            outcome("redis-p1", Malloc, Mimalloc, 101.0),
        ];
        let judged = bar(&judge(&Results(&all)), "redis-p1: requests/s vs glibc");
        assert_eq!(
            (judged.must_holds(), judged.aim_holds()),
            (Some(true), Some(false))
        );
    }

    #[test]
    fn nothing_measured_is_neither_pass_nor_fail() {
        for judged in judge(&Results(&[])) {
            assert_eq!(
                (judged.must_holds(), judged.aim_holds()),
                (None, None),
                "{}",
                judged.name
            );
            assert!(judged.missing.is_some());
        }
    }

    #[test]
    fn a_failed_contestant_has_no_ratio() {
        let mut all = [
            outcome("list", Collected, Dunegc, 10.0),
            outcome("list", Collected, Libgc, 100.0),
        ];
        all[0].failure = Some("signal: 11".into());
        let judged = bar(&judge(&Results(&all)), "list, collected: time vs libgc");
        assert_eq!(judged.missing.as_deref(), Some("dunegc was not measured"));
    }
}
