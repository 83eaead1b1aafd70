//! The C interface, preloaded and linked, in every mode.

use dunegc_tests::{Mode, Run, compile_with, in_modes, link_with_library};

fn linked(variant: &str, extra: &[&str]) -> Run {
    let link = link_with_library();
    let mut args: Vec<&str> = extra.to_vec();
    args.extend(link.iter().map(String::as_str));
    Run::new(compile_with("c_api", variant, &args))
}

#[test]
fn preloaded_in_every_mode() {
    // It checks that objects outlive their last reference until the collection that it asks for.
    in_modes(&linked("preloaded", &[]).no_zeal());
}

#[test]
fn linked_without_preload() {
    for mode in Mode::ALL {
        let outcome = linked("linked", &[]).env("DUNEGC_MODE", mode.name()).ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    }
}

#[test]
fn old_frames_do_not_keep_dead_trees() {
    let link = link_with_library();
    let args: Vec<&str> = link.iter().map(String::as_str).collect();
    // Beside the program, what was alive when a collection began stays as well.
    let run = Run::new(compile_with("old_frames", "linked", &args));
    let outcome = run.env("DUNEGC_CONCURRENT", "no").ok();
    assert!(outcome.stdout.ends_with("ok\n"), "{outcome}");
}

#[test]
fn with_one_and_with_many_markers() {
    for markers in ["1", "2", "7"] {
        in_modes(
            &linked("markers", &[])
                .env("DUNEGC_MARKERS", markers)
                .no_zeal(),
        );
    }
}
