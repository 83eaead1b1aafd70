//! `dunegc run`: what it passes on, and everything that it refuses.

mod common;

use common::{compile, dunegc, preload, stderr, stdout};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A command with a clean environment, a real shared object to preload, and a folder for the test's files.
struct Case {
    dir: TempDir,
    lib: PathBuf,
}

impl Case {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let lib = preload(dir.path());
        Case { dir, lib }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, options: &[&str], command: &[&str]) -> assert_cmd::assert::Assert {
        let mut c = dunegc();
        c.arg("run")
            .arg("--lib")
            .arg(&self.lib)
            .args(options)
            .arg("--")
            .args(command);
        c.assert()
    }

    fn refused(&self, program: &Path, status: i32, text: &str) {
        let program = program.to_str().unwrap();
        let a = self.run(&[], &[program]).code(status);
        let line = stderr(&a);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.starts_with("dunegc run: ") && line.contains(program) && line.contains(text),
            "{line}"
        );
        assert_eq!(stdout(&a), "", "nothing ran");
    }
}

#[test]
fn the_library_is_loaded_and_options_become_variables() {
    let c = Case::new();
    let options = [
        "--mode",
        "reclaim",
        "--stats-json",
        "/tmp/s.%p",
        "--max-heap",
        "64M",
        "--env",
        "DUNEGC_ZEAL=5",
    ];
    let a = c
        .run(&[&options[..], &["--env", "A=b=c"]].concat(), &["env"])
        .success();
    let out = stdout(&a);
    assert!(out.starts_with("preloaded\n"), "{out}");
    for line in [
        "DUNEGC_MODE=reclaim",
        "DUNEGC_STATS=json:/tmp/s.%p",
        "DUNEGC_MAX_HEAP=64M",
        "DUNEGC_ZEAL=5",
        "A=b=c",
        &format!("LD_PRELOAD={}", c.lib.display()),
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in {out}");
    }
    let a = c.run(&["--stats"], &["env"]).success();
    assert!(stdout(&a).contains("DUNEGC_STATS=1\n"));
}

#[test]
fn an_existing_preload_stays_behind() {
    let c = Case::new();
    let other = c.path("other.so");
    fs::copy(&c.lib, &other).unwrap();
    let mut command = dunegc();
    command
        .env("LD_PRELOAD", &other)
        .env("DUNEGC_LIB", &c.lib)
        .args(["run", "--", "env"]);
    let out = stdout(&command.assert().success());
    assert!(
        out.contains(&format!(
            "LD_PRELOAD={}:{}\n",
            c.lib.display(),
            other.display()
        )),
        "{out}"
    );
}

#[test]
fn status_arguments_and_script_pass_through() {
    let c = Case::new();
    c.run(&[], &["sh", "-c", "exit 42"]).code(42);
    let script = c.path("script");
    common::script(&script, "#!/bin/sh\necho \"$1\"; exit 7\n");
    let a = c.run(&[], &[script.to_str().unwrap(), "--mode"]).code(7);
    assert_eq!(stdout(&a), "preloaded\n--mode\n");
    // Without a first line that names an interpreter, execvp falls back to the shell.
    common::script(&script, "exit 9\n");
    c.run(&[], &[script.to_str().unwrap()]).code(9);
}

/// As env(1) and its like: what follows the program is the program's.
#[test]
fn the_two_dashes_may_be_left_out() {
    let c = Case::new();
    let mut command = dunegc();
    command
        .env("DUNEGC_LIB", &c.lib)
        .args([
            "run",
            "--mode",
            "reclaim",
            "sh",
            "-c",
            "echo \"$DUNEGC_MODE $*\"; exit 3",
        ])
        .args(["sh", "--mode", "leaks", "--", "-x"]);
    let out = stdout(&command.assert().code(3));
    assert!(out.ends_with("reclaim --mode leaks -- -x\n"), "{out}");
    let mut unknown = dunegc();
    unknown.args(["run", "--bogus", "true"]);
    let line = stderr(&unknown.assert().code(2));
    assert!(line.contains("unexpected argument '--bogus'"), "{line}");
}

#[test]
fn sigpipe_stays_as_it_was() {
    let c = Case::new();
    let show = "grep SigIgn /proc/self/status";
    let pipe = |line: &str| {
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap() >> 12 & 1
    };
    for (trap, ignored) in [("", 0), ("trap '' PIPE;", 1)] {
        let exe = assert_cmd::cargo::cargo_bin!("dunegc");
        let script = format!(
            "{trap} exec {} run --lib {} -- {show}",
            exe.display(),
            c.lib.display()
        );
        // Under python, SIGPIPE is at its default in the child; under cargo test Rust resets it as well.
        let out = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let out = String::from_utf8(out.stdout).unwrap();
        assert_eq!(pipe(out.lines().last().unwrap()), ignored, "{out}");
    }
}

#[test]
fn not_found() {
    let c = Case::new();
    c.refused(Path::new("/nonexistent/program"), 127, "No such file");
    c.refused(Path::new("/bin/sh/x"), 127, "Not a directory");
    c.refused(
        Path::new("no-such-program-anywhere"),
        127,
        "no such program in PATH",
    );
}

