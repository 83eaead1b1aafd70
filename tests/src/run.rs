//! One process: started in its own process group, output kept in files, killed at its time limit.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::library::{Mode, library, target};

/// A command to run.
#[derive(Clone, Debug)]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    dir: Option<PathBuf>,
    stdin: Vec<u8>,
    limit: Duration,
    mode: Option<Mode>,
    zeal: bool,
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub shown: String,
    /// Exit status or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall time.
    pub took: Duration,
}

impl Run {
    /// A command without arguments, without the library, with a limit of 120 s.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            stdin: Vec::new(),
            limit: Duration::from_secs(120),
            mode: None,
            zeal: true,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Has another program run this command: its own arguments come first.
    pub fn through(
        mut self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = OsString>,
    ) -> Self {
        let command = std::mem::replace(&mut self.program, program.as_ref().to_owned());
        let before = args.into_iter().chain([command]);
        self.args.splice(..0, before);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets what the command reads from standard input (default: nothing).
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets the time limit in seconds.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs under the library in `mode`.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Keeps `DUNEGC_TEST_ZEAL` away from this command, which would take too long with it.
    pub fn no_zeal(mut self) -> Self {
        self.zeal = false;
        self
    }

    /// Runs it to the end.
    ///
    /// # Panics
    /// When it cannot be started or outlives its limit.
    pub fn output(&self) -> Outcome {
        let shown = self.shown();
        let dir = scratch("run");
        let (out, err, input) = (dir.join("stdout"), dir.join("stderr"), dir.join("stdin"));
        fs::write(&input, &self.stdin).expect("write standard input");
        let mut command = self.command();
        command
            .stdin(File::open(&input).expect("open standard input"))
            .stdout(File::create(&out).expect("create stdout file"))
            .stderr(File::create(&err).expect("create stderr file"));
        let start = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait for the child") {
                break Some(status);
            }
            if start.elapsed() > self.limit {
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = start.elapsed();
        let stacks = if status.is_none() {
            stacks_of(child.id())
        } else {
            String::new()
        };
        // What the command left running in the background ends with it.
        let group = -i32::try_from(child.id()).expect("a pid fits");
        // SAFETY: kill touches no memory of this process; the group was made for this child.
        unsafe { libc::kill(group, libc::SIGKILL) };
        let status = status.unwrap_or_else(|| {
            let _ = child.wait();
            panic!(
                "{shown}: killed after {} s\n{stacks}--- stdout\n{}--- stderr\n{}",
                self.limit.as_secs(),
                tail(&read(&out)),
                tail(&read(&err))
            )
        });
        let outcome = Outcome {
            shown,
            status,
            stdout: read(&out),
            stderr: read(&err),
            took,
        };
        let _ = fs::remove_dir_all(dir);
        outcome
    }

    /// Runs it and demands exit status 0.
    pub fn ok(&self) -> Outcome {
        let outcome = self.output();
        assert!(outcome.status.success(), "{outcome}");
        outcome
    }

    /// The prepared command: clean environment, library and mode set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).process_group(0);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("DUNEGC_") {
                command.env_remove(name);
            }
        }
        // Cargo's LD_LIBRARY_PATH leads to its build, in which this project's libgc.so.1 can lie.
        command
            .env("LC_ALL", "C.UTF-8")
            .env_remove("LD_PRELOAD")
            .env_remove("LD_LIBRARY_PATH");
        if let Some(mode) = self.mode {
            command
                .env("LD_PRELOAD", library())
                .env("DUNEGC_MODE", mode.name());
            if let Some(every) = env::var_os("DUNEGC_TEST_ZEAL").filter(|_| self.zeal) {
                command.env("DUNEGC_ZEAL", every);
            }
            if env::var_os("DUNEGC_TEST_CONCURRENT").is_some() {
                command.env("DUNEGC_CONCURRENT", "yes");
            }
            if env::var_os("DUNEGC_TEST_GENERATIONAL").is_some() {
                command.env("DUNEGC_GENERATIONAL", "yes");
            }
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn shown(&self) -> String {
        let mut words = Vec::new();
        if let Some(mode) = self.mode {
            words.push(format!(
                "LD_PRELOAD={} DUNEGC_MODE={}",
                library().display(),
                mode.name()
            ));
        }
        for (name, value) in &self.env {
            let value = value.clone().unwrap_or_default();
            words.push(format!(
                "{}={:?}",
                name.to_string_lossy(),
                value.to_string_lossy()
            ));
        }
        words.push(self.program.to_string_lossy().into_owned());
        words.extend(
            self.args
                .iter()
                .map(|arg| arg.to_string_lossy().into_owned()),
        );
        words.join(" ")
    }
}

impl Outcome {
    /// The lines on standard error, but for those on collections that were put off because a thread did not stand in time: that depends on
    /// what else the machine does.
    pub fn lines(&self) -> Vec<&str> {
        let put_off = |line: &&str| line.ends_with("this collection is put off");
        self.stderr.lines().filter(|line| !put_off(line)).collect()
    }

    /// The exit code, or 128 + the signal, as a shell shows it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n{} after {:.1} s\n--- stdout\n{}--- stderr\n{}",
            self.shown,
            self.status,
            self.took.as_secs_f64(),
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }
}

/// Demands that a program is installed.
///
/// # Panics
/// When it is not; the message names the Debian package.
pub fn need(program: &str, package: &str) {
    let found = Path::new(program).is_file()
        || env::var_os("PATH")
            .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(
        found,
        "{program} is missing: `cargo xtask install-deps`, or apt-get install {package}"
    );
}

/// A fresh directory below the target directory, left behind when a test fails.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = target().join(format!(
        "dunegc-tests/{name}-{}-{number}",
        std::process::id()
    ));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}

/// Waits until no other test process or thread has this; until it is dropped. `path`: a file for it.
///
/// # Panics
/// When the file cannot be made.
pub(crate) fn only_one(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // SAFETY: a descriptor of our own; no memory is touched.
    let done = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(done, 0, "{}: no lock", path.display());
    file
}

/// Where every thread of a process that hangs waits, as far as /proc tells.
fn stacks_of(pid: u32) -> String {
    let mut text = String::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return text;
    };
    for task in tasks.flatten().take(16) {
        let path = task.path();
        let of = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        let status = of("status");
        let line = |key: &str| {
            status
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap_or_default()
                .replace('\t', " ")
        };
        text.push_str(&format!(
            "thread {} {} {} {} syscall {}\n",
            task.file_name().to_string_lossy(),
            line("State:"),
            line("SigBlk:"),
            line("SigPnd:"),
            of("syscall").trim()
        ));
    }
    text
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(60);
    let mut shown = String::new();
    if skip > 0 {
        shown.push_str(&format!("... {skip} lines\n"));
    }
    for line in &lines[skip..] {
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}
