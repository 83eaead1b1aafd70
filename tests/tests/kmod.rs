//! The module dune (`kmod/`) on a Debian kernel in QEMU, whose emulated processor has AMD's virtualisation with nested paging. What is missing here is a failure,
//! not a reason to skip: nobody may take an untested module for a tested one.

use std::path::{Path, PathBuf};

use dunegc_tests::kmod::{self, PROMISES, SUITES};
use dunegc_tests::{
    Machine, build_command, build_preload, compile_benchmark, library, test_program,
};

/// The kernel's own hypervisor.
const MODULES: &[&str] = &["irqbypass", "ccp", "kvm", "kvm-amd npt=1"];

fn boot(
    name: &str,
    cpus: u32,
    counted: bool,
    modules: &[&str],
    programs: &[(&str, PathBuf)],
    script: &str,
) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fuzz = kmod::fuzz_seconds(20);
    let mut all = programs.to_vec();
    all.push(("dune.ko", kmod::module(dir)));
    let machine = Machine {
        name,
        dir,
        programs: &all,
        modules,
        script: &kmod::script(script, fuzz),
        cpu: "max,+svm,-la57",
        cpus,
        // Emulated by threads of their own, two processors lose dirty bits in guests, under kvm-amd as well.
        parallel: false,
        counted,
        limit: 400 + fuzz,
    };
    let text = machine.run().unwrap_or_else(|e| panic!("{e}"));
    kmod::check(&text);
    text
}

fn program(path: &str) -> PathBuf {
    PathBuf::from(path)
}

/// The suites of libdune and the reference programs that count exits, on the engine kmod.
#[test]
fn guest_mode_works_on_the_module() {
    let programs = [
        ("guest", test_program("libdune", "guest")),
        ("threads", test_program("libdune", "threads")),
        ("trouble", test_program("libdune", "trouble")),
        ("engine", program(env!("CARGO_BIN_EXE_dune-engine"))),
        ("counts", program(env!("CARGO_BIN_EXE_dune-counts"))),
        ("invlpg", program(env!("CARGO_BIN_EXE_dune-invlpg"))),
        ("traps", program(env!("CARGO_BIN_EXE_dune-traps"))),
    ];
    boot("kmod-suites", 1, false, &[], &programs, SUITES);
}

/// What guests may not do, what processes may do to guests, and requests that make no sense; beside a kernel whose own hypervisor is loaded.
#[test]
fn the_module_keeps_its_promises() {
    let programs = [
        ("safety", program(env!("CARGO_BIN_EXE_kmod-safety"))),
        ("fuzz", program(env!("CARGO_BIN_EXE_kmod-fuzz"))),
    ];
    boot("kmod-safety", 2, false, MODULES, &programs, PROMISES);
}

/// GCBench, with marking beside it: `/proc/uptime` before and after, which is the number of instructions there.
const PROGRAMS: &str = r#"
try /costs native
try /costs kvm
try /costs kmod
export DUNEGC_CONCURRENT=yes DUNEGC_MIN_HEAP=1M
run() {
    echo "gcbench $1 from: $(cut -d' ' -f1 /proc/uptime)"
    shift
    try "$@" --long-lived 12 > /tmp/out 2>&1
    echo "gcbench to: $(cut -d' ' -f1 /proc/uptime)"
    cat /tmp/out
}
run native /gcbench
run native /dunegc run --lib / -- /gcbench
run kvm /dunegc run --engine kvm --lib / --env DUNE=stats --env DUNEGC_DIRTY=dune -- /gcbench
run kmod /dunegc run --engine kmod --lib / --env DUNE=stats --env DUNEGC_DIRTY=dune -- /gcbench
"#;

/// Unmodified programs on the engine kmod, and what operations cost in instructions: natively, on kvm and on kmod, in one machine.
#[test]
fn programs_run_and_costs_are_counted() {
    let programs = [
        ("costs", program(env!("CARGO_BIN_EXE_dune-costs"))),
        ("dunegc", build_command()),
        ("gcbench", compile_benchmark("gcbench", true)),
        ("libdune.so", build_preload()),
        ("libdunegc.so", library()),
    ];
    let text = boot("kmod-programs", 1, true, MODULES, &programs, PROGRAMS);
    println!("{text}");
}
