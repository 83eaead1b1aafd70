//! `dunegc doctor` and `dunegc man`.

mod common;

use common::{dunegc, preload, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn json_has_every_check_and_choice() {
    let dir = TempDir::new().unwrap();
    let lib = preload(dir.path());
    let mut command = dunegc();
    command
        .args(["doctor", "--json", "--lib"])
        .arg(&lib)
        .env("DUNEGC_MODE", "leaks")
        .env("DUNEGC_ZEAL", "9");
    let report: Value = serde_json::from_str(&stdout(&command.assert().success())).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = |name: &str| {
        checks
            .iter()
            .find(|c| c["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {report}"))
    };
    for name in [
        "kernel",
        "libc",
        "huge pages",
        "cores",
        "memory",
        "overcommit",
        "RLIMIT_AS",
        "max_map_count",
        "/proc",
        "dune",
        "dune-wp",
        "pagemap-scan",
        "soft-dirty",
        "mprotect",
        "guest mode",
        "library",
    ] {
        assert_ne!(check(name)["value"], "", "{name}");
        assert!(
            ["ok", "warn"].contains(&check(name)["status"].as_str().unwrap()),
            "{name}"
        );
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(
        check("kernel")["value"],
        format!("Linux {}", release.trim())
    );
    assert_eq!(check("library")["note"], "loads");

    let chosen = report["chosen"].as_array().unwrap();
    let choice = |name: &str| {
        &chosen
            .iter()
            .find(|c| c["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))["value"]
    };
    assert_eq!(choice("mode"), "leaks");
    assert_eq!(choice("DUNEGC_ZEAL"), "9");
    let works = |name: &str| check(name)["value"].as_str().unwrap().starts_with("works");
    let best = ["pagemap-scan", "soft-dirty"]
        .into_iter()
        .find(|n| works(n));
    assert_eq!(choice("written pages"), best.unwrap_or("none"));
    for name in ["markers", "stop signal", "huge pages"] {
        assert_ne!(choice(name), "", "{name}");
    }
}

#[test]
fn limits_and_affinity_are_seen() {
    let dir = TempDir::new().unwrap();
    let lib = preload(dir.path());
    let exe = assert_cmd::cargo::cargo_bin!("dunegc");
    let script = format!(
        "ulimit -v 4000000; exec taskset 1 {} doctor --lib {}",
        exe.display(),
        lib.display()
    );
    let out = common::clean(assert_cmd::Command::new("sh"))
        .args(["-c", &script])
        .assert()
        .success();
    let out = stdout(&out);
    let line = |name: &str| {
        out.lines()
            .find(|l| l.contains(&format!(" {name} ")))
            .unwrap_or_else(|| panic!("{out}"))
    };
    assert!(
        line("RLIMIT_AS").starts_with("  warn") && line("RLIMIT_AS").contains("3.8 GiB"),
        "{out}"
    );
    assert!(
        line("cores").starts_with("  warn") && line("cores").contains(", 1 allowed"),
        "{out}"
    );
    assert!(line("markers").contains("up to 1"), "{out}");
}

#[test]
fn a_missing_or_unloadable_library_fails() {
    let dir = TempDir::new().unwrap();
    let a = dunegc()
        .args(["doctor", "--lib", "/nonexistent.so"])
        .assert()
        .code(1);
    assert!(stdout(&a).contains("FAIL  library"), "{}", stdout(&a));
    // A shared object that needs a symbol nobody has: found, of the right kind, not loadable.
    let lib = dir.path().join("libbad.so");
    let source = "extern int nowhere(void); int (*p)(void) = nowhere;";
    common::compile(source, &lib, &["-shared", "-fPIC", "-Wl,-z,now"]);
    let a = dunegc()
        .args(["doctor", "--lib"])
        .arg(&lib)
        .assert()
        .code(1);
    assert!(stdout(&a).contains("nowhere"), "{}", stdout(&a));
    // One that the loader refuses (an unknown OS ABI): it says so and runs the program without it.
    let mut bytes = std::fs::read(preload(dir.path())).unwrap();
    bytes[7] = 9;
    std::fs::write(&lib, &bytes).unwrap();
    let a = dunegc()
        .args(["doctor", "--lib"])
        .arg(&lib)
        .assert()
        .code(1);
    assert!(
        stdout(&a).contains("does not load: ERROR: ld.so"),
        "{}",
        stdout(&a)
    );
    // One that is cut short: the loader crashes without a word.
    bytes[7] = 0;
    std::fs::write(&lib, &bytes[..2048]).unwrap();
    let a = dunegc()
        .args(["doctor", "--lib"])
        .arg(&lib)
        .assert()
        .code(1);
    assert!(
        stdout(&a).contains("does not load: /bin/cat ended with signal: 7"),
        "{}",
        stdout(&a)
    );
    // One under which programs fail.
    let source = "#include <unistd.h>
        __attribute__((destructor)) static void end(void) { fsync(1); _exit(3); }";
    common::compile(source, &lib, &["-shared", "-fPIC"]);
    let a = dunegc()
        .args(["doctor", "--lib"])
        .arg(&lib)
        .assert()
        .code(1);
    assert!(
        stdout(&a).contains("a program under it fails: /bin/cat ended with exit status: 3"),
        "{}",
        stdout(&a)
    );
}

#[test]
fn refused_variables_are_named() {
    let dir = TempDir::new().unwrap();
    let lib = preload(dir.path());
    let a = dunegc()
        .args(["doctor", "--lib"])
        .arg(&lib)
        .env("DUNEGC_MODE", "bogus")
        .assert()
        .success();
    assert!(
        stderr(&a).contains("DUNEGC_MODE=bogus: expected malloc, reclaim or leaks; using malloc"),
        "{}",
        stderr(&a)
    );
}

#[test]
fn man_pages() {
    let page = stdout(&dunegc().arg("man").assert().success());
    for text in [
        ".TH dunegc 1",
        "dunegc\\-run(1)",
        "\\fBDUNEGC_MODE\\fR",
        "Takes malloc, reclaim or leaks. Default: malloc.",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let page = stdout(&dunegc().args(["man", "run"]).assert().success());
    for text in [
        ".TH dunegc-run 1  \"dunegc 0",
        "max\\-heap",
        "exit status",
        "\\fBDUNEGC_LIB\\fR",
    ] {
        assert!(
            page.to_lowercase().contains(&text.to_lowercase()),
            "{text} in {page}"
        );
    }
    dunegc().args(["man", "nothing"]).assert().code(2);
}
