//! Mode `reclaim`: blocks that only the kernel knows, and the choice by allocating module.
mod common;
use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;

fn link_flags() -> [String; 3] {
    let dir = library().parent().unwrap().display().to_string();
    [
        format!("-L{dir}"),
        "-ldunegc".into(),
        format!("-Wl,-rpath,{dir}"),
    ]
}

fn with_library(source: &str, flags: &[&str]) -> PathBuf {
    let link = link_flags();
    let all: Vec<&str> = flags
        .iter()
        .copied()
        .chain(link.iter().map(String::as_str))
        .collect();
    build(source, &all)
}

#[test]
fn blocks_known_to_the_kernel_alone_stay() {
    let flags: &[&str] = if Path::new("/usr/include/liburing.h").exists() {
        &["-O1", "-DWITH_URING", "-luring"]
    } else {
        eprintln!("without io_uring: liburing.h is not installed (apt-get install liburing-dev)");
        &["-O1"]
    };
    let o = Command::new(with_library("kernel_held.c", flags))
        .env("DUNEGC_MODE", "reclaim")
        .output()
        .unwrap();
    assert!(
        o.status.success() && o.stdout.ends_with(b"ok\n"),
        "{}",
        text(&o)
    );
}

#[test]
fn by_module() {
    let program = with_library("by_module.cc", &["-O1"]);
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("modules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let built = build("module.c", &["-O1", "-shared", "-fPIC"]);
    let (listed, other) = (folder.join("liblisted.so.1"), folder.join("libother.so"));
    std::fs::copy(&built, &listed).unwrap();
    std::fs::copy(&built, &other).unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let near = |n: usize, expected: usize| n.abs_diff(expected) <= 10;
    for (only, expected) in [
        (Some("liblisted.so.1"), [0, 1000, 1000]),
        (Some("liblisted.so"), [0, 1000, 1000]),
        (Some(name), [1000, 1000, 0]),
        (Some("libother.so, liblisted.so.1"), [0, 0, 1000]),
        (Some("liblist"), [1000, 1000, 1000]),
        (None, [0, 0, 0]),
    ] {
        let mut run = Command::new(&program);
        run.args([&listed, &other]).env("DUNEGC_MODE", "reclaim");
        if let Some(only) = only {
            run.env("DUNEGC_RECLAIM_ONLY", only);
        }
        let o = run.output().unwrap();
        let out = String::from_utf8(o.stdout.clone()).unwrap();
        let counts: Vec<usize> = out
            .split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect();
        assert_eq!(counts.len(), 3, "{}", text(&o));
        assert!(
            counts.iter().zip(expected).all(|(&n, e)| near(n, e)),
            "only {only:?}: expected about {expected:?}\n{}",
            text(&o)
        );
    }
}
