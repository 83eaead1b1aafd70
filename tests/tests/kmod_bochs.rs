//! The module dune (`kmod/`) on a Debian kernel in Bochs, whose emulated processor has Intel's virtualisation with nested paging. What is missing here is a failure,
//! not a reason to skip: nobody may take an untested module for a tested one.

use std::path::{Path, PathBuf};

use dunegc_tests::kmod::{self, PROMISES, SUITES, TROUBLE};
use dunegc_tests::{Machine, test_program};

fn boot(name: &str, cpus: u32, modules: &[&str], programs: &[(&str, PathBuf)], script: &str) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // A second of the machine's takes nine here.
    let fuzz = kmod::fuzz_seconds(5);
    let mut all = programs.to_vec();
    all.push(("dune.ko", kmod::module(dir)));
    let machine = Machine {
        name,
        dir,
        programs: &all,
        modules,
        script: &kmod::script(script, fuzz),
        // Bochs's models with AVX-512 describe its state in a way that the kernel rejects.
        cpu: "broadwell_ult",
        cpus,
        parallel: false,
        counted: false,
        kaslr: false,
        limit: 2400 + 20 * fuzz,
    };
    let text = machine.run_in_bochs().unwrap_or_else(|e| panic!("{e}"));
    kmod::check(&text);
}

fn program(path: &str) -> PathBuf {
    PathBuf::from(path)
}

/// The suites of libdune and the reference programs that count exits, on the engine kmod. `pages`: how many are written and harvested. `more`: [`TROUBLE`], or
/// nothing.
fn suites(name: &str, cpus: u32, pages: &str, more: &str) {
    let mut programs = vec![
        ("guest", test_program("libdune", "guest")),
        ("threads", test_program("libdune", "threads")),
        ("engine", program(env!("CARGO_BIN_EXE_dune-engine"))),
        ("counts", program(env!("CARGO_BIN_EXE_dune-counts"))),
        ("invlpg", program(env!("CARGO_BIN_EXE_dune-invlpg"))),
        ("traps", program(env!("CARGO_BIN_EXE_dune-traps"))),
    ];
    if more == TROUBLE {
        programs.push(("trouble", test_program("libdune", "trouble")));
    }
    let script = format!("{SUITES}{more}").replace("$PAGES", pages);
    boot(name, cpus, &[], &programs, &script);
}

#[test]
fn guest_mode_works_on_the_module() {
    suites("bochs-suites", 1, "4096", "");
}

#[test]
fn guest_mode_works_on_two_processors() {
    suites("bochs-suites-2", 2, "16384", TROUBLE);
}

/// What is written in guest mode is known, and collections beside programs rely on that. `gcbench`: arguments of GCBench,
/// which takes five minutes with the usual depth.
fn dirty(name: &str, cpus: u32, gcbench: &str) {
    let programs = kmod::dirty_programs();
    boot(name, cpus, &[], &programs, &kmod::dirty(gcbench));
}

#[test]
fn writes_are_known_on_the_module() {
    dirty("bochs-dirty", 1, "--long-lived 12 --depth 12");
}

/// GCBench with its usual depth.
#[test]
fn whole_gcbench_is_collected_beside_it() {
    let programs = kmod::dirty_programs();
    boot("bochs-gcbench", 1, &[], &programs, &kmod::gcbench());
}

#[test]
fn writes_are_known_on_two_processors() {
    dirty("bochs-dirty-2", 2, "--long-lived 12");
}

/// What guests may not do, what processes may do to guests, and requests that make no sense; beside a kernel whose own hypervisor is loaded.
#[test]
fn the_module_keeps_its_promises() {
    let programs = [
        ("safety", program(env!("CARGO_BIN_EXE_kmod-safety"))),
        ("fuzz", program(env!("CARGO_BIN_EXE_kmod-fuzz"))),
    ];
    let modules = ["irqbypass", "kvm", "kvm-intel"];
    boot("bochs-safety", 2, &modules, &programs, PROMISES);
}
