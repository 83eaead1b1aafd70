//! `cargo xtask install`: a program that is built from the installed files by pkg-config, and staging below DESTDIR.

use std::fs;
use std::path::Path;

use dunegc_tests::{Run, need, scratch, workspace};

fn xtask(args: &[&str]) -> Run {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Run::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--"])
        .args(args)
        .dir(workspace())
        .limit(1200)
}

/// What pkg-config says of a package installed below `lib`.
fn pkg_config(lib: &Path, package: &str) -> Vec<String> {
    need("pkg-config", "pkg-config");
    let run = Run::new("pkg-config")
        .args(["--cflags", "--libs", package])
        .env("PKG_CONFIG_PATH", lib.join("pkgconfig"));
    let words = run.ok().stdout;
    words.split_whitespace().map(str::to_owned).collect()
}

const PROGRAM: &str = r#"
#define GC_THREADS
#include <gc.h>
#include <stdio.h>
#include <gc/gc_typed.h>
int main(void)
{
    GC_INIT();
    long sum = 0;
    for (int i = 0; i < 100000; i++) {
        long *p = GC_MALLOC(64);
        sum += *p + GC_size(p) / 64;
        *p = i;
    }
    GC_gcollect();
    printf("%ld %d %x\n", sum >= 100000, GC_get_gc_no() > 0, GC_get_version());
    return 0;
}
"#;

const CXX: &str = r#"
#include <gc_cpp.h>
#include <cstdio>
struct node : public gc_cleanup {
    node *next = nullptr;
    long number = 0;
};
int main()
{
    GC_INIT();
    node *list = nullptr;
    for (long i = 0; i < 100000; i++) {
        node *n = new node;
        n->next = i % 100 ? list : nullptr;
        n->number = i;
        list = n;
    }
    long sum = 0;
    for (node *n = list; n; n = n->next)
        sum += n->number;
    int *plain = new int(7);
    std::printf("%ld %d %d\n", sum, GC_base(plain) != nullptr, *plain);
    delete plain;
    return 0;
}
"#;

const OWN: &str = r#"
#include <dunegc.h>
#include <stdio.h>
int main(void)
{
    printf("%d\n", dunegc_collect());
    return 0;
}
"#;

#[test]
fn programs_build_from_what_is_installed() {
    let dir = scratch("install");
    let prefix = dir.display().to_string();
    xtask(&["install", "--prefix", &prefix]).ok();
    let lib = dir.join("lib");
    for (package, language, further, source, expected) in [
        ("bdw-gc", "c", None, PROGRAM, "1 1 80202\n"),
        ("bdw-gc", "c++", Some("-lgccpp"), CXX, "9994950 1 7\n"),
        ("libdunegc", "c", None, OWN, "0\n"),
    ] {
        let program = dir.join("program");
        Run::new(if language == "c" { "gcc" } else { "g++" })
            .args(["-x", language, "-", "-o"])
            .arg(&program)
            .args(["-x", "none"])
            .args(pkg_config(&lib, package))
            .args(further)
            .stdin(source)
            .ok();
        let run = Run::new(&program).env("LD_LIBRARY_PATH", &lib);
        let loaded = run.clone().env("LD_TRACE_LOADED_OBJECTS", "1").ok();
        assert!(loaded.stdout.contains(&prefix), "{loaded}");
        assert_eq!(run.ok().stdout, expected, "{package}");
    }
    // The command finds the library beside it.
    let run = Run::new(dir.join("bin/dunegc")).args(["run", "--", "echo", "installed"]);
    assert_eq!(run.ok().stdout, "installed\n");
    let page = fs::read_to_string(dir.join("share/man/man1/dunegc-run.1")).expect("a man page");
    assert!(page.contains(".TH dunegc-run"), "{page}");
    // Once more over what is there.
    xtask(&["install", "--prefix", &prefix]).ok();
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn staging_leaves_the_paths_in_the_files() {
    let dir = scratch("stage");
    let libdir = "/opt/dunegc/lib/x86_64-linux-gnu";
    xtask(&["install", "--prefix", "/opt/dunegc", "--libdir", libdir])
        .env("DESTDIR", &dir)
        .ok();
    let lib = dir.join(&libdir[1..]);
    for file in [
        "libdunegc.so",
        "libdunegc.a",
        "libgc.so.1",
        "libgccpp.so.1",
        "pkgconfig/bdw-gc.pc",
    ] {
        assert!(lib.join(file).is_file(), "{file}");
    }
    let link = fs::read_link(lib.join("libgc.so")).expect("the link for -lgc");
    assert_eq!(link, Path::new("libgc.so.1"));
    assert!(dir.join("opt/dunegc/include/gc/gc.h").is_file());
    assert!(dir.join("opt/dunegc/bin/dunegc").is_file());
    let words = pkg_config(&lib, "bdw-gc");
    assert_eq!(
        words,
        [
            "-I/opt/dunegc/include",
            "-L/opt/dunegc/lib/x86_64-linux-gnu",
            "-lgc"
        ]
    );
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn a_relative_prefix_is_refused() {
    let outcome = xtask(&["install", "--prefix", "here"]).output();
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("--prefix here: must be an absolute path"),
        "{outcome}"
    );
    let help = xtask(&["install", "--help"]).ok().stdout;
    assert!(
        help.contains("--destdir") && help.contains("DESTDIR"),
        "{help}"
    );
}
