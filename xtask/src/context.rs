//! Where the workspace is and how a command is run: streamed line by line, with a time limit,
//! test summaries remembered.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// What every step needs to know.
pub struct Context {
    /// The workspace root.
    pub root: PathBuf,
    /// `cargo` as it was started for this run.
    cargo: OsString,
    /// Lines worth repeating in the summary, of the step that runs.
    notes: Mutex<Vec<String>>,
}

/// One command to stream.
pub struct Run<'a> {
    context: &'a Context,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    limit: Duration,
}

impl Context {
    /// Finds the workspace from xtask's own manifest.
    pub fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies inside the workspace")?
            .to_path_buf();
        Ok(Self {
            root,
            cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            notes: Mutex::default(),
        })
    }

    /// The workspace's target directory.
    pub fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }

    /// The preload library of a release build.
    pub fn library(&self) -> PathBuf {
        self.target().join("release/libdunegc.so")
    }

    /// A cargo command line.
    pub fn cargo(&self, args: &[&str]) -> Run<'_> {
        self.command(&self.cargo, args)
    }

    /// Any command line, run in the workspace root.
    pub fn command(&self, program: impl Into<OsString>, args: &[&str]) -> Run<'_> {
        Run {
            context: self,
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            env: Vec::new(),
            limit: Duration::from_secs(20 * 60),
        }
    }

    /// Adds a line to the summary of the running step.
    pub fn note(&self, line: impl Into<String>) {
        let notes = self.notes.lock();
        let mut notes = notes.unwrap_or_else(PoisonError::into_inner);
        notes.push(line.into());
    }

    /// Takes the lines noted since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        let notes = self.notes.lock();
        std::mem::take(&mut notes.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Run<'_> {
    /// Sets an environment variable of the command; the last setting of a name counts.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the time after which the command and its children are killed (default 20 minutes).
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it, prints what it prints, fails when it fails or outlives its limit.
    pub fn run(self) -> Result<()> {
        let shown = self.shown();
        println!("$ {shown}");
        let bar = spinner(&shown);
        let result = self.stream(&shown, &mut |line| {
            bar.suspend(|| println!("{line}"));
            if is_summary(line) {
                self.context.note(line.trim());
            }
        });
        bar.finish_and_clear();
        result
    }

    /// Runs it, and gives what [`Self::run`] would have printed.
    pub fn quietly(self) -> (Vec<String>, Result<()>) {
        let shown = self.shown();
        let mut lines = vec![format!("$ {shown}")];
        let result = self.stream(&shown, &mut |line| lines.push(line.to_owned()));
        (lines, result)
    }

    /// Runs it; `each` gets every line that it prints.
    fn stream(&self, shown: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        // timeout(1) leads its own process group, so that grandchildren end with it.
        let mut args: Vec<OsString> = vec![
            "--kill-after=10".into(),
            self.limit.as_secs().to_string().into(),
            self.program.clone(),
        ];
        args.extend(self.args.iter().cloned());
        let mut command = duct::cmd("timeout", args)
            .dir(&self.context.root)
            .stdin_null()
            .env("RUST_BACKTRACE", "0")
            .stderr_to_stdout()
            .unchecked();
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        let reader = command
            .reader()
            .with_context(|| format!("cannot start timeout(1) for {shown}"))?;
        for line in BufReader::new(&reader).split(b'\n') {
            let line = line.context("reading the command's output")?;
            each(&String::from_utf8_lossy(&line));
        }
        let output = reader
            .try_wait()?
            .context("the command closed its output but did not end")?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(124 | 137) => bail!("killed after {} s: {shown}", self.limit.as_secs()),
            Some(code) => bail!("exit status {code}: {shown}"),
            None => bail!("{}: {shown}", output.status),
        }
    }

    /// The command line as a person would type it.
    fn shown(&self) -> String {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={:?}", value.to_string_lossy()));
        let program = Path::new(&self.program)
            .file_name()
            .unwrap_or(&self.program)
            .to_string_lossy()
            .into_owned();
        let args = self
            .args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned());
        env.chain([program])
            .chain(args)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Lines that a test runner ends with, and skipped tests: never lost in the middle of the output.
pub fn is_summary(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("test result:")
        || line.starts_with("SKIPPED:")
        || (line.starts_with("test ") && line.ends_with("FAILED"))
}

/// A spinner with elapsed time on a terminal; nothing elsewhere.
fn spinner(message: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
