//! Steps whose tests run side by side, each in a process of its own: machines in emulators, which keep one processor busy each.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::context::{Context, Run, is_summary};
use crate::report::{self, Entry, Outcome};

/// Tests of the `tests` crate.
pub struct Tests {
    /// The test program.
    pub suite: &'static str,
    /// Parts of names: those that are run (none: all).
    pub filters: &'static [&'static str],
    /// Parts of names: those that are not.
    pub skip: &'static [&'static str],
    /// The longest that each may take.
    pub limit: Duration,
}

/// A step of this sort.
pub struct Step {
    /// As for `--only`.
    pub name: &'static str,
    /// As for `--list`.
    pub about: &'static str,
    /// What it runs.
    pub tests: &'static Tests,
}

/// Tests that take longest, by parts of their names: they begin first, so that none is left alone at the end.
const LONG: [&str; 6] = [
    "writes_are_known_on_the_module",
    "promises",
    "guest_mode_works_on_the_module",
    "with_nested_paging",
    "programs_run",
    "writes_are_known",
];

/// How many machines there are at once.
const LANES: usize = 2;

/// A test, and what became of it.
struct Part {
    step: usize,
    test: String,
    done: Option<Done>,
}

struct Done {
    lines: Vec<String>,
    result: Result<()>,
    took: Duration,
}

impl Tests {
    fn cargo<'a>(&self, context: &'a Context, rest: &[&str]) -> Run<'a> {
        let args = ["test", "--package", "dunegc-tests", "--test", self.suite];
        context
            .cargo(&[&args, &["--"][..], rest].concat())
            .env("DUNEGC_LIB", context.library())
            .limit(self.limit)
    }

    /// Builds the program; the names of its tests.
    fn names(&self, context: &Context) -> Result<Vec<String>> {
        let skip = self.skip.iter().flat_map(|name| ["--skip", name]);
        let args: Vec<&str> = ["--list"]
            .into_iter()
            .chain(self.filters.iter().copied())
            .chain(skip)
            .collect();
        let (lines, result) = self.cargo(context, &args).quietly();
        result.with_context(|| lines.join("\n"))?;
        let names: Vec<String> = lines
            .iter()
            .filter_map(|line| line.strip_suffix(": test").map(str::to_owned))
            .collect();
        anyhow::ensure!(
            !names.is_empty(),
            "{} has no such tests:\n{}",
            self.suite,
            lines.join("\n")
        );
        Ok(names)
    }
}

/// Runs the steps' tests and prints, in the order of the steps, what they printed.
pub fn run(context: &Context, steps: &[Step]) -> Vec<Entry> {
    let start = Instant::now();
    let mut parts = Vec::new();
    let mut broken = BTreeMap::new();
    for (step, of) in steps.iter().enumerate() {
        match of.tests.names(context) {
            Ok(names) => parts.extend(names.into_iter().map(|test| Part {
                step,
                test,
                done: None,
            })),
            Err(error) => drop(broken.insert(step, format!("{error:#}"))),
        }
    }
    parts.sort_by_key(|part| {
        let place = LONG.iter().position(|long| part.test.contains(long));
        place.unwrap_or(LONG.len())
    });
    println!(
        "\n==== {}: side by side, {LANES} machines at once",
        steps
            .iter()
            .map(|step| step.name)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let next = Mutex::new(parts.iter_mut());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let part = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(part) = part else { break };
                    let step = &steps[part.step];
                    let begin = Instant::now();
                    let args = ["--exact", &part.test];
                    let (lines, result) = step.tests.cargo(context, &args[..]).quietly();
                    let took = begin.elapsed();
                    println!(
                        "{} {} {} after {:.1} s, at {:.1} s",
                        step.name,
                        part.test,
                        if result.is_ok() { "ok" } else { "FAILED" },
                        took.as_secs_f64(),
                        start.elapsed().as_secs_f64()
                    );
                    part.done = Some(Done {
                        lines,
                        result,
                        took,
                    });
                }
            });
        }
    });
    let entries = steps.iter().enumerate().map(|(number, step)| {
        let own = parts.iter().filter(|part| part.step == number);
        let error = broken.remove(&number);
        let entry = show(step, own.filter_map(|part| part.done.as_ref()), error);
        report::footer(&entry);
        entry
    });
    entries.collect()
}

/// Prints what a step's tests printed.
fn show<'a>(step: &Step, parts: impl Iterator<Item = &'a Done>, error: Option<String>) -> Entry {
    report::header(step.name, step.about);
    let mut entry = Entry {
        name: step.name,
        outcome: error.map_or(Outcome::Passed, Outcome::Failed),
        took: Duration::ZERO,
        notes: Vec::new(),
    };
    for done in parts {
        for line in &done.lines {
            println!("{line}");
            if is_summary(line) {
                entry.notes.push(line.trim().to_owned());
            }
        }
        entry.took += done.took;
        if let Err(error) = &done.result {
            entry.outcome = Outcome::Failed(format!("{error:#}"));
        }
    }
    entry
}
