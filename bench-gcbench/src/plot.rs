//! The table as a picture: one panel for each workload, one bar for each contestant.

use std::path::Path;

use anyhow::{Context, Result};
use svg::Document;
use svg::node::element::{Rectangle, Text};

use crate::model::Peer;
use crate::schedule::Outcome;
use crate::workload::ALL;

const ROW: f64 = 18.0;
const HEAD: f64 = 30.0;
const GAP: f64 = 16.0;
const LABELS: f64 = 150.0;
const BARS: f64 = 300.0;
const COLUMN: f64 = BARS + 110.0;
const WIDTH: f64 = LABELS + 2.0 * COLUMN;

/// Draws time (or requests per second) and peak RSS of all that was measured.
pub fn write(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    svg::save(path, &draw(outcomes)).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(outcomes: &[Outcome]) -> Document {
    let mut document = svg::node::element::Group::new();
    let mut y = GAP;
    for workload in ALL {
        let of_it: Vec<&Outcome> = outcomes
            .iter()
            .filter(|o| o.workload == workload.name && o.value().is_some())
            .collect();
        if of_it.is_empty() {
            continue;
        }
        document = document.add(text(
            GAP,
            y + 12.0,
            &format!("{}: {}", workload.name, workload.title),
            true,
        ));
        let time_title = format!(
            "{}{}",
            workload.unit(),
            if workload.larger_is_better() {
                ", more is better"
            } else {
                ""
            }
        );
        document = document.add(text(LABELS, y + 26.0, &time_title, false));
        document = document.add(text(LABELS + COLUMN, y + 26.0, "peak RSS, MiB", false));
        y += HEAD;
        let largest = |of: fn(&Outcome) -> Option<f64>| {
            of_it.iter().filter_map(|o| of(o)).fold(1e-9, f64::max)
        };
        let (most_time, most_rss) = (largest(Outcome::value), largest(Outcome::rss));
        for outcome in &of_it {
            let label = format!("{} {}", outcome.variant, outcome.peer);
            document = document.add(text(GAP, y + 13.0, &label, outcome.peer == Peer::Dunegc));
            let columns = [
                (LABELS, outcome.value(), most_time),
                (LABELS + COLUMN, outcome.rss(), most_rss),
            ];
            for (x, value, most) in columns {
                let value = value.unwrap_or(0.0);
                let length = BARS * value / most;
                document = document.add(bar(x, y + 2.0, length, color(outcome.peer)));
                document = document.add(text(x + length + 5.0, y + 13.0, &figure(value), false));
            }
            y += ROW;
        }
        y += GAP;
    }
    let background = Rectangle::new()
        .set("width", "100%")
        .set("height", "100%")
        .set("fill", "white");
    let whole = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, y))
        .set("width", WIDTH)
        .set("height", y);
    let whole = whole
        .set("font-family", "sans-serif")
        .set("font-size", 11)
        .add(background);
    whole.add(document)
}

fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn bar(x: f64, y: f64, length: f64, fill: &str) -> Rectangle {
    Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", length.max(1.0))
        .set("height", ROW - 4.0)
        .set("fill", fill)
}

fn text(x: f64, y: f64, content: &str, bold: bool) -> Text {
    let weight = if bold { "bold" } else { "normal" };
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-weight", weight)
}

fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::Dunegc => "#d9822b",
        Peer::Libgc => "#4c78a8",
        Peer::Mimalloc => "#59a14f",
        Peer::Jemalloc => "#9c755f",
        Peer::Glibc => "#a0a0a0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;
    use crate::model::Variant;
    use crate::workload::Workload;

    #[test]
    fn draws_a_bar_for_time_and_one_for_rss_of_each_contestant() {
        let sample = Sample {
            value: 10.0,
            wall_ms: 10.0,
            user_ms: 10.0,
            system_ms: 0.0,
            pause_max_ms: None,
            stops: None,
            stderr: String::new(),
            collections: None,
            rss_mib: 5.0,
            foreign_load: 0.0,
            checksum: String::new(),
        };
        let outcome = |peer| Outcome {
            workload: Workload::named("list").name,
            variant: Variant::Malloc,
            peer,
            samples: vec![sample.clone()],
            dropped: 0,
            loaded: 0,
            failure: None,
        };
        let text = draw(&[outcome(Peer::Glibc), outcome(Peer::Mimalloc)]).to_string();
        assert_eq!(text.matches("<rect").count(), 1 + 2 * 2);
        assert!(text.contains("malloc mimalloc"));
    }
}
