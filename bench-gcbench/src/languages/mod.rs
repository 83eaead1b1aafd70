//! Programs in languages that use libgc, with Debian's libgc1 and with this project's library in turn.

mod programs;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use comfy_table::{Cell, Color, Table};
use indicatif::ProgressBar;

use crate::report;
use crate::session::progress_bar;
use crate::summary::median;
use programs::Program;
use sample::{Library, Sample, Setup};

/// Options of `bench-gcbench languages`.
#[derive(Args)]
pub struct LanguagesArgs {
    /// Runs of each program with each library.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Programs, by comma: guile, ecl, nim, objc, w3m.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How much each program has to do.
    #[arg(long, default_value_t = 20)]
    scale: u32,
    /// Folder with this project's libgc.so.1 [default: release in the target directory].
    #[arg(long, value_name = "DIR")]
    libgc: Option<PathBuf>,
    /// Seconds after which a run is killed, which is a failure.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// Tables in Markdown.
    #[arg(long)]
    markdown: bool,
}

/// What this project's library must reach, as it comes: ratios to libgc1.
const BARS: [(&str, f64); 3] = [("time", 1.0), ("pause", 0.1), ("RSS", 1.1)];

/// Medians over the runs of one program with one library.
struct Figures {
    seconds: Option<f64>,
    cpu_seconds: Option<f64>,
    pause_ms: Option<f64>,
    rss_mib: Option<f64>,
    collections: Option<f64>,
    load: Option<f64>,
}

impl Figures {
    fn of(samples: &[Sample]) -> Self {
        let over = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        Self {
            seconds: over(|s| s.seconds),
            cpu_seconds: over(|s| s.cpu_seconds),
            pause_ms: median(samples.iter().filter_map(|s| s.pause_ms)),
            rss_mib: over(|s| s.rss_mib),
            collections: over(|s| s.collections),
            load: over(|s| s.foreign_load),
        }
    }

    /// In the order of [`BARS`].
    fn judged(&self) -> [Option<f64>; 3] {
        [self.seconds, self.pause_ms, self.rss_mib]
    }
}

