//! The conformance suite of dirty sources on a Debian kernel, which has soft-dirty bits, in QEMU.

use std::path::Path;

use dunegc_tests::{Machine, test_program};

#[test]
fn soft_dirty_conforms_on_a_debian_kernel() {
    let machine = Machine {
        name: "dirty-qemu",
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")),
        programs: &[("test", test_program("dunegc", "dirty_conformance"))],
        modules: &[],
        script: "DUNEGC_TEST_DIRTY=soft-dirty /test soft_dirty auto_ --test-threads=1",
        cpu: "max,-la57",
        cpus: 2,
        parallel: true,
        counted: false,
        kaslr: false,
        limit: 900,
    };
    let text = match machine.run() {
        Ok(text) => text,
        Err(e) => {
            eprintln!("skipped: {e}");
            return;
        }
    };
    let passed = text
        .lines()
        .filter(|l| l.trim_end().ends_with("... ok"))
        .count();
    assert!(passed > 30, "{text}");
}
