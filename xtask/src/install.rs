//! `cargo xtask install`: libraries, headers, pkg-config files, the command and its man pages, put in place.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::context::Context;

/// Options of `cargo xtask install`.
#[derive(Args)]
pub struct InstallArgs {
    /// Where the installed files will be found.
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Folder of the libraries, if not PREFIX/lib.
    #[arg(long)]
    libdir: Option<PathBuf>,
    /// Folder of the headers, if not PREFIX/include.
    #[arg(long)]
    includedir: Option<PathBuf>,
    /// Put before every path that is written, not before those in the files (for packages).
    #[arg(long, env = "DESTDIR")]
    destdir: Option<PathBuf>,
}

/// Where things go, without the staging folder.
struct Places {
    prefix: PathBuf,
    lib: PathBuf,
    include: PathBuf,
    destdir: Option<PathBuf>,
}

/// A library of the release build, and the names it is installed under: the first is the file, the others lead to it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("libdunegc.so", &["libdunegc.so"]),
    ("libdunegc.a", &["libdunegc.a"]),
    ("libdune.so", &["libdune.so"]),
    ("libgc.so", &["libgc.so.1", "libgc.so"]),
    ("libgccpp.so", &["libgccpp.so.1", "libgccpp.so"]),
];
/// Folders of headers, and single headers of others.
const HEADERS: &[&str] = &["ffi-c/libgc/include"];
const HEADER: &str = "ffi-c/include/dunegc.h";
const PKG_CONFIG: &[&str] = &["ffi-c/libdunegc.pc.in", "ffi-c/libgc/bdw-gc.pc.in"];
/// Man pages, as `dunegc man` names them.
const PAGES: &[(&str, Option<&str>)] = &[
    ("dunegc.1", None),
    ("dunegc-run.1", Some("run")),
    ("dunegc-doctor.1", Some("doctor")),
];

/// The packages of what is installed.
const PACKAGES: [&str; 5] = [
    "dunegc-ffi",
    "dunegc-libgc",
    "dunegc-libgccpp",
    "libdune-preload",
    "dunegc-cli",
];

/// The release build of what is installed.
pub fn build(context: &Context) -> Result<()> {
    let mut build = vec!["build", "--release"];
    build.extend(PACKAGES.iter().flat_map(|package| ["--package", package]));
    context.cargo(&build).run()
}

/// Builds what is to be installed and copies it.
pub fn run(context: &Context, args: InstallArgs) -> Result<()> {
    for (name, path) in [
        ("--prefix", Some(&args.prefix)),
        ("--libdir", args.libdir.as_ref()),
        ("--includedir", args.includedir.as_ref()),
    ] {
        ensure!(
            path.is_none_or(|path| path.is_absolute()),
            "{name} {}: must be an absolute path",
            path.map_or_else(String::new, |path| path.display().to_string())
        );
    }
    let places = Places {
        lib: args.libdir.unwrap_or_else(|| args.prefix.join("lib")),
        include: args
            .includedir
            .unwrap_or_else(|| args.prefix.join("include")),
        prefix: args.prefix,
        destdir: args.destdir.filter(|dir| !dir.as_os_str().is_empty()),
    };
    build(context)?;
    let built = context.target().join("release");
    for (file, names) in LIBRARIES {
        let mode = if file.ends_with(".a") { 0o644 } else { 0o755 };
        places.copy(&built.join(file), &places.lib.join(names[0]), mode)?;
        for name in &names[1..] {
            places.link(names[0], &places.lib.join(name))?;
        }
    }
    places.copy(
        &context.root.join(HEADER),
        &places.include.join("dunegc.h"),
        0o644,
    )?;
    for folder in HEADERS {
        places.copy_folder(&context.root.join(folder), &places.include)?;
    }
    for template in PKG_CONFIG {
        places.pkg_config(&context.root.join(template))?;
    }
    let command = built.join("dunegc");
    places.copy(&command, &places.prefix.join("bin/dunegc"), 0o755)?;
    for (page, of) in PAGES {
        let text = duct::cmd(&command, [Some("man"), *of].into_iter().flatten())
            .stdout_capture()
            .run()
            .with_context(|| format!("cannot print {page}"))?
            .stdout;
        places.write(
            &places.prefix.join("share/man/man1").join(page),
            &text,
            0o644,
        )?;
    }
    Ok(())
}

impl Places {
    /// The path that is really written, its folder made.
    fn staged(&self, path: &Path) -> Result<PathBuf> {
        let staged = match (&self.destdir, path.strip_prefix("/")) {
            (Some(destdir), Ok(below)) => destdir.join(below),
            _ => path.to_owned(),
        };
        if let Some(folder) = staged.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(staged)
    }

    /// The file appears in one step: a library that is in use must not be written into.
    fn write(&self, to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let to = self.staged(to)?;
        let mut name = to.file_name().context("a file has a name")?.to_owned();
        name.push(".new");
        let fresh = to.with_file_name(name);
        fs::write(&fresh, bytes)
            .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&fresh, &to))
            .with_context(|| format!("cannot write {}", to.display()))?;
        println!("{}", to.display());
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(to, &bytes, mode)
    }

    fn copy_folder(&self, from: &Path, to: &Path) -> Result<()> {
        for entry in
            fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?
        {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy_folder(&entry.path(), &to)?;
            } else {
                self.copy(&entry.path(), &to, 0o644)?;
            }
        }
        Ok(())
    }

    fn link(&self, target: &str, at: &Path) -> Result<()> {
        let at = self.staged(at)?;
        if at.symlink_metadata().is_ok() {
            fs::remove_file(&at).with_context(|| format!("cannot replace {}", at.display()))?;
        }
        symlink(target, &at).with_context(|| format!("cannot link {}", at.display()))?;
        println!("{} -> {target}", at.display());
        Ok(())
    }

    /// Fills the template's places and installs it without `.in`.
    fn pkg_config(&self, template: &Path) -> Result<()> {
        let text = fs::read_to_string(template)
            .with_context(|| format!("cannot read {}", template.display()))?
            .replace("@prefix@", &self.prefix.to_string_lossy())
            .replace("@libdir@", &self.lib.to_string_lossy())
            .replace("@includedir@", &self.include.to_string_lossy())
            .replace("@version@", env!("CARGO_PKG_VERSION"));
        let name = template.file_stem().context("a template has a name")?;
        self.write(
            &self.lib.join("pkgconfig").join(name),
            text.as_bytes(),
            0o644,
        )
    }
}
