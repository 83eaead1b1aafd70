//! Runs one program once and measures it.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::load::{LoadMeter, cpu_time};

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Milliseconds of work by the program's own clock, or requests per second.
    pub value: f64,
    /// Milliseconds from start to exit.
    pub wall_ms: f64,
    /// CPU time in user mode.
    pub user_ms: f64,
    /// CPU time in the kernel.
    pub system_ms: f64,
    /// Longest stop of the world; none where there is no collector.
    pub pause_max_ms: Option<f64>,
    /// All stops of the world; none where libdunegc does not count them.
    #[serde(skip)]
    pub stops: Option<Stops>,
    /// What the program wrote to stderr, at most the last lines.
    #[serde(skip)]
    pub stderr: String,
    /// Number of collections; none where there is no collector.
    pub collections: Option<u64>,
    /// Peak resident set in MiB.
    pub rss_mib: f64,
    /// CPUs that other processes kept busy during the run.
    pub foreign_load: f64,
    /// Checksum over the program's result; equal in all variants of a workload.
    pub checksum: String,
}

/// A command line with its environment.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Library to preload.
    pub preload: Option<PathBuf>,
    /// Variables to set; all others that an allocator would read are removed.
    pub env: Vec<(&'static str, &'static str)>,
    /// Whether the program writes the statistics of libdunegc.
    pub has_dunegc_stats: bool,
}

/// What the C programs print.
#[derive(Deserialize)]
struct Report {
    checksum: String,
    elapsed_ms: f64,
    rss_peak_kib: f64,
    pause_max_ms: Option<f64>,
    collections: Option<u64>,
}

/// The fields of libdunegc's statistics that the report uses.
#[derive(Deserialize)]
struct DunegcStats {
    collections: Option<u64>,
    pause_max_ns: Option<f64>,
    pause_p99_ns: Option<f64>,
    pause_histogram: Option<Vec<(f64, u64)>>,
}

/// The stops of the world in one run, as libdunegc counts them.
#[derive(Clone, Debug, Serialize)]
pub struct Stops {
    /// 99 % of them were not longer.
    pub p99_ms: f64,
    /// Upper bound in nanoseconds and count.
    pub histogram: Vec<(f64, u64)>,
}

impl Invocation {
    /// The command with an environment in which no allocator is preset.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            let presets = [
                "LD_PRELOAD",
                // In cargo's tests it leads to this project's libgc.so.1.
                "LD_LIBRARY_PATH",
                "DUNEGC_",
                "GC_",
                "MALLOC_",
                "MIMALLOC_",
                "_RJEM",
                "GLIBC_TUNABLES",
            ];
            if presets.iter().any(|p| name_text.starts_with(p)) {
                command.env_remove(&name);
            }
        }
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        command.envs(self.env.iter().copied());
        command
    }
}

/// A child's exit: status and CPU time (user, system).
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
}

/// Waits for `child` and takes its resource usage. Kills it after `timeout`, which is an error.
pub fn wait(child: &mut Child, timeout: Duration) -> Result<Exit> {
    let pid = child.id() as libc::pid_t;
    let deadline = Instant::now() + timeout;
    // SAFETY: pidfd_open takes two integers; the descriptor that it returns is closed below.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int;
    let mut timed_out = false;
    if pidfd >= 0 {
        let mut poll = libc::pollfd {
            fd: pidfd,
            events: libc::POLLIN,
            revents: 0,
        };
        loop {
            let left = deadline
                .saturating_duration_since(Instant::now())
                .as_millis() as libc::c_int;
            // SAFETY: `poll` is one valid pollfd.
            match unsafe { libc::poll(&mut poll, 1, left) } {
                -1 => continue,
                0 => {
                    timed_out = true;
                    let _ = child.kill();
                }
                _ => {}
            }
            break;
        }
        // SAFETY: pidfd is ours and is not used after this.
        unsafe { libc::close(pidfd) };
    }
    let mut status = 0;
    // SAFETY: rusage is plain data, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `status` and `usage` are valid to write to; the child has not been waited for.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } != pid {
        bail!("wait4({pid}): {}", std::io::Error::last_os_error());
    }
    if timed_out {
        bail!("killed: still running after {} s", timeout.as_secs());
    }
    let (user, system) = cpu_time(&usage);
    Ok(Exit {
        status: ExitStatus::from_raw(status),
        user,
        system,
    })
}

/// Runs `what` once. `scratch` is a directory for its stderr and statistics.
pub fn run_once(what: &Invocation, scratch: &Path, timeout: Duration) -> Result<Sample> {
    let stats_path = scratch.join("dunegc-stats.json");
    let stderr_path = scratch.join("stderr.txt");
    let _ = std::fs::remove_file(&stats_path);
    let mut command = what.command();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(
        File::create(&stderr_path)
            .with_context(|| format!("cannot create {}", stderr_path.display()))?,
    );
    if what.has_dunegc_stats {
        command.env("DUNEGC_STATS", format!("json:{}", stats_path.display()));
    }

    let meter = LoadMeter::start();
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", what.program.display()))?;
    let mut stdout = child.stdout.take();
    let exit = wait(&mut child, timeout)?;
    let wall = began.elapsed();
    let foreign_load = meter.foreign(exit.user + exit.system);

    let mut text = String::new();
    if let Some(pipe) = &mut stdout {
        pipe.read_to_string(&mut text)
            .context("cannot read the program's output")?;
    }
    if !exit.status.success() {
        let stderr = std::fs::read_to_string(&stderr_path).unwrap_or_default();
        bail!("{}; stderr ends: {}", exit.status, last_lines(&stderr, 3));
    }
    let report: Report = serde_json::from_str(text.trim())
        .with_context(|| format!("expected one JSON line on stdout, got {:?}", text.trim()))?;
    let stats = std::fs::read_to_string(&stats_path)
        .ok()
        .and_then(|text| serde_json::from_str::<DunegcStats>(&text).ok());
    let own_pause = stats
        .as_ref()
        .and_then(|s| s.pause_max_ns)
        .map(|ns| ns / 1e6);
    let stops = stats.as_ref().and_then(|s| {
        Some(Stops {
            p99_ms: s.pause_p99_ns? / 1e6,
            histogram: s.pause_histogram.clone()?,
        })
    });
    let stderr = std::fs::read_to_string(&stderr_path).unwrap_or_default();
    Ok(Sample {
        stops,
        stderr: last_lines(&stderr, 20),
        value: report.elapsed_ms,
        wall_ms: wall.as_secs_f64() * 1e3,
        user_ms: exit.user.as_secs_f64() * 1e3,
        system_ms: exit.system.as_secs_f64() * 1e3,
        pause_max_ms: own_pause.or(report.pause_max_ms),
        collections: stats.and_then(|s| s.collections).or(report.collections),
        rss_mib: report.rss_peak_kib / 1024.0,
        foreign_load,
        checksum: report.checksum,
    })
}

/// The last `count` lines of `text`, joined.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return "(empty)".to_owned();
    }
    lines[lines.len().saturating_sub(count)..].join(" | ")
}
