//! The steps of `cargo xtask test`, in the order in which they run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::beside::{self, Tests};
use crate::context::Context;
use crate::deps;
use crate::fuzz;
use crate::install;
use crate::report::{self, Entry, Outcome};

/// One step: a name for `--only`, a line for `--list`, and what it does.
struct Step {
    name: &'static str,
    about: &'static str,
    run: Work,
}

/// What a step does.
enum Work {
    /// With the machine to itself.
    Alone(fn(&Context) -> Result<Outcome>),
    /// Tests side by side with those of the steps of this sort before and after it.
    Beside(Tests),
}

const STEPS: &[Step] = &[
    Step {
        name: "deps",
        about: "Debian packages",
        run: Work::Alone(dependencies),
    },
    Step {
        name: "fmt",
        about: "cargo fmt --check",
        run: Work::Alone(fmt),
    },
    Step {
        name: "clippy",
        about: "clippy, warnings are errors",
        run: Work::Alone(clippy),
    },
    Step {
        name: "build",
        about: "release build of what is installed",
        run: Work::Alone(build),
    },
    Step {
        name: "unit",
        about: "unit, property and example tests of every crate",
        run: Work::Alone(unit),
    },
    Step {
        name: "loom",
        about: "lock-free parts under the loom model checker",
        run: Work::Alone(loom),
    },
    Step {
        name: "fuzz",
        about: "20 s of random C calls against a model",
        run: Work::Alone(fuzz::run),
    },
    Step {
        name: "layering",
        about: "dependency order and file sizes",
        run: Work::Alone(layering),
    },
    Step {
        name: "capi",
        about: "malloc family, C and C++ interface, bad input",
        run: Work::Alone(capi),
    },
    Step {
        name: "process",
        about: "threads, fork, exec, dlopen, limits, roots, reclaim, trace",
        run: Work::Alone(process),
    },
    Step {
        name: "programs",
        about: "real programs, output compared with a run without the library",
        run: Work::Alone(programs),
    },
    Step {
        name: "libgc",
        about: "headers and programs of the Boehm interface, compared with Debian's libgc1",
        run: Work::Alone(libgc),
    },
    Step {
        name: "selfhost",
        about: "cargo build of this workspace under the library",
        run: Work::Alone(selfhost),
    },
    Step {
        name: "zeal",
        about: "C interface and process tests with forced collections",
        run: Work::Alone(zeal),
    },
    Step {
        name: "paranoid",
        about: "the suite on a build that re-marks and compares",
        run: Work::Alone(paranoid),
    },
    Step {
        name: "concurrent",
        about: "collections beside the program, on the build that re-marks and compares",
        run: Work::Alone(concurrent),
    },
    Step {
        name: "generational",
        about: "collections that look only for what is new, on the same build",
        run: Work::Alone(generational),
    },
    Step {
        name: "asan",
        about: "C interface inside a program built with AddressSanitizer",
        run: Work::Alone(asan),
    },
    Step {
        name: "dune",
        about: "guest mode: reference and real programs here",
        run: Work::Alone(dune),
    },
    Step {
        name: "qemu",
        about: "the dirty source soft-dirty on a Debian kernel in QEMU",
        run: Work::Beside(Tests {
            suite: "dirty_qemu",
            filters: &[],
            skip: &[],
            limit: Duration::from_secs(30 * 60),
        }),
    },
    Step {
        name: "dune-qemu",
        about: "guest mode: all its tests, and collections, under kvm-amd in QEMU",
        run: Work::Beside(Tests {
            suite: "dune",
            filters: &[],
            skip: &["reference_programs"],
            limit: Duration::from_secs(30 * 60),
        }),
    },
    Step {
        name: "kmod",
        about: "the module dune: builds, keeps its promises and runs guest mode, on a Debian kernel in QEMU",
        run: Work::Beside(Tests {
            suite: "kmod",
            filters: &[],
            skip: &[],
            limit: Duration::from_secs(30 * 60),
        }),
    },
    Step {
        name: "bochs",
        about: "the module dune on Intel's virtualisation: runs guest mode and collections, on the same kernel in Bochs",
        run: Work::Beside(Tests {
            suite: "kmod_bochs",
            filters: &["on_the_module"],
            skip: &[],
            limit: Duration::from_secs(30 * 60),
        }),
    },
    Step {
        name: "bochs-long",
        about: "the same: keeps its promises, all with two processors, GCBench with its usual trees; only on request, or by vm-test",
        run: Work::Beside(Tests {
            suite: "kmod_bochs",
            filters: &["promises", "on_two_processors", "whole"],
            skip: &[],
            limit: Duration::from_secs(120 * 60),
        }),
    },
    Step {
        name: "kmod-newest",
        about: "the module dune builds for the newest kernel of Debian's backports; only on request, or by vm-test",
        run: Work::Beside(Tests {
            suite: "kmod_newest",
            filters: &[],
            skip: &[],
            limit: Duration::from_secs(30 * 60),
        }),
    },
    Step {
        name: "torture",
        about: "60 s of threads, fork, dlopen, signals",
        run: Work::Alone(short_torture),
    },
];

