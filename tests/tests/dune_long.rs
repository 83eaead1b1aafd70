//! Guest mode in QEMU, what takes too long for every day: `cargo test -p dunegc-tests --test dune_long -- --ignored --nocapture`.

use std::path::{Path, PathBuf};

use dunegc_tests::{Machine, Run, test_program};

/// Kernel modules of KVM on AMD's processors, which QEMU emulates with nested paging.
const MODULES: &[&str] = &["irqbypass", "ccp", "kvm", "kvm-amd npt=1"];

fn machine(name: &str, programs: &[(&str, PathBuf)], script: &str, counted: bool) -> String {
    let machine = Machine {
        name,
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")),
        programs,
        modules: MODULES,
        script,
        cpu: "max,+svm,-la57",
        cpus: 1,
        parallel: !counted,
        counted,
        kaslr: false,
        limit: 3600,
    };
    let text = machine.run().unwrap_or_else(|e| panic!("{e}"));
    println!("{text}");
    text
}

/// Ten thousand harvests each beside one, two and four threads that write to random pages. `cargo test -p libdune --test threads no_write` with the
/// same setting does that here.
#[test]
#[ignore = "takes many minutes"]
fn ten_thousand_rounds_lose_no_write() {
    let programs = [("threads", test_program("libdune", "threads"))];
    let script = "DUNE_TEST_ROUNDS=10000 /threads no_write_is_lost --test-threads=1";
    let text = machine("dune-rounds-qemu", &programs, script, false);
    assert!(text.contains("3 passed"), "{text}");
}

/// The table of collectors, in instructions of all layers together.
#[test]
#[ignore = "a measurement that takes many minutes"]
fn collectors_by_instructions() {
    let bench = dunegc_tests::build_benchmarks();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collectors");
    let build = Run::new(&bench).args(["build", "--out"]).arg(&dir);
    let library = dunegc_tests::library();
    build.arg("--dunegc").arg(library).limit(600).ok();
    let mut names = Vec::new();
    for program in ["gcbench", "list", "hashmap", "xml"] {
        for peer in ["libgc", "dunegc"] {
            names.push(format!("{program}-collected-{peer}"));
        }
    }
    let mut programs: Vec<(&str, PathBuf)> = Vec::new();
    for name in &names {
        programs.push((name, dir.join(name)));
    }
    programs.push(("bench", bench));
    programs.push(("libdune.so", dunegc_tests::build_preload()));
    let script = "/bench collectors --instructions --dir / --libdune /libdune.so 2>&1";
    let text = machine("dune-collectors-qemu", &programs, script, true);
    for source in ["libgc1", "mprotect", "dune-wp, INVLPG", "dune"] {
        assert_eq!(text.matches(&format!("| {source} |")).count(), 4, "{text}");
    }
}
