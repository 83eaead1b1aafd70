//! Objects under the Boehm interface: allocation, kinds, described layouts, interior pointers, figures, C++.

use dunegc_tests::oracle;

#[test]
fn allocation() {
    oracle("alloc.c").same();
}

#[test]
fn kinds_and_mark_procedures() {
    oracle("kinds.c").same();
}

/// Collections run beside the program: with three stops, the one in the middle for the mark procedures.
#[test]
fn functions_of_a_program_beside_its_collections() {
    let program = oracle("beside.c")
        .env("DUNEGC_CONCURRENT", "yes")
        .env("DUNEGC_LOG", "gc");
    program.same();
    let outcome = program.own();
    let beside = outcome.stderr.lines().filter(|l| l.contains(" stops=3 "));
    assert!(beside.count() > 3, "{outcome}");
}

#[test]
fn described_layouts() {
    oracle("typed.c").same();
}

#[test]
fn descriptors_behind_the_first_word() {
    oracle("gcj.c").same();
}

/// In memory that held something else, with collections that stop the world and beside the program.
#[test]
fn described_layouts_in_used_memory() {
    for concurrent in ["no", "yes"] {
        oracle("reused.c")
            .env("DUNEGC_CONCURRENT", concurrent)
            .same();
    }
}

#[test]
fn displacements() {
    oracle("displacements.c").same();
}

#[test]
fn interior_pointers() {
    oracle("interior.c").same();
}

#[test]
fn inline_allocation() {
    oracle("inline.c").same();
}

#[test]
fn figures() {
    oracle("numbers.c").same();
}

#[test]
fn resident_memory() {
    oracle("memory.c").stderr(|_| String::new()).same();
}

#[test]
fn cxx() {
    oracle("cxx.cpp").same();
}