/// Integration tests of the `tests` crate behind the steps `capi` and `process`.
const CAPI_TESTS: &[&str] = &["malloc_family", "cxx", "c_api", "bad_input", "environment"];
const PROCESS_TESTS: &[&str] = &[
    "lifecycle",
    "interposed",
    "limits",
    "roots",
    "reclaim",
    "leaks",
    "memory_return",
    "trace",
    "probes",
];
/// Behind the step `libgc`; those that run the library come again in the step `paranoid`.
const LIBGC_TESTS: &[&str] = &["libgc_headers", "libgc_install"];
const LIBGC_LIBRARY_TESTS: &[&str] = &[
    "libgc_objects",
    "libgc_finalization",
    "libgc_threads",
    "libgc_settings",
    "libgc_programs",
    "libgc_languages",
];

/// Run only if named: they take too long beside the others.
const ON_REQUEST: &[&str] = &["bochs-long", "kmod-newest"];

/// Runs the chosen steps to the end (or to the first failure) and sums up.
pub fn test(context: &Context, only: &[String], list: bool, fail_fast: bool) -> Result<()> {
    if list {
        for step in STEPS {
            println!("{:<11} {}", step.name, step.about);
        }
        return Ok(());
    }
    if let Some(unknown) = only
        .iter()
        .find(|name| !STEPS.iter().any(|step| step.name == **name))
    {
        bail!("--only {unknown}: no such step; cargo xtask test --list names them");
    }
    let begin = Instant::now();
    let mut entries = Vec::new();
    let mut chosen = STEPS
        .iter()
        .filter(|step| match only {
            [] => !ON_REQUEST.contains(&step.name),
            _ => only.iter().any(|name| name == step.name),
        })
        .peekable();
    while let Some(step) = chosen.next() {
        match &step.run {
            Work::Alone(run) => entries.push(alone(context, step, *run)),
            Work::Beside(tests) => {
                let mut group = vec![step.beside(tests)];
                while let Some(Step {
                    run: Work::Beside(tests),
                    ..
                }) = chosen.peek()
                {
                    group.extend(chosen.next().map(|step| step.beside(tests)));
                }
                entries.extend(beside::run(context, &group));
            }
        }
        let failed = |entry: &Entry| matches!(entry.outcome, Outcome::Failed(_));
        // Without its packages nearly every later step would fail for the same reason.
        if entries.iter().any(failed) && (fail_fast || step.name == "deps") {
            break;
        }
    }
    match report::summary(&entries, begin.elapsed()) {
        0 => Ok(()),
        failed => bail!("{failed} of {} steps failed", entries.len()),
    }
}

/// Runs a step that has the machine to itself.
fn alone(context: &Context, step: &Step, run: fn(&Context) -> Result<Outcome>) -> Entry {
    report::header(step.name, step.about);
    let start = Instant::now();
    let outcome = run(context).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    let entry = Entry {
        name: step.name,
        outcome,
        took: start.elapsed(),
        notes: context.take_notes(),
    };
    report::footer(&entry);
    entry
}

impl Step {
    fn beside(&self, tests: &'static Tests) -> beside::Step {
        beside::Step {
            name: self.name,
            about: self.about,
            tests,
        }
    }
}

/// `cargo xtask torture`.
pub fn torture(context: &Context, minutes: f64, kvm: bool) -> Result<()> {
    build(context)?;
    let seconds = (minutes * 60.0).max(1.0);
    run_torture(context, seconds, kvm)
}