#[test]
fn not_executable_or_a_folder() {
    let c = Case::new();
    let file = c.path("data");
    fs::write(&file, "x").unwrap();
    c.refused(&file, 126, "not executable");
    c.refused(c.dir.path(), 126, "is a directory");
    fs::write(&file, "#!\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    c.refused(&file, 126, "names no interpreter");
    fs::write(&file, "#!/nonexistent/interpreter\n").unwrap();
    let a = c.run(&[], &[file.to_str().unwrap()]).code(127);
    assert!(stderr(&a).contains("/nonexistent/interpreter"));
}

#[test]
fn static_programs() {
    let c = Case::new();
    for (name, flag) in [("static", "-static"), ("static-pie", "-static-pie")] {
        let program = c.path(name);
        compile("int main(void) { return 0; }", &program, &[flag]);
        c.refused(&program, 126, "statically linked");
        // Through a script as well; the line names the interpreter.
        let script = c.path("script");
        common::script(&script, &format!("#!{}\n", program.display()));
        let a = c.run(&[], &[script.to_str().unwrap()]).code(126);
        assert!(
            stderr(&a).contains(program.to_str().unwrap()),
            "{}",
            stderr(&a)
        );
    }
}

#[test]
fn foreign_programs() {
    let c = Case::new();
    let program = c.path("program");
    let musl = "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1";
    compile("int main(void) { return 0; }", &program, &[musl]);
    c.refused(&program, 126, "the library needs glibc's");

    let mut elf = fs::read("/bin/true").unwrap();
    let mut patched = |at: usize, value: u8| {
        elf[at] = value;
        fs::write(&program, &elf).unwrap();
    };
    // e_machine: AArch64.
    patched(18, 183);
    c.refused(&program, 126, "another processor");
    // EI_CLASS: 32-bit.
    patched(4, 1);
    c.refused(&program, 126, "32-bit");
    fs::write(&program, b"\x7fELF\x02\x01\x01 cut short").unwrap();
    c.refused(&program, 126, "broken ELF file");
}

#[test]
fn raised_privileges() {
    let c = Case::new();
    let program = c.path("program");
    common::install("/bin/true", &program, 0o755);
    // SAFETY: no arguments.
    let root = unsafe { libc::getuid() } == 0;
    if root {
        for (mode, text) in [(0o4755, "set-user-id"), (0o2755, "set-group-id")] {
            std::os::unix::fs::chown(&program, Some(65534), Some(65534)).unwrap();
            fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
            c.refused(&program, 126, text);
        }
        // Set-user-id to the user who runs it raises nothing: it runs, preloaded.
        std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
        let a = c.run(&[], &[program.to_str().unwrap()]).success();
        assert_eq!(stdout(&a), "preloaded\n");
    } else {
        // Debian always has these, owned by root.
        c.refused(Path::new("/usr/bin/passwd"), 126, "set-user-id");
        c.refused(Path::new("/usr/bin/chage"), 126, "set-group-id");
    }
}

#[test]
fn unfit_libraries() {
    let c = Case::new();
    let with = |lib: &Path, text: &str| {
        let a = dunegc()
            .arg("run")
            .arg("--lib")
            .arg(lib)
            .args(["--", "true"])
            .assert()
            .code(125);
        let line = stderr(&a);
        assert!(
            line.starts_with("dunegc run: ") && line.contains(text),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    };
    with(Path::new("/nonexistent.so"), "No such file");
    let text = c.path("text.so");
    fs::write(&text, "not a library").unwrap();
    with(&text, "not a 64-bit ELF file");
    let blank = c.path("a b.so");
    fs::copy(&c.lib, &blank).unwrap();
    with(&blank, "blank or colon");
    let object = c.path("static");
    compile("int main(void) { return 0; }", &object, &["-static"]);
    with(&object, "not a shared object");
    // A copy of the command without a library around it.
    let alone = c.path("dunegc");
    common::install(assert_cmd::cargo::cargo_bin!("dunegc"), &alone, 0o755);
    let a = common::clean(assert_cmd::Command::new(&alone))
        .args(["run", "--", "true"])
        .assert()
        .code(125);
    assert!(
        stderr(&a).contains("no libdunegc.so next to "),
        "{}",
        stderr(&a)
    );
    // With one next to it, and with one in ../lib.
    fs::copy(&c.lib, c.path("libdunegc.so")).unwrap();
    common::clean(assert_cmd::Command::new(&alone))
        .args(["run", "--", "true"])
        .assert()
        .success()
        .stdout("preloaded\n");
    fs::remove_file(c.path("libdunegc.so")).unwrap();
    for folder in ["bin", "lib"] {
        fs::create_dir(c.path(folder)).unwrap();
    }
    fs::rename(&alone, c.path("bin/dunegc")).unwrap();
    fs::copy(&c.lib, c.path("lib/libdunegc.so")).unwrap();
    let moved = assert_cmd::Command::new(c.path("bin/dunegc"));
    common::clean(moved)
        .args(["run", "--", "true"])
        .assert()
        .success()
        .stdout("preloaded\n");
}

#[test]
fn bad_options() {
    let c = Case::new();
    for (options, text) in [
        (
            &["--mode", "fast"][..],
            "possible values: malloc, reclaim, leaks",
        ),
        (&["--max-heap", "1K"], "expected none or a size from 1M"),
        (&["--env", "novalue"], "expected NAME=VALUE"),
        (
            &["--env", "DUNEGC_MARKERS=0"],
            "expected auto or a number from 1 to 64",
        ),
        (&["--stats", "--stats-json", "x"], "cannot be used with"),
    ] {
        let a = c.run(options, &["true"]).code(2);
        assert!(stderr(&a).contains(text), "{}", stderr(&a));
    }
    dunegc().args(["run", "--"]).assert().code(2);
    dunegc().assert().code(2);
}
