//! The tables.

use comfy_table::{Cell, CellAlignment, Color, Table, presets};

use crate::bars::Bar;
use crate::model::Peer::{Libgc, Mimalloc};
use crate::model::Variant::{Collected, Freeing, Malloc, RustBox};
use crate::schedule::Outcome;
use crate::summary::Results;
use crate::workload::Workload;

/// An empty table; the first `left` columns are text.
pub fn new_table(markdown: bool, header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(if markdown {
        presets::ASCII_MARKDOWN
    } else {
        presets::UTF8_FULL_CONDENSED
    });
    table.set_header(header);
    for (k, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if k < left {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
    table
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(v) if v >= 1000.0 => format!("{v:.0}"),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(us), Some(them)) if them > 0.0 => format!("{:.2}", us / them),
        _ => "–".to_owned(),
    }
}

/// One line for each contestant: medians, and ratios to libgc and mimalloc in the same session.
pub fn outcomes(all: &[Outcome], markdown: bool) -> Table {
    let header = [
        "workload",
        "variant",
        "peer",
        "median",
        "min–max",
        "×libgc",
        "×mimalloc",
        "cpu ms",
        "max pause ms",
        "GCs",
        "RSS MiB",
        "×libgc",
        "×mimalloc",
        "load",
        "dropped",
    ];
    let mut table = new_table(markdown, &header, 3);
    let results = Results(all);
    for outcome in all {
        let name = outcome.workload;
        if let Some(failure) = &outcome.failure {
            let cells = [
                name.to_owned(),
                outcome.variant.to_string(),
                outcome.peer.to_string(),
                "FAILED".to_owned(),
            ];
            let mut row: Vec<Cell> = cells.iter().map(Cell::new).collect();
            row.push(Cell::new(failure.chars().take(60).collect::<String>()));
            table.add_row(row);
            continue;
        }
        let reference = if outcome.variant == Freeing {
            Freeing
        } else {
            Collected
        };
        let libgc = results
            .find(name, reference, Libgc)
            .filter(|_| !outcome.variant.is_rust());
        let by_box = if outcome.variant.is_rust() {
            RustBox
        } else {
            Malloc
        };
        let mimalloc = results.find(name, by_box, Mimalloc);
        let unit = Workload::named(name).unit();
        let range = outcome
            .range()
            .map_or("–".to_owned(), |(lo, hi)| format!("{lo:.0}–{hi:.0}"));
        let flag = if outcome.loaded > 0 { "*" } else { "" };
        table.add_row([
            name.to_owned(),
            outcome.variant.to_string(),
            outcome.peer.to_string(),
            format!("{} {unit}", number(outcome.value())),
            range,
            ratio(outcome.value(), libgc.and_then(Outcome::value)),
            ratio(outcome.value(), mimalloc.and_then(Outcome::value)),
            number(outcome.cpu()),
            number(outcome.pause()),
            outcome
                .collections()
                .map_or("–".to_owned(), |c| format!("{c:.0}")),
            number(outcome.rss()),
            ratio(outcome.rss(), libgc.and_then(Outcome::rss)),
            ratio(outcome.rss(), mimalloc.and_then(Outcome::rss)),
            format!("{:.2}{flag}", outcome.load().unwrap_or(0.0)),
            outcome.dropped.to_string(),
        ]);
    }
    table
}

/// One line for each bar.
pub fn bars(all: &[Bar], markdown: bool) -> Table {
    let mut table = new_table(
        markdown,
        &["bar", "measured", "cpu", "must", "", "aim", ""],
        1,
    );
    for bar in all {
        let sign = if bar.at_least { "≥" } else { "≤" };
        let measured = match (&bar.ratio, &bar.missing) {
            (Some(r), _) => value(*r, bar.unit),
            (None, Some(why)) => why.clone(),
            (None, None) => "–".to_owned(),
        };
        table.add_row([
            Cell::new(&bar.name),
            Cell::new(measured),
            Cell::new(bar.cpu_ratio.map_or("–".to_owned(), |r| format!("{r:.2}"))),
            Cell::new(format!("{sign} {}", value(bar.must, bar.unit))),
            verdict(bar.must_holds(), "pass", "FAIL"),
            Cell::new(&bar.aim_text),
            verdict(bar.aim_holds(), "reached", "missed"),
        ]);
    }
    table
}

fn value(figure: f64, unit: &str) -> String {
    match unit {
        "" => format!("{figure:.2}"),
        unit if figure < 10.0 => format!("{figure:.3} {unit}"),
        unit => format!("{figure:.1} {unit}"),
    }
}

fn verdict(holds: Option<bool>, yes: &str, no: &str) -> Cell {
    match holds {
        Some(true) => Cell::new(yes).fg(Color::Green),
        Some(false) => Cell::new(no).fg(Color::Red),
        None => Cell::new("–"),
    }
}
