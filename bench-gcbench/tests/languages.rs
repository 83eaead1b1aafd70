//! `bench-gcbench languages` with a library that is not this project's: it must be seen.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

fn languages(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench-gcbench"))
        .args(["languages", "--runs", "1", "--scale", "1"])
        .args(args)
        .output()
        .expect("run bench-gcbench")
}

#[test]
fn runs_are_announced_and_a_library_without_statistics_fails() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other-libgc");
    std::fs::create_dir_all(&dir).unwrap();
    let link = dir.join("libgc.so.1");
    let _ = std::fs::remove_file(&link);
    symlink("/usr/lib/x86_64-linux-gnu/libgc.so.1", &link).unwrap();
    let output = languages(&["--only", "objc,w3m", "--libgc", dir.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for program in ["objc", "w3m"] {
        assert!(errors.contains(&format!("running {program}")), "{errors}");
        let failure = format!("{program}: with dunegc: the run has left no ");
        assert!(errors.contains(&failure), "{errors}");
    }
    assert!(errors.contains("2 of 2 programs failed"), "{errors}");
}

#[test]
fn unknown_programs_are_refused() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-libgc");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("libgc.so.1"), "").unwrap();
    let output = languages(&["--only", "perl", "--libgc", dir.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(
        errors.contains("--only perl: no such program; there are guile, ecl"),
        "{errors}"
    );
}
