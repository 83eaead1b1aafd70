//! The module dune (`kmod/`) on a Debian kernel in QEMU, whose emulated processor has AMD's virtualisation with nested paging. What is missing here is a failure,
//! not a reason to skip: nobody may take an untested module for a tested one.

use std::path::{Path, PathBuf};

use dunegc_tests::kmod::{self, PROMISES, SUITES, TROUBLE};
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
    let fuzz = kmod::fuzz_seconds(60);
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
        // Nothing of the module depends on where the kernel is.
        kaslr: name == "kmod-safety",
        limit: 900 + fuzz,
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
    let script = format!("{SUITES}{TROUBLE}").replace("$PAGES", "16384");
    boot("kmod-suites", 1, false, &[], &programs, &script);
}

/// What is written in guest mode is known, and collections beside programs rely on that. `cpus`: processors. `gcbench`: arguments of GCBench.
fn dirty(name: &str, cpus: u32, gcbench: &str) {
    let programs = kmod::dirty_programs();
    boot(name, cpus, false, &[], &programs, &kmod::dirty(gcbench));
}

#[test]
fn writes_are_known_on_one_processor() {
    dirty("kmod-dirty", 1, "--long-lived 12 --depth 12");
}

#[test]
fn writes_are_known_on_two_processors() {
    dirty("kmod-dirty-2", 2, "--long-lived 12 --depth 14");
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

/// GCBench natively and in guest mode, then, with smaller trees, with marking beside it.
const PROGRAMS: &str = r#"
try /costs native
try /costs kvm
try /costs kmod
run() {
    echo "gcbench $1: begin"
    shift
    try "$@" --long-lived 12
}
inside="--lib / --env DUNE=stats"
run native env LD_LIBRARY_PATH=/ DUNEGC_CONCURRENT=no /gcbench
run kmod /dunegc run --engine kmod $inside --env DUNEGC_CONCURRENT=no -- /gcbench
export DUNEGC_MIN_HEAP=1M
run kmod-concurrent /dunegc run --engine kmod $inside --env DUNEGC_CONCURRENT=yes --env DUNEGC_DIRTY=dune -- /gcbench --depth 14
"#;

/// The number behind the first `before` that follows `section`.
fn number(text: &str, section: &str, before: &str) -> f64 {
    let (_, after) = text.split_once(section).expect(text);
    let (_, after) = after.split_once(before).expect(text);
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    after[..end.expect(text)].parse().expect(text)
}

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
    for line in text.lines().filter(|l| {
        ["native: ", "kvm: ", "kmod: ", "gcbench ", "{"]
            .iter()
            .any(|start| l.starts_with(start))
    }) {
        println!("{line}");
    }
    assert_eq!(text.matches("dune: inside at the end").count(), 2, "{text}");
    let call = |engine: &str| number(&text, "", &format!("{engine}: system call: "));
    let (kvm, kmod) = (call("kvm") - call("native"), call("kmod") - call("native"));
    assert!(
        kmod <= 0.6 * kvm,
        "a system call: {kmod} instructions more than natively, {kvm} on kvm"
    );
    // A nanosecond is an instruction here.
    let bench = |name: &str, what: &str| number(&text, &format!("gcbench {name}: begin"), what);
    let (native, inside) = (
        bench("native", "\"elapsed_ms\":"),
        bench("kmod", "\"elapsed_ms\":"),
    );
    assert!(
        inside <= 1.10 * native,
        "GCBench: {inside} million instructions on kmod, {native} natively"
    );
    let count = bench("kmod-concurrent", "\"collections\":");
    assert!(count > 5.0, "{count} collections beside the program");
}