/// Runs everything in turns and prints medians, ratios and verdicts. Fails if a run does.
pub fn run(args: &LanguagesArgs, target: &Path) -> Result<ExitCode> {
    let setup = set_up(args, target)?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/libgc");
    let sources = sources
        .canonicalize()
        .with_context(|| sources.display().to_string())?;
    let chosen = choose(programs::all(&sources, args.scale), &args.only)?;
    programs::write_page(&setup.dir, args.scale)?;
    let runs = args.runs.max(1);
    let progress = progress_bar(chosen.len() * (1 + runs * Library::ALL.len()));
    let header = [
        "program",
        "library",
        "time s",
        "cpu s",
        "pause max ms",
        "RSS MiB",
        "GCs",
        "load",
        "time ×",
        "pause ×",
        "RSS ×",
    ];
    let mut table = report::new_table(args.markdown, &header, 2);
    let mut failed = 0;
    for program in &chosen {
        if progress.is_hidden() {
            eprintln!("running {}", program.name);
        }
        match measure(program, &setup, runs, &progress) {
            Ok(samples) => add_rows(&mut table, program, &samples),
            Err(error) => {
                progress.suspend(|| eprintln!("bench-gcbench: {}: {error:#}", program.name));
                table.add_row([program.name, "FAILED"]);
                failed += 1;
            }
        }
    }
    progress.finish_and_clear();
    println!("{table}");
    println!(
        "Medians of {runs} runs, in turns; pause: of the longest stop of each run. Bars: time ≤ {} ×, pause ≤ {} ×, RSS ≤ {} × \
         of libgc1, for the library as it comes; a ratio above its bar is marked !.",
        BARS[0].1, BARS[1].1, BARS[2].1
    );
    if failed > 0 {
        eprintln!(
            "bench-gcbench: {failed} of {} programs failed",
            chosen.len()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn set_up(args: &LanguagesArgs, target: &Path) -> Result<Setup> {
    let libgc = args.libgc.clone().unwrap_or_else(|| target.join("release"));
    let libgc = libgc
        .canonicalize()
        .with_context(|| format!("--libgc {}", libgc.display()))?;
    ensure!(
        libgc.join("libgc.so.1").exists(),
        "{}: no libgc.so.1; build it with `cargo build --release -p dunegc-libgc`",
        libgc.display()
    );
    let dir = target.join("bench-languages");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir
        .canonicalize()
        .with_context(|| dir.display().to_string())?;
    let setup = Setup {
        libgc,
        stops: dir.join("libstops.so"),
        dir,
        timeout: Duration::from_secs(args.timeout),
    };
    setup.build_stops()?;
    Ok(setup)
}

/// The programs that are wanted and installed; one line on stderr for each that is wanted only.
fn choose(all: Vec<Program>, only: &[String]) -> Result<Vec<Program>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !Program::NAMES.contains(&name.as_str()))
    {
        bail!(
            "--only {unknown}: no such program; there are {}",
            Program::NAMES.join(", ")
        );
    }
    let wanted = all
        .into_iter()
        .filter(|p| only.is_empty() || only.iter().any(|name| name == p.name));
    let (found, missing): (Vec<_>, Vec<_>) = wanted.partition(Program::is_installed);
    for program in missing {
        let (name, package) = (program.name, program.needs.1);
        eprintln!("{name} is skipped, it is not installed: apt-get install {package}");
    }
    ensure!(!found.is_empty(), "nothing to run: no program is installed");
    Ok(found)
}

/// The runs of `program`, for each library.
fn measure(
    program: &Program,
    setup: &Setup,
    runs: usize,
    progress: &ProgressBar,
) -> Result<Vec<Vec<Sample>>> {
    let end = progress.position() + 1 + (runs * Library::ALL.len()) as u64;
    let result = (|| {
        progress.set_message(format!("{}: preparing", program.name));
        for line in &program.prepare {
            setup.prepare(line)?;
        }
        progress.inc(1);
        let mut samples: Vec<Vec<Sample>> = Library::ALL.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (library, samples) in Library::ALL.iter().zip(&mut samples) {
                progress.set_message(format!("{}, {}", program.name, library.name()));
                let sample = setup
                    .run(&program.line, program.code, *library)
                    .with_context(|| format!("with {}", library.name()))?;
                samples.push(sample);
                progress.inc(1);
            }
        }
        let expected = &samples[0][0].output;
        let same = |sample: &Sample| sample.output == *expected;
        ensure!(
            samples.iter().flatten().all(same),
            "the output is not the same with every library"
        );
        Ok(samples)
    })();
    progress.set_position(end);
    result
}

fn add_rows(table: &mut Table, program: &Program, samples: &[Vec<Sample>]) {
    let shown = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.2}"));
    let base = Figures::of(&samples[0]);
    for (library, samples) in Library::ALL.iter().zip(samples) {
        let own = Figures::of(samples);
        let mut row = vec![Cell::new(program.name), Cell::new(library.name())];
        let figures = [
            own.seconds,
            own.cpu_seconds,
            own.pause_ms,
            own.rss_mib,
            own.collections,
            own.load,
        ];
        row.extend(figures.map(|figure| Cell::new(shown(figure))));
        for ((own, base), (_, bar)) in own.judged().iter().zip(base.judged()).zip(BARS) {
            let ratio = own.zip(base).map(|(own, base)| own / base);
            row.push(judged(ratio, bar, *library));
        }
        table.add_row(row);
    }
}

/// A ratio and what the bar says to it.
fn judged(ratio: Option<f64>, bar: f64, library: Library) -> Cell {
    match ratio {
        None => Cell::new("–"),
        Some(ratio) if library == Library::Debian => Cell::new(format!("{ratio:.2}")),
        Some(ratio) if ratio <= bar => Cell::new(format!("{ratio:.2}")).fg(Color::Green),
        Some(ratio) => Cell::new(format!("{ratio:.2} !")).fg(Color::Red),
    }
}
