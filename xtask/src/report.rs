//! Headers, timing and the summary at the end of `cargo xtask test`.

use std::time::Duration;

/// How a step ended.
pub enum Outcome {
    /// Every check passed.
    Passed,
    /// Nothing to run; the reason.
    Skipped(String),
    /// A check failed; the first line of the error.
    Failed(String),
}

/// One line of the summary.
pub struct Entry {
    /// The step's name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Wall time.
    pub took: Duration,
    /// The test runners' summary lines.
    pub notes: Vec<String>,
}

/// Prints the header of a step.
pub fn header(name: &str, about: &str) {
    println!("\n==== {name}: {about}");
}

/// Prints the line that closes a step.
pub fn footer(entry: &Entry) {
    println!("---- {} {}", entry.name, verdict(entry));
}

/// Prints all steps with times and test counts; returns the number of failed steps.
///
/// `total`: how long all of it took; less than the sum of the steps, some of which run side by side.
pub fn summary(entries: &[Entry], total: Duration) -> usize {
    println!("\n==== summary");
    for entry in entries {
        println!("{:<11} {}", entry.name, verdict(entry));
        for note in &entry.notes {
            println!("             {note}");
        }
    }
    let failed = entries
        .iter()
        .filter(|entry| matches!(entry.outcome, Outcome::Failed(_)))
        .count();
    println!(
        "{} steps, {failed} failed, {:.0} s",
        entries.len(),
        total.as_secs_f64()
    );
    failed
}

fn verdict(entry: &Entry) -> String {
    let seconds = entry.took.as_secs_f64();
    match &entry.outcome {
        Outcome::Passed => format!("ok       {seconds:7.1} s"),
        Outcome::Skipped(why) => format!("skipped  {seconds:7.1} s  {why}"),
        Outcome::Failed(why) => format!("FAILED   {seconds:7.1} s  {why}"),
    }
}
