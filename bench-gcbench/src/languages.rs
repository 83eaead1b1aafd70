//! Programs in languages that use libgc, with Debian's libgc1 and with this project's library in turn.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::measure;
use crate::report;
use crate::summary::median;

/// Options of `bench-gcbench languages`.
#[derive(Args)]
pub struct LanguagesArgs {
    /// Runs of each program with each library.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How much each program has to do.
    #[arg(long, default_value_t = 20)]
    scale: u32,
    /// Folder with this project's libgc.so.1 [default: release in the target directory].
    #[arg(long, value_name = "DIR")]
    libgc: Option<PathBuf>,
    /// Seconds after which a run is killed, which is a failure.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Tables in Markdown.
    #[arg(long)]
    markdown: bool,
}

/// The libraries, and how they are asked for their stops.
#[derive(Clone, Copy, PartialEq)]
enum Library {
    Debian,
    Dunegc,
    Concurrent,
}

impl Library {
    const ALL: [Self; 3] = [Self::Debian, Self::Dunegc, Self::Concurrent];

    fn name(self) -> &'static str {
        match self {
            Self::Debian => "libgc1",
            Self::Dunegc => "dunegc",
            Self::Concurrent => "dunegc, beside the program",
        }
    }
}

/// One run.
struct Sample {
    seconds: f64,
    pause_ms: Option<f64>,
    rss_mib: f64,
    output: Vec<u8>,
}

/// A program; `line` is run in a directory of its own in which `prepare` has been run before.
struct Program {
    name: &'static str,
    prepare: Option<Vec<String>>,
    line: Vec<String>,
}

fn programs(sources: &Path, scale: u32) -> Vec<Program> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let scheme = sources.join("work.scm").display().to_string();
    let lisp = sources.join("work.lisp").display().to_string();
    let compile = format!("(progn (compile-file {lisp:?} :output-file \"work.fas\") (ext:quit 0))");
    let run = format!("(progn (load \"work.fas\") (setf *scale* {scale}) (run) (ext:quit 4))");
    vec![
        Program {
            name: "guile",
            prepare: None,
            line: words(&[
                "guile-3.0",
                "--no-auto-compile",
                &scheme,
                &scale.to_string(),
            ]),
        },
        Program {
            name: "ecl",
            prepare: Some(words(&["ecl", "--norc", "--eval", &compile])),
            line: words(&["ecl", "--norc", "--eval", &run]),
        },
    ]
}

/// Runs everything in turns and prints medians and ratios.
pub fn run(args: &LanguagesArgs, target: &Path) -> Result<ExitCode> {
    let libgc = args.libgc.clone().unwrap_or_else(|| target.join("release"));
    let libgc = libgc
        .canonicalize()
        .with_context(|| format!("--libgc {}", libgc.display()))?;
    ensure!(
        libgc.join("libgc.so.1").exists(),
        "{}: no libgc.so.1; build it with `cargo build --release -p dunegc-libgc`",
        libgc.display()
    );
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/libgc");
    let dir = target.join("bench-languages");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let header = [
        "program",
        "library",
        "time s",
        "pause max ms",
        "RSS MiB",
        "time ×",
        "pause ×",
        "RSS ×",
    ];
    let mut table = report::new_table(args.markdown, &header, 2);
    for program in programs(&sources, args.scale) {
        if let Some(line) = &program.prepare {
            one(line, Library::Debian, &libgc, &dir, args.timeout)?;
        }
        let mut samples: Vec<Vec<Sample>> = Library::ALL.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.runs.max(1) {
            for (library, samples) in Library::ALL.iter().zip(&mut samples) {
                samples.push(one(&program.line, *library, &libgc, &dir, args.timeout)?);
            }
        }
        let expected = &samples[0][0].output;
        ensure!(
            samples
                .iter()
                .flatten()
                .all(|sample| sample.output == *expected),
            "{}: the output is not the same with every library",
            program.name
        );
        let figures = |samples: &[Sample]| {
            [
                median(samples.iter().map(|s| s.seconds)),
                samples.iter().filter_map(|s| s.pause_ms).reduce(f64::max),
                median(samples.iter().map(|s| s.rss_mib)),
            ]
        };
        let base = figures(&samples[0]);
        for (library, samples) in Library::ALL.iter().zip(&samples) {
            let own = figures(samples);
            let shown = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.2}"));
            let mut row = vec![program.name.to_owned(), library.name().to_owned()];
            row.extend(own.iter().map(|value| shown(*value)));
            row.extend(
                own.iter()
                    .zip(base)
                    .map(|(own, base)| shown(own.zip(base).map(|(own, base)| own / base))),
            );
            table.add_row(row);
        }
    }
    println!("{table}");
    println!(
        "pause: of libgc1 the longest marking with the world stopped, as GC_PRINT_STATS says; else the longest stop"
    );
    Ok(ExitCode::SUCCESS)
}

