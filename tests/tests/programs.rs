//! Real programs under the library: output and exit status are those of a run without it.

use std::fs;
use std::path::{Path, PathBuf};

use dunegc_tests::{Mode, Run, compare_filtered, need, scratch, workspace};

/// A file of `tests/programs`.
fn script(name: &str) -> PathBuf {
    workspace().join("tests/programs").join(name)
}

/// Compares standard output and exit status in every mode; `make` gets a fresh directory for each run.
fn compare_in_fresh_directories(name: &str, make: impl Fn(&Path) -> Run) {
    let run = |mode: Option<Mode>| {
        let dir = scratch(name);
        let run = make(&dir);
        let outcome = mode.map_or(run.clone(), |mode| run.mode(mode)).output();
        // Directories differ from run to run.
        let mut shown = outcome.stdout.replace(&*dir.to_string_lossy(), "DIR");
        // What the Python suites print themselves holds times and comes in any order.
        if shown.contains("RESULT ran") {
            let results = shown.lines().filter(|line| line.starts_with("RESULT "));
            shown = results.collect::<Vec<_>>().join("\n");
        }
        (outcome, shown, dir)
    };
    let (plain, expected, dir) = run(None);
    let _ = fs::remove_dir_all(dir);
    assert!(!expected.is_empty(), "{plain}");
    for mode in Mode::ALL {
        let (under, got, dir) = run(Some(mode));
        assert_eq!(
            plain.code(),
            under.code(),
            "exit status\n=== without\n{plain}\n=== with\n{under}"
        );
        assert!(
            expected == got,
            "standard output differs\n=== without\n{plain}\n=== with\n{under}"
        );
        let _ = fs::remove_dir_all(dir);
    }
}

/// Debian leaves `test_sqlite3` out of its package; install-deps takes it from the Debian source archive.
fn python_extra() -> PathBuf {
    let dir = workspace().join("target/python-3.11.2-tests");
    assert!(
        dir.join("test_sqlite3/__init__.py").is_file(),
        "{}: no test_sqlite3; run `cargo xtask install-deps`",
        dir.display()
    );
    dir
}

fn python(suite: &str, env: &[(&str, &str)]) {
    let python = "/usr/bin/python3.11";
    need(python, "python3.11");
    need(
        "/usr/lib/python3.11/test/test_gc.py",
        "libpython3.11-testsuite",
    );
    compare_in_fresh_directories(suite, |dir| {
        let mut run = Run::new(python)
            .arg(script("python_suite.py"))
            .arg(python_extra())
            .arg(suite)
            .dir(dir)
            // Suites look at their children's standard error: the report goes elsewhere.
            .env("DUNEGC_LEAKS_FILE", dir.join("leaks.%p"))
            .limit(300);
        for (name, value) in env {
            run = run.env(name, value);
        }
        run
    });
}

#[test]
fn python_gc() {
    python("test_gc", &[]);
}

/// Every Python object from malloc, not from Python's own arenas.
#[test]
fn python_gc_with_malloc() {
    python("test_gc", &[("PYTHONMALLOC", "malloc")]);
}

#[test]
fn python_json() {
    python("test_json", &[]);
}

#[test]
fn python_zlib() {
    python("test_zlib", &[]);
}

#[test]
fn python_sqlite3() {
    python("test_sqlite3", &[]);
}

#[test]
fn python_threading() {
    python("test_threading", &[]);
}

#[test]
fn python_subprocess() {
    python("test_subprocess", &[]);
}

#[test]
fn perl() {
    need("/usr/bin/perl", "perl");
    let run = Run::new("/usr/bin/perl")
        .arg(script("work.pl"))
        .env("PERL_HASH_SEED", "0");
    assert_eq!(run.output().code(), 3);
    compare_filtered(&run, &Mode::ALL, str::to_owned);
}

#[test]
fn sqlite3() {
    need("sqlite3", "sqlite3");
    let sql = fs::read(script("work.sql")).expect("the SQL script");
    compare_in_fresh_directories("sqlite3", |dir| {
        Run::new("sqlite3")
            .arg(dir.join("database"))
            .stdin(sql.clone())
    });
}

#[test]
fn git() {
    need("git", "git");
    compare_in_fresh_directories("git", |dir| Run::new("sh").arg(script("git.sh")).arg(dir));
}

#[test]
fn openssl() {
    need("openssl", "openssl");
    compare_in_fresh_directories("openssl", |dir| {
        Run::new("sh").arg(script("openssl.sh")).arg(dir)
    });
}

#[test]
fn xz_with_two_threads() {
    need("xz", "xz-utils");
    let script = "seq 1 1500000 >numbers && xz -T2 -1 -k --block-size=4MiB numbers && sha256sum numbers.xz && \
                  xz -T2 -dc numbers.xz | cmp - numbers && xz -T2 -6 -k -S .xz6 numbers && sha256sum numbers.xz6 \
                  && xz -l --robot numbers.xz | grep ^totals";
    compare_in_fresh_directories("xz", |dir| Run::new("sh").args(["-c", script]).dir(dir));
}

#[test]
fn jq() {
    need("jq", "jq");
    let items: Vec<String> = (0..40_000)
        .map(|i| {
            format!(
                r#"{{"id":{i},"name":"item {i}","kind":{},"tags":["a{}","b"],"x":{}.5}}"#,
                i % 13,
                i % 7,
                i * 3
            )
        })
        .collect();
    let filter = "group_by(.kind) | map({kind: .[0].kind, n: length, sum: (map(.x) | add), \
                  last: (sort_by(.name) | last), tags: (map(.tags[0]) | unique)}) | sort_by(-.sum), \
                  (tojson | length), (tojson | fromjson | length)";
    let run = Run::new("jq")
        .arg(filter)
        .stdin(format!("[{}]", items.join(",")));
    compare_filtered(&run, &Mode::ALL, str::to_owned);
}

#[test]
fn sort_with_two_threads() {
    let script = "seq 1 600000 | awk '{print ($1 * 7919) % 1000003, $1}' | sort --parallel=2 -S 64M -k1,1n | sha256sum";
    compare_filtered(
        &Run::new("sh").args(["-c", script]),
        &Mode::ALL,
        str::to_owned,
    );
}

#[test]
fn tmux() {
    need("tmux", "tmux");
    compare_in_fresh_directories("tmux", |dir| {
        Run::new("bash")
            .arg(script("tmux.sh"))
            .arg(dir)
            .env("TERM", "xterm")
            .env("PS1", "$ ")
    });
}
