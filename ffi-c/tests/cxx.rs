//! operator new and delete.
mod common;
use common::*;

#[test]
fn every_form() {
    for level in ["-O0", "-O2"] {
        let program = build(
            "new.cc",
            &[
                "-std=c++17",
                level,
                "-fno-builtin",
                "-Wno-unused-result",
                "-Wno-alloc-size-larger-than",
            ],
        );
        for mode in ["malloc", "leaks"] {
            assert_ok(&preload(
                &program,
                &[],
                &[("DUNEGC_MODE", mode), ("DUNEGC_LEAKS_FILE", "/dev/null")],
            ));
        }
    }
}

#[test]
fn a_program_that_replaces_the_plain_forms() {
    let program = build(
        "replaced_new.cc",
        &[
            "-std=c++17",
            "-O1",
            "-fno-builtin",
            "-Wno-sized-deallocation",
        ],
    );
    assert_ok(&preload(&program, &[], &[]));
}