fn one(
    line: &[String],
    library: Library,
    libgc: &Path,
    dir: &Path,
    timeout: u64,
) -> Result<Sample> {
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .current_dir(dir)
        .env("HOME", dir)
        .stdin(Stdio::null())
        .stdout(File::create(&out).context("create a file for the output")?)
        .stderr(File::create(&err).context("create a file for messages")?);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // In cargo's tests LD_LIBRARY_PATH leads to this project's libgc.so.1.
        let presets = ["GC_", "DUNEGC_", "LD_PRELOAD", "LD_LIBRARY_PATH"];
        if presets.iter().any(|p| text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    match library {
        Library::Debian => command.env("GC_PRINT_STATS", "1"),
        _ => command
            .env("LD_LIBRARY_PATH", libgc)
            .env("DUNEGC_LOG", "gc"),
    };
    if library == Library::Concurrent {
        command.env("DUNEGC_CONCURRENT", "yes");
    }
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", line[0]))?;
    let exit = measure::wait(&mut child, Duration::from_secs(timeout))
        .with_context(|| format!("{} with {}", line[0], library.name()))?;
    let seconds = start.elapsed().as_secs_f64();
    let messages = fs::read(&err).context("read the messages")?;
    let messages = String::from_utf8_lossy(&messages);
    if exit.status.code().is_none() {
        bail!(
            "{} with {}: {}\n{}",
            line[0],
            library.name(),
            exit.status,
            measure::last_lines(&messages, 5)
        );
    }
    let pauses = messages.lines().filter_map(|line| match library {
        Library::Debian => debian_pause(line),
        _ => own_pause(line),
    });
    Ok(Sample {
        seconds,
        pause_ms: pauses.reduce(f64::max),
        rss_mib: exit.rss_mib,
        output: fs::read(&out).context("read the output")?,
    })
}

/// `World-stopped marking took 9 ms 942551 ns (...)`.
fn debian_pause(line: &str) -> Option<f64> {
    let rest = line.strip_prefix("World-stopped marking took ")?;
    let (ms, rest) = rest.split_once(" ms ")?;
    let (ns, _) = rest.split_once(" ns")?;
    Some(ms.parse::<f64>().ok()? + ns.parse::<f64>().ok()? / 1e6)
}

/// `... stop_max_ns=11268876 ...`.
fn own_pause(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(" stop_max_ns=")?;
    Some(rest.split(' ').next()?.parse::<f64>().ok()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_from_the_messages_of_both() {
        let line = "World-stopped marking took 9 ms 942551 ns (2 ms in average)";
        assert_eq!(debian_pause(line), Some(9.942551));
        assert_eq!(debian_pause("Complete collection took 3 ms 1 ns"), None);
        let line = "dunegc: [1] gc cycle=1 stops=1 stop_ns=5 stop_max_ns=11268876 marked_bytes=1";
        assert_eq!(own_pause(line), Some(11.268876));
        assert_eq!(own_pause("dunegc: [1] something else"), None);
    }
}
