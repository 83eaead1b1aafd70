//! Languages whose Debian packages use libgc1: programs print and return the same with this project's library.

use std::fs;
use std::path::PathBuf;

use dunegc_tests::{Run, need, same_program, scratch, workspace};

/// A file of `tests/programs/libgc`.
fn source(name: &str) -> PathBuf {
    workspace().join("tests/programs/libgc").join(name)
}

/// How much work the programs do.
const SCALE: &str = "4";

#[test]
fn guile() {
    need("guile-3.0", "guile-3.0");
    same_program(
        "guile",
        |dir| {
            Run::new("guile-3.0")
                .arg("--no-auto-compile")
                .arg(source("work.scm"))
                .arg(SCALE)
                .env("HOME", dir)
                .limit(300)
        },
        |_, outcome| {
            assert_eq!(outcome.code(), 7, "{outcome}");
            String::new()
        },
    );
}

/// Compiles the workload into bytecode, and runs that.
#[test]
fn guile_compiler() {
    need("guile-3.0", "guile-3.0");
    let compile = "(use-modules (system base compile)) \
         (compile-file (cadr (command-line)) #:output-file \"work.go\") \
         (set-program-arguments (list \"work\" \"2\")) (load-compiled \"work.go\")";
    same_program(
        "guile-compiler",
        |dir| {
            Run::new("guile-3.0")
                .args(["--no-auto-compile", "-c", compile])
                .arg(source("work.scm"))
                .env("HOME", dir)
                .dir(dir)
                .limit(300)
        },
        |dir, _| {
            let bytecode = fs::read(dir.join("work.go")).expect("the bytecode");
            format!("{} bytes", bytecode.len())
        },
    );
}

/// Compiles with ECL's compiler and the system's, loads the result and runs it.
#[test]
fn ecl() {
    need("ecl", "ecl");
    let script = format!(
        "(progn (let ((*standard-output* (make-broadcast-stream))) (compile-file \"work.lisp\")) \
         (load \"work.fas\") (setf *scale* {SCALE}) (run) (ext:quit 4))"
    );
    same_program(
        "ecl",
        |dir| {
            fs::copy(source("work.lisp"), dir.join("work.lisp")).expect("copy the source");
            Run::new("ecl")
                .args(["--norc", "--eval", &script])
                .env("HOME", dir)
                .dir(dir)
                .limit(300)
        },
        |_, outcome| {
            assert_eq!(outcome.code(), 4, "{outcome}");
            String::new()
        },
    );
}

/// Nim's programs load libgc.so.1 themselves.
#[test]
fn nim() {
    need("nim", "nim");
    for threads in ["on", "off"] {
        let dir = scratch("nim");
        let program = dir.join("work");
        Run::new("nim")
            .args(["c", "--gc:boehm", "--hints:off", "-d:release"])
            .arg(format!("--threads:{threads}"))
            .arg(format!("--nimcache:{}", dir.join("cache").display()))
            .arg(format!("-o:{}", program.display()))
            .arg(source("work.nim"))
            .env("HOME", &dir)
            .limit(300)
            .ok();
        same_program(
            "nim-run",
            |_| Run::new(&program),
            |_, outcome| {
                assert_eq!(outcome.code(), 5, "{outcome}");
                String::new()
            },
        );
        let _ = fs::remove_dir_all(dir);
    }
}

/// GNU Objective-C with its runtime for garbage collection.
#[test]
fn objective_c() {
    let dir = scratch("objc");
    let program = dir.join("work");
    Run::new("gcc")
        .args(["-std=gnu11", "-O1", "-x", "objective-c"])
        .arg(source("work.m"))
        .args(["-x", "none", "-lobjc_gc", "-o"])
        .arg(&program)
        .ok();
    same_program(
        "objc-run",
        |_| Run::new(&program),
        |_, outcome| {
            assert_eq!(outcome.code(), 3, "{outcome}");
            String::new()
        },
    );
    let _ = fs::remove_dir_all(dir);
}
