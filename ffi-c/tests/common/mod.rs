//! What the tests of the library share: the built library and a C compiler.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The shared library, built from the sources as they are, in the profile of the tests; or the one that
/// `DUNEGC_TEST_LIBRARY` names.
///
/// Cargo does not build a package's cdylib for its integration tests, so that one lying there can be old.
pub fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        if let Some(path) = std::env::var_os("DUNEGC_TEST_LIBRARY") {
            return PathBuf::from(path);
        }
        match target().1.as_str() {
            "debug" => build_library("dev", "debug"),
            name => build_library(name, name),
        }
    };
    BUILT.get_or_init(build).clone()
}

/// The same, optimised.
pub fn release_library() -> PathBuf {
    build_library("release", "release")
}

/// The target directory, and the name of the folder in it that the tests were built in.
fn target() -> (PathBuf, String) {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.ancestors().nth(2).unwrap();
    (
        folder.parent().unwrap().to_path_buf(),
        folder.file_name().unwrap().to_str().unwrap().to_string(),
    )
}

fn build_library(profile: &str, folder: &str) -> PathBuf {
    let target = target().0;
    let run = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            env!("CARGO_PKG_NAME"),
            "--lib",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(&target)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", text(&run));
    target.join(folder).join("libdunegc.so")
}

/// The crate's directory.
pub fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program built from `tests/c/<source>`.
pub fn build(source: &str, flags: &[&str]) -> PathBuf {
    let source = crate_dir().join("tests/c").join(source);
    build_file(&source, flags)
}

/// A program built from a source file anywhere.
pub fn build_file(source: &Path, flags: &[&str]) -> PathBuf {
    let name = source.file_stem().unwrap().to_str().unwrap();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}-{number}", std::process::id()));
    let compiler = if source.extension().is_some_and(|e| e == "cc") {
        "g++"
    } else {
        "gcc"
    };
    // Functions are looked up when the program starts: at its first call the dynamic linker would save registers on the stack, with
    // whatever addresses are left in them, and a collection then finds what the program has forgotten.
    let run = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-Wl,-z,now", "-g", "-I"])
        .arg(crate_dir().join("include"))
        .arg(source)
        .arg("-o")
        .arg(&out)
        .args(flags)
        .output()
        .unwrap_or_else(|e| panic!("{compiler} is needed: {e}"));
    assert!(
        run.status.success(),
        "{compiler} {}: {}",
        source.display(),
        String::from_utf8_lossy(&run.stderr)
    );
    out
}

/// Runs a program with the library preloaded.
pub fn preload(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(args)
        .env("LD_PRELOAD", library())
        // Not a variable of the library's, which would say so.
        .env_remove("DUNEGC_TEST_LIBRARY")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// Text of an output for a failed assertion.
pub fn text(o: &Output) -> String {
    format!(
        "{}\n{}{}",
        o.status,
        String::from_utf8_lossy(&o.stdout),
        String::from_utf8_lossy(&o.stderr)
    )
}

/// The program printed `ok` and ended well.
pub fn assert_ok(o: &Output) {
    assert!(o.status.success() && o.stdout == b"ok\n", "{}", text(o));
}