fn dependencies(context: &Context) -> Result<Outcome> {
    deps::install_all(context)?;
    Ok(Outcome::Passed)
}

fn fmt(context: &Context) -> Result<Outcome> {
    context.cargo(&["fmt", "--all", "--check"]).run()?;
    Ok(Outcome::Passed)
}

fn clippy(context: &Context) -> Result<Outcome> {
    context
        .cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
        .run()?;
    Ok(Outcome::Passed)
}

fn build(context: &Context) -> Result<Outcome> {
    // What the tests run: they run the benchmarks and their own programs as their own profile makes them.
    install::build(context)?;
    Ok(Outcome::Passed)
}

fn unit(context: &Context) -> Result<Outcome> {
    context
        .cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "dunegc-tests",
            "--no-fail-fast",
        ])
        .env("DUNEGC_LIB", context.library())
        .run()?;
    Ok(Outcome::Passed)
}

fn loom(context: &Context) -> Result<Outcome> {
    if !mentions(&context.root.join("gc"), "cfg(loom)")? {
        return Ok(Outcome::Skipped("gc holds no loom test".into()));
    }
    context
        .cargo(&[
            "test",
            "--package",
            "dunegc",
            "--profile",
            "loom",
            "--lib",
            "loom",
        ])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", context.target().join("loom"))
        .run()?;
    Ok(Outcome::Passed)
}

fn layering(context: &Context) -> Result<Outcome> {
    whole_system(context, &["layering"], &[])
}

fn capi(context: &Context) -> Result<Outcome> {
    whole_system(context, CAPI_TESTS, &[])
}

fn process(context: &Context) -> Result<Outcome> {
    whole_system(context, PROCESS_TESTS, &[])
}

fn programs(context: &Context) -> Result<Outcome> {
    whole_system(context, &["programs", "servers", "compilers"], &[])
}

fn libgc(context: &Context) -> Result<Outcome> {
    let suites = [LIBGC_TESTS, LIBGC_LIBRARY_TESTS].concat();
    whole_system(context, &suites, &[])
}

fn selfhost(context: &Context) -> Result<Outcome> {
    whole_system(context, &["selfhost"], &[])
}

fn zeal(context: &Context) -> Result<Outcome> {
    let mut suites = [&["malloc_family", "cxx", "c_api"], PROCESS_TESTS].concat();
    // What takes too long with forced collections is run without, as it was in the steps before.
    suites.retain(|&suite| suite != "memory_return");
    let without = ["heap_exhausted_under", "ten_gigabytes", "leaks_without"];
    tests_but(context, &suites, &[("DUNEGC_TEST_ZEAL", "97")], &without)
}

/// Builds the libraries that mark again and compare; returns the path of libdunegc, beside which libgc lies.
fn paranoid_library(context: &Context) -> Result<String> {
    context
        .cargo(&[
            "build",
            "--profile",
            "paranoid",
            "--package",
            "dunegc-ffi",
            "--package",
            "dunegc-libgc",
            "--package",
            "dunegc-libgccpp",
            "--features",
            "paranoid",
        ])
        .run()?;
    let library = context.target().join("paranoid/libdunegc.so");
    Ok(library.display().to_string())
}

fn paranoid(context: &Context) -> Result<Outcome> {
    let library = paranoid_library(context)?;
    // Those that collect: what is left out, dirty sources by themselves, options, documents, does not touch what this build checks.
    let suites = [
        "api_*", "finalize", "heap_*", "kernel_*", "kinds", "pins", "world_*",
    ];
    let mut args = vec!["test", "--package", "dunegc", "--features", "paranoid"];
    args.extend(["--no-fail-fast", "--lib"]);
    args.extend(suites.iter().flat_map(|suite| ["--test", suite]));
    context.cargo(&args).run()?;
    let mut suites = [&["malloc_family", "cxx", "c_api"], PROCESS_TESTS].concat();
    // The second set of marks takes memory that these have none of.
    suites.retain(|&suite| suite != "limits");
    whole_system(
        context,
        &suites,
        &[("DUNEGC_LIB", &library), ("DUNEGC_TEST_ZEAL", "997")],
    )?;
    let folder = library.trim_end_matches("/libdunegc.so");
    whole_system(
        context,
        LIBGC_LIBRARY_TESTS,
        &[("DUNEGC_LIBGC_DIR", folder)],
    )
}

