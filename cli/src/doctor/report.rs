//! What doctor found, and how it is printed.

use serde::Serialize;
use std::io::{self, Write};

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be, or without importance for what is chosen.
    Ok,
    /// Works, with a drawback that the note names.
    Warn,
    /// Programs cannot be run under the collector.
    Fail,
}

/// One thing examined.
#[derive(Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    /// What was found.
    pub value: String,
    /// What it means, and what to do about a warning. May be empty.
    pub note: String,
}

impl Check {
    pub fn new(
        name: &'static str,
        status: Status,
        value: impl Into<String>,
        note: impl Into<String>,
    ) -> Self {
        Check {
            name,
            status,
            value: value.into(),
            note: note.into(),
        }
    }

    pub fn ok(name: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Check::new(name, Status::Ok, value, note)
    }

    pub fn warn(name: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Check::new(name, Status::Warn, value, note)
    }
}

/// One decision of the library on this machine with this environment.
#[derive(Serialize)]
pub struct Choice {
    pub name: &'static str,
    pub value: String,
    pub why: String,
}

#[derive(Serialize)]
pub struct Report {
    pub version: &'static str,
    pub checks: Vec<Check>,
    pub chosen: Vec<Choice>,
}

impl Report {
    pub fn json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }

    pub fn text(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "dunegc {}", self.version)?;
        for c in &self.checks {
            let status = match c.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            line(&mut out, status, c.name, &c.value, &c.note)?;
        }
        writeln!(out, "would be chosen")?;
        for c in &self.chosen {
            line(&mut out, "", c.name, &c.value, &c.why)?;
        }
        Ok(())
    }
}

fn line(out: &mut impl Write, status: &str, name: &str, value: &str, note: &str) -> io::Result<()> {
    let separator = if note.is_empty() { "" } else { ": " };
    writeln!(out, "  {status:<5} {name:<16} {value}{separator}{note}")
}
