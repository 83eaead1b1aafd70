//! The C interface and the Boehm calls, called from C; the static library.
mod common;
use common::*;
use std::process::Command;

fn linked(source: &str) -> std::path::PathBuf {
    let dir = library().parent().unwrap().display().to_string();
    build(
        source,
        &[
            "-O1",
            "-pthread",
            &format!("-L{dir}"),
            "-ldunegc",
            &format!("-Wl,-rpath,{dir}"),
        ],
    )
}

#[test]
fn boehm() {
    let program = linked("boehm.c");
    for mode in ["malloc", "reclaim"] {
        assert_ok(
            &Command::new(&program)
                .env("DUNEGC_MODE", mode)
                .output()
                .unwrap(),
        );
    }
}

#[test]
fn finalizer_thread() {
    assert_ok(&Command::new(linked("finalizer_thread.c")).output().unwrap());
}

#[test]
fn static_library() {
    let archive = library().with_extension("a").display().to_string();
    let program = build(
        "boehm.c",
        &["-O1", "-pthread", &archive, "-lgcc_s", "-lm", "-ldl"],
    );
    assert_ok(&Command::new(&program).output().unwrap());
    let program = build(
        "new.cc",
        &[
            "-std=c++17",
            "-O1",
            "-fno-builtin",
            "-Wno-unused-result",
            &archive,
            "-lgcc_s",
            "-lm",
            "-ldl",
        ],
    );
    assert_ok(&Command::new(&program).output().unwrap());
}
