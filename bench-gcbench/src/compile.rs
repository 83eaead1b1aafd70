//! Builds the C programs of `bench-gcbench/c` with gcc, one binary per program, variant and library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::model::{Peer, Program, Variant};

/// Where the C sources of the benchmarks lie.
pub fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("c")
}

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// As it is.
    Plain,
    /// With the probes of `probe.h`.
    Probed,
}

impl Build {
    /// Both.
    pub const BOTH: [Build; 2] = [Build::Plain, Build::Probed];
}

/// What one call of [`all`] built, and what it left out with the reason.
#[derive(Default)]
pub struct Built {
    /// Paths of the binaries that exist and are up to date.
    pub binaries: Vec<PathBuf>,
    /// One line for each binary that could not be built.
    pub left_out: Vec<String>,
}

/// The binary for `program` in `variant`. The malloc variant has one binary for all peers, and the Rust variants,
/// which cargo builds beside this program, have one for all programs and no probes.
pub fn binary_path(
    out: &Path,
    program: Program,
    variant: Variant,
    peer: Peer,
    build: Build,
) -> PathBuf {
    let probed = match build {
        Build::Plain => "",
        Build::Probed => "-probed",
    };
    let beside = |name| {
        std::env::current_exe()
            .unwrap_or_default()
            .with_file_name(name)
    };
    match variant {
        Variant::Malloc => out.join(format!("{program}-malloc{probed}")),
        Variant::Collected | Variant::Freeing => {
            out.join(format!("{program}-{variant}-{peer}{probed}"))
        }
        Variant::RustGc => beside("rust-gc"),
        Variant::RustBox if peer == Peer::Dunegc => beside("rust-box-dunegc"),
        Variant::RustBox => beside("rust-box"),
    }
}

/// Builds `programs` for `peers` into `out` in the given ways; the freeing variant has no probes. `dunegc` is the path of `libdunegc.so`, if there is one.
pub fn all(
    out: &Path,
    programs: &[Program],
    peers: &[Peer],
    dunegc: Option<&Path>,
    builds: &[Build],
) -> Result<Built> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut built = Built::default();
    for &program in programs {
        let malloc = (Variant::Malloc, Peer::Glibc);
        let collectors = peers.iter().filter(|p| p.runs(Variant::Collected));
        let linked = collectors.flat_map(|&p| [(Variant::Collected, p), (Variant::Freeing, p)]);
        let wanted = std::iter::once(malloc)
            .chain(linked)
            .flat_map(|(variant, peer)| builds.iter().map(move |&build| (variant, peer, build)))
            .filter(|&(variant, _, build)| {
                build == Build::Plain || variant != Variant::Freeing && program != Program::Xmalloc
            });
        for (variant, peer, build) in wanted {
            let path = binary_path(out, program, variant, peer, build);
            match one(&path, program, variant, peer, build, dunegc) {
                Ok(()) => built.binaries.push(path),
                Err(e) => {
                    // A binary of an earlier build must not stand in for one that does not build.
                    let _ = std::fs::remove_file(&path);
                    built.left_out.push(format!("{}: {e:#}", path.display()));
                }
            }
        }
    }
    Ok(built)
}

/// Builds one binary unless it is newer than all that it is made of.
fn one(
    path: &Path,
    program: Program,
    variant: Variant,
    peer: Peer,
    build: Build,
    dunegc: Option<&Path>,
) -> Result<()> {
    let sources = source_dir();
    let source = sources.join(format!("{program}.c"));
    let mut inputs = vec![
        source.clone(),
        sources.join("alloc.h"),
        sources.join("bench.h"),
        sources.join("probe.h"),
    ];
    if peer == Peer::Dunegc {
        inputs.extend(dunegc.map(Path::to_owned));
    }
    if is_newer(path, &inputs) {
        return Ok(());
    }

    let mut gcc = Command::new("gcc");
    gcc.args([
        "-O2",
        "-g1",
        "-std=gnu11",
        "-pthread",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
    ])
    .arg(path);
    match variant {
        Variant::Malloc | Variant::RustGc | Variant::RustBox => {}
        Variant::Collected => drop(gcc.arg("-DCOLLECTED")),
        Variant::Freeing => drop(gcc.arg("-DGC_FREEING")),
    }
    if build == Build::Probed {
        gcc.arg("-DPROBES");
    }
    if program == Program::Xml {
        gcc.arg("-I/usr/include/libxml2");
    }
    gcc.arg(&source);
    match (peer, dunegc) {
        (Peer::Dunegc, Some(so)) => {
            let (Some(dir), Some(name)) = (so.parent(), so.file_name()) else {
                bail!("{} is not the path of a library", so.display());
            };
            let name = name.to_string_lossy();
            gcc.arg("-L")
                .arg(dir)
                .arg(format!("-l:{name}"))
                .arg(format!("-Wl,-rpath,{}", dir.display()));
        }
        (Peer::Libgc, _) => drop(gcc.arg("-lgc")),
        _ => {}
    }
    if program == Program::Xml {
        gcc.arg("-lxml2");
    }
    let output = gcc
        .output()
        .context("cannot start gcc (Debian: apt-get install gcc)")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let cause = text
            .lines()
            .find(|l| l.contains("error") || l.contains("undefined") || l.contains("cannot find"));
        bail!(
            "gcc failed: {}",
            cause.or(text.lines().next()).unwrap_or("no message").trim()
        );
    }
    Ok(())
}

fn is_newer(path: &Path, inputs: &[PathBuf]) -> bool {
    let modified = |p: &Path| p.metadata().and_then(|m| m.modified());
    let Ok(built) = modified(path) else {
        return false;
    };
    inputs
        .iter()
        .all(|input| modified(input).unwrap_or(SystemTime::now()) < built)
}
