//! How often something at least so long happened in a run: one row for each workload, with a panel for stops counted
//! from inside, one for gaps of the clock, and one for allocations.

use std::path::Path;

use anyhow::{Context, Result};
use svg::Document;
use svg::node::element::{Group, Polyline, Rectangle, Text};

use crate::histogram::Histogram;
use crate::pauses::workload::{ALL, Setup, Watch};
use crate::pauses::{Outcome, Run};

const PANEL: (f64, f64) = (300.0, 150.0);
const GAP: f64 = 60.0;
const HEAD: f64 = 34.0;
/// Powers of ten on the x-axis, in nanoseconds: 1 µs to 1 s.
const X: (f64, f64) = (3.0, 9.0);
/// Powers of ten on the y-axis: 1 to 10 million.
const Y: (f64, f64) = (0.0, 7.0);

type Of = fn(&Run) -> Option<&Histogram>;
const PANELS: [(&str, Watch, Of); 3] = [
    ("stops, from inside", Watch::Plain, |run| run.stops.as_ref()),
    ("gaps of the clock, from outside", Watch::Clock, |run| {
        run.seen.clock.as_ref().map(|c| &c.gaps)
    }),
    ("single allocations", Watch::Stamps, |run| {
        run.seen.stamps.as_ref().map(|s| &s.stalls)
    }),
];
const LATENCY: (&str, Watch, Of) = ("latency of requests", Watch::Clients, |run| {
    run.latency.as_ref().map(|l| &l.histogram)
});

/// Draws the distributions of all that was measured.
pub fn write(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    svg::save(path, &draw(outcomes)).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(outcomes: &[Outcome]) -> Document {
    let mut all = Group::new();
    let mut y = 10.0;
    for workload in ALL {
        let of_it: Vec<&Outcome> = outcomes
            .iter()
            .filter(|o| o.workload == workload.name && !o.runs.is_empty())
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let title = format!("{}: {}", workload.name, workload.title);
        all = all.add(text(GAP, y + 12.0, &title));
        for (k, (setup, color)) in COLORS.iter().enumerate() {
            if of_it.iter().any(|o| o.setup == *setup) {
                let x = GAP + 150.0 * k as f64;
                let label = setup.to_string();
                all = all.add(text(x, y + 27.0, &label).set("fill", *color));
            }
        }
        y += HEAD;
        let panels = match workload.program {
            Some(_) => &PANELS[..],
            None => &[LATENCY],
        };
        for (k, panel) in panels.iter().enumerate() {
            let x = GAP + k as f64 * (PANEL.0 + GAP);
            all = all.add(draw_panel(x, y, panel, &of_it));
        }
        y += PANEL.1 + GAP;
    }
    let width = GAP + 3.0 * (PANEL.0 + GAP);
    let background = Rectangle::new()
        .set("width", "100%")
        .set("height", "100%")
        .set("fill", "white");
    Document::new()
        .set("viewBox", (0.0, 0.0, width, y))
        .set("width", width)
        .set("height", y)
        .set("font-family", "sans-serif")
        .set("font-size", 11)
        .add(background)
        .add(all)
}

fn draw_panel(x: f64, y: f64, panel: &(&str, Watch, Of), of_it: &[&Outcome]) -> Group {
    let (title, watch, of) = *panel;
    let frame = Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", PANEL.0)
        .set("height", PANEL.1)
        .set("fill", "none")
        .set("stroke", "#888");
    let caption = format!("{title}: how many a run at least so long");
    let mut group = Group::new()
        .add(frame)
        .add(text(x, y + PANEL.1 + 28.0, &caption));
    for (power, label) in [
        (3, "1 µs"),
        (5, "100 µs"),
        (6, "1 ms"),
        (7, "10 ms"),
        (9, "1 s"),
    ] {
        let at = x + across(f64::from(power));
        group = group.add(text(at - 8.0, y + PANEL.1 + 13.0, label));
    }
    for power in [0, 3, 6] {
        let at = y + down(f64::from(power)) + 4.0;
        group = group.add(text(x - 28.0, at, &format!("10^{power}")));
    }
    for (setup, color) in COLORS {
        let Some(outcome) = of_it.iter().find(|o| o.setup == setup && o.watch == watch) else {
            continue;
        };
        let mut sum = Histogram::default();
        for histogram in outcome.runs.iter().filter_map(of) {
            sum.add(histogram);
        }
        let points = line(&sum, outcome.runs.len());
        if points.is_empty() {
            continue;
        }
        let points: Vec<String> = points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", x + px, y + py))
            .collect();
        let curve = Polyline::new()
            .set("points", points.join(" "))
            .set("fill", "none")
            .set("stroke", color)
            .set("stroke-width", 1.5);
        group = group.add(curve);
    }
    group
}

/// Steps down from the shortest to the longest, inside a panel.
fn line(histogram: &Histogram, runs: usize) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut from = X.0;
    for (upper, count) in histogram.at_least() {
        let level = down((count as f64 / runs.max(1) as f64).log10());
        let to = (upper.max(1) as f64).log10();
        points.push((across(from), level));
        points.push((across(to), level));
        from = to;
    }
    if let Some(last) = points.last().copied() {
        points.push((last.0, PANEL.1));
    }
    points
}

fn across(power: f64) -> f64 {
    (power.clamp(X.0, X.1) - X.0) / (X.1 - X.0) * PANEL.0
}

fn down(power: f64) -> f64 {
    PANEL.1 - (power.clamp(Y.0, Y.1) - Y.0) / (Y.1 - Y.0) * PANEL.1
}

fn text(x: f64, y: f64, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y)
}

const COLORS: [(Setup, &str); 6] = [
    (Setup::Dunegc, "#d9822b"),
    (Setup::DunegcStw, "#8c564b"),
    (Setup::DunegcReclaim, "#b04a7a"),
    (Setup::Libgc, "#4c78a8"),
    (Setup::LibgcIncremental, "#59a14f"),
    (Setup::NoCollector, "#909090"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_falls_from_all_to_the_longest() {
        // Two runs; 200 of up to 10 µs, two of up to 1 ms.
        let histogram = Histogram::from_pairs(&[(1e4, 198), (1e6, 2)]);
        let points = line(&histogram, 2);
        let (third, sevenths) = (PANEL.0 / 6.0, PANEL.1 / 7.0);
        assert_eq!(points[0], (0.0, PANEL.1 - 2.0 * sevenths));
        assert_eq!(points[1].0, third);
        assert_eq!(points[2].1, PANEL.1);
        assert_eq!(points.last(), Some(&(3.0 * third, PANEL.1)));
        assert!(line(&Histogram::default(), 2).is_empty());
    }
}
