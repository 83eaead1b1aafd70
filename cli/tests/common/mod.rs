//! Shared by the tests of the command.
#![allow(dead_code)] // each test file uses a part

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use std::path::{Path, PathBuf};

/// The command, without DUNEGC_ variables and preloads of the surrounding process.
pub fn dunegc() -> Command {
    clean(Command::new(assert_cmd::cargo::cargo_bin!("dunegc")))
}

/// `command` without DUNEGC_ variables and preloads of the surrounding process.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DUNEGC_") || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

pub fn stderr(a: &Assert) -> String {
    String::from_utf8_lossy(&a.get_output().stderr).into_owned()
}

pub fn stdout(a: &Assert) -> String {
    String::from_utf8_lossy(&a.get_output().stdout).into_owned()
}

/// Compiles C with the system's compiler.
pub fn compile(source: &str, output: &Path, flags: &[&str]) {
    let mut command = Command::new("cc");
    command
        .args(["-x", "c", "-", "-O1", "-w", "-o"])
        .arg(output)
        .args(flags);
    command.write_stdin(source).assert().success();
}

/// A shared object that says when a program is started with it.
pub fn preload(dir: &Path) -> PathBuf {
    let lib = dir.join("libtest.so");
    let source = "#include <unistd.h>
        __attribute__((constructor)) static void start(void) { write(1, \"preloaded\\n\", 10); }";
    compile(source, &lib, &["-shared", "-fPIC"]);
    lib.canonicalize().unwrap()
}

/// Copies a file with these permissions. By another process: a descriptor open for writing here could leak into a child
/// of another test, and the kernel refuses to run a file that is open for writing.
pub fn install(from: impl AsRef<Path>, to: &Path, mode: u32) {
    let mode = format!("{mode:o}");
    Command::new("install")
        .args(["-m", &mode])
        .arg(from.as_ref())
        .arg(to)
        .assert()
        .success();
}

/// Makes an executable file with this content, by another process as [`install`] does.
pub fn script(path: &Path, text: &str) {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "rm -f \"$1\" && cat > \"$1\" && chmod 755 \"$1\"",
            "sh",
        ])
        .arg(path);
    command.write_stdin(text).assert().success();
}
