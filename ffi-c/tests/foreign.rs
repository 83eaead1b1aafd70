//! Blocks of other allocators in the process, and pointers that nobody owns.
mod common;
use common::*;
use std::path::Path;
use std::process::Command;

#[test]
fn blocks_of_libc() {
    let own = build("own_malloc.c", &["-O1", "-shared", "-fPIC"]);
    let program = build(
        "foreign.c",
        &["-O1", "-pthread", "-Wno-free-nonheap-object"],
    );
    assert_ok(&preload(
        &program,
        &[own.to_str().unwrap(), "good", "deep"],
        &[],
    ));
    // Through our malloc the same calls work, too.
    assert_ok(&preload(
        &program,
        &[own.to_str().unwrap(), "good", "shallow"],
        &[],
    ));
}

#[test]
fn pointers_of_nobody() {
    let own = build("own_malloc.c", &["-O1", "-shared", "-fPIC"]);
    let program = build(
        "foreign.c",
        &["-O1", "-pthread", "-Wno-free-nonheap-object"],
    );
    let args = [own.to_str().unwrap(), "bad", "shallow"];
    let o = preload(&program, &args, &[("DUNEGC_ON_ERROR", "warn")]);
    assert!(o.status.success() && o.stdout == b"ok\n", "{}", text(&o));
    assert_eq!(
        String::from_utf8_lossy(&o.stderr)
            .matches("invalid pointer")
            .count(),
        3,
        "{}",
        text(&o)
    );
    let o = preload(&program, &args, &[]);
    assert!(
        !o.status.success()
            && String::from_utf8_lossy(&o.stderr)
                .matches("invalid pointer")
                .count()
                == 1,
        "{}",
        text(&o)
    );
}

#[test]
fn another_malloc_library_behind() {
    const MIMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2";
    if !Path::new(MIMALLOC).exists() {
        eprintln!("skipped: {MIMALLOC} is not installed (apt-get install libmimalloc2.0)");
        return;
    }
    let program = build(
        "foreign.c",
        &["-O1", "-pthread", "-Wno-free-nonheap-object"],
    );
    let o = Command::new(&program)
        .args([MIMALLOC, "good", "mi"])
        .env("LD_PRELOAD", format!("{} {MIMALLOC}", library().display()))
        .output()
        .unwrap();
    assert_ok(&o);
}