fn concurrent(context: &Context) -> Result<Outcome> {
    // The suite `concurrent` runs on the checking library only.
    whole_system(context, &["dirty_bad_input", "trace_concurrent"], &[])?;
    let suites = [
        "concurrent",
        "c_api",
        "lifecycle",
        "roots",
        "reclaim",
        "memory_return",
    ];
    with_other_collections(context, &suites, "DUNEGC_TEST_CONCURRENT")?;
    let library = paranoid_library(context)?;
    whole_system(context, &["dune_collect"], &[("DUNEGC_LIB", &library)])?;
    let suites = ["libgc_objects", "libgc_finalization", "libgc_threads"];
    let settings = [
        (
            "DUNEGC_LIBGC_DIR",
            library.trim_end_matches("/libdunegc.so"),
        ),
        ("DUNEGC_TEST_CONCURRENT", "1"),
    ];
    whole_system(context, &suites, &settings)
}

fn generational(context: &Context) -> Result<Outcome> {
    // In `concurrent` the tests say by themselves which collections they want.
    let suites = ["c_api", "lifecycle", "reclaim"];
    with_other_collections(context, &suites, "DUNEGC_TEST_GENERATIONAL")
}

/// Suites on the checking library, with collections that `setting` asks for.
fn with_other_collections(context: &Context, suites: &[&str], setting: &str) -> Result<Outcome> {
    // Built by an earlier step, unless this one runs alone.
    let library = paranoid_library(context)?;
    let settings = [
        ("DUNEGC_LIB", library.as_str()),
        (setting, "1"),
        ("DUNEGC_TEST_ZEAL", "211"),
    ];
    whole_system(context, suites, &settings)
}

fn asan(context: &Context) -> Result<Outcome> {
    whole_system(context, &["sanitizer"], &[])
}

fn dune(context: &Context) -> Result<Outcome> {
    let mut args = vec!["test", "--package", "dunegc-tests", "--test", "dune"];
    args.extend(["--", "reference_programs"]);
    context
        .cargo(&args)
        .env("DUNEGC_LIB", context.library())
        .run()?;
    whole_system(context, &["dune_run", "dune_programs"], &[])
}

fn short_torture(context: &Context) -> Result<Outcome> {
    run_torture(context, 60.0, false)?;
    Ok(Outcome::Passed)
}

/// Runs the torture test, its time split over the modes.
fn run_torture(context: &Context, seconds: f64, kvm: bool) -> Result<()> {
    context
        .cargo(&[
            "test",
            "--package",
            "dunegc-tests",
            "--test",
            "torture",
            "--",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("DUNEGC_LIB", context.library())
        .env("DUNEGC_TORTURE_SECONDS", format!("{seconds}"))
        .env("DUNEGC_TORTURE_KVM", if kvm { "1" } else { "" })
        .limit(Duration::from_secs_f64(seconds * 2.0 + 600.0))
        .run()
}

/// Runs integration tests of the `tests` crate against the release library.
fn whole_system(context: &Context, suites: &[&str], env: &[(&str, &str)]) -> Result<Outcome> {
    tests_but(context, suites, env, &[])
}

/// The same but for the tests whose names contain one of `without`.
fn tests_but(
    context: &Context,
    suites: &[&str],
    env: &[(&str, &str)],
    without: &[&str],
) -> Result<Outcome> {
    let mut args = vec!["test", "--package", "dunegc-tests", "--no-fail-fast"];
    for suite in suites {
        args.extend(["--test", suite]);
    }
    if !without.is_empty() {
        args.push("--");
        args.extend(without.iter().flat_map(|part| ["--skip", part]));
    }
    let mut run = context.cargo(&args).env("DUNEGC_LIB", context.library());
    for (name, value) in env {
        run = run.env(name, value);
    }
    run.limit(Duration::from_secs(30 * 60)).run()?;
    Ok(Outcome::Passed)
}

/// Whether a Rust source below `dir` contains `needle`.
fn mentions(dir: &Path, needle: &str) -> Result<bool> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            mentions(&path, needle)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && fs::read_to_string(&path)?.contains(needle)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
