//! Functions of libc that the library stands before do what libc's do, whether or not the collector has to know of the calls.

use dunegc_tests::{Mode, Run, compile, compile_shared, compile_with};

/// Without the library, with it, and with calls announced to the source mprotect.
fn alike(run: &Run) {
    let alone = run.ok();
    assert_eq!(alone.stdout, "ok\n", "{alone}");
    let preloaded = run.clone().mode(Mode::Malloc);
    let announced = preloaded
        .clone()
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_DIRTY", "mprotect");
    for run in [preloaded, announced] {
        let outcome = run.ok();
        assert_eq!(outcome.stdout, "ok\n", "{outcome}");
        assert!(outcome.lines().is_empty(), "{outcome}");
    }
}

#[test]
fn arguments_results_errno() {
    alike(&Run::new(compile("interposed")).arg("arguments"));
}

#[test]
fn in_handlers_and_vfork_children_and_left_by_a_jump() {
    alike(&Run::new(compile("interposed")).arg("odd-places"));
}

#[test]
fn cancelled_while_waiting() {
    alike(&Run::new(compile("interposed")).arg("cancelled"));
}

#[test]
fn while_a_module_is_loaded() {
    let module = compile_shared("interposed", "interposed.so", &["-DMODULE"]);
    let program = compile_with("interposed", "exporting", &["-rdynamic"]);
    alike(&Run::new(program).arg("loading").arg(module).limit(60));
}
