//! One run of a program with one library.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::load::LoadMeter;
use crate::measure;

/// The library that a program runs with.
#[derive(Clone, Copy, PartialEq)]
pub enum Library {
    /// Debian's libgc1.
    Debian,
    /// This project's, as it comes.
    Dunegc,
    /// This project's, collecting beside the program.
    Concurrent,
}

impl Library {
    /// In the order of each round; what the others are compared with is the first.
    pub const ALL: [Self; 3] = [Self::Debian, Self::Dunegc, Self::Concurrent];

    /// What it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "libgc1",
            Self::Dunegc => "dunegc",
            Self::Concurrent => "dunegc, beside the program",
        }
    }
}

/// What a run needs beside the program.
pub struct Setup {
    /// Folder with this project's libgc.so.1.
    pub libgc: PathBuf,
    /// What `c/stops.c` has been built to.
    pub stops: PathBuf,
    /// Directory of the runs.
    pub dir: PathBuf,
    /// A run that takes longer is killed.
    pub timeout: Duration,
}

/// One run.
pub struct Sample {
    /// From start to exit.
    pub seconds: f64,
    /// CPU time, user and system.
    pub cpu_seconds: f64,
    /// Its longest stop; none if it did not collect.
    pub pause_ms: Option<f64>,
    /// Peak resident set.
    pub rss_mib: f64,
    /// Collections.
    pub collections: f64,
    /// CPUs that other processes kept busy.
    pub foreign_load: f64,
    /// What it printed.
    pub output: Vec<u8>,
}

/// The line that `c/stops.c` writes.
#[derive(Deserialize)]
struct Stops {
    collections: u64,
    pause_max_ms: f64,
    rss_peak_kib: f64,
}

/// The statistics of this project's library: they know the stops of a collection that has several.
#[derive(Deserialize)]
struct Statistics {
    collections: u64,
    pause_max_ns: f64,
}

impl Setup {
    /// Builds `c/stops.c` into `dir`.
    pub fn build_stops(&self) -> Result<()> {
        let gcc = Command::new("gcc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
            .arg(crate::compile::source_dir().join("stops.c"))
            .arg("-o")
            .arg(&self.stops)
            .output()
            .context("cannot start gcc (Debian: apt-get install gcc)")?;
        if !gcc.status.success() {
            let text = String::from_utf8_lossy(&gcc.stderr).into_owned();
            bail!("gcc stops.c failed (Debian: apt-get install libgc-dev): {text}");
        }
        Ok(())
    }

    fn command(&self, line: &[String], library: Library) -> Command {
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .current_dir(&self.dir)
            .env("HOME", &self.dir)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            // In cargo's tests LD_LIBRARY_PATH leads to this project's libgc.so.1.
            let presets = ["GC_", "DUNEGC_", "LD_PRELOAD", "LD_LIBRARY_PATH"];
            if presets.iter().any(|p| text.starts_with(p)) {
                command.env_remove(&name);
            }
        }
        if library != Library::Debian {
            command.env("LD_LIBRARY_PATH", &self.libgc);
        }
        if library == Library::Concurrent {
            command.env("DUNEGC_CONCURRENT", "yes");
        }
        command
    }

    /// Runs a line that prepares.
    pub fn prepare(&self, line: &[String]) -> Result<()> {
        let output = self
            .command(line, Library::Debian)
            .output()
            .with_context(|| format!("cannot start {}", line[0]))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{}: {}; stderr ends: {}",
                line[0],
                output.status,
                measure::last_lines(&text, 3)
            );
        }
        Ok(())
    }

    /// Runs `line`, which exits with `code`, once.
    pub fn run(&self, line: &[String], code: i32, library: Library) -> Result<Sample> {
        let file = |name: &str| self.dir.join(name);
        let (out, err) = (file("stdout"), file("stderr"));
        let (stops, statistics) = (file("stops.json"), file("statistics.json"));
        for old in [&stops, &statistics] {
            let _ = fs::remove_file(old);
        }
        let mut command = self.command(line, library);
        command
            .env("LD_PRELOAD", &self.stops)
            .env("STOPS_FILE", &stops)
            .stdout(File::create(&out).context("create a file for the output")?)
            .stderr(File::create(&err).context("create a file for messages")?);
        if library != Library::Debian {
            command.env("DUNEGC_STATS", format!("json:{}", statistics.display()));
        }
        let meter = LoadMeter::start();
        let start = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", line[0]))?;
        let exit = measure::wait(&mut child, self.timeout)?;
        let seconds = start.elapsed().as_secs_f64();
        let foreign_load = meter.foreign(exit.user + exit.system);
        let messages = fs::read(&err).context("read the messages")?;
        let messages = String::from_utf8_lossy(&messages);
        if exit.status.code() != Some(code) {
            bail!(
                "{} in place of {code}; stderr ends: {}",
                exit.status,
                measure::last_lines(&messages, 5)
            );
        }
        let stops: Stops = read(&stops)?;
        let (collections, pause_ms) = if library == Library::Debian {
            (stops.collections, stops.pause_max_ms)
        } else {
            let own: Statistics = read(&statistics)?;
            (own.collections, own.pause_max_ns / 1e6)
        };
        Ok(Sample {
            seconds,
            cpu_seconds: (exit.user + exit.system).as_secs_f64(),
            pause_ms: (collections > 0).then_some(pause_ms),
            rss_mib: stops.rss_peak_kib / 1024.0,
            collections: collections as f64,
            foreign_load,
            output: fs::read(&out).context("read the output")?,
        })
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("the run has left no {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{}: not as expected: {text:?}", path.display()))
}
