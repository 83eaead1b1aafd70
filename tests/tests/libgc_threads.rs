//! Roots, stacks, threads and processes under the Boehm interface.

use dunegc_tests::{compile_shared, oracle};

#[test]
fn roots() {
    oracle("roots.c").same();
}

#[test]
fn memory_behind_files() {
    oracle("neighbours.c").same();
}

#[test]
fn data_of_a_loaded_library() {
    compile_shared("libgc/library", "libgc-library.so", &[]);
    oracle("dlopen.c").same();
}

#[test]
fn coroutines() {
    oracle("coroutines.c").same();
}

/// Many parked fibers on two threads.
#[test]
fn fibers() {
    oracle("fibers.c").same();
}

/// The same with a collection at every 31st allocation of a thread, the world stopped and beside the program.
#[test]
fn fibers_under_zeal() {
    for concurrent in ["no", "yes"] {
        let zealous = oracle("fibers.c")
            .env("DUNEGC_ZEAL", "31")
            .env("DUNEGC_CONCURRENT", concurrent);
        zealous.same();
    }
}

#[test]
fn blocking_and_active() {
    oracle("blocking.c").same();
}

#[test]
fn threads() {
    oracle("threads.c").same();
}

/// Threads wait for the collection that is due instead of filling the heap until it stops them. Beside a collection they go on.
#[test]
fn many_threads_in_a_small_heap() {
    let other = ["DUNEGC_TEST_CONCURRENT", "DUNEGC_TEST_GENERATIONAL"];
    let go_on = other.iter().any(|name| std::env::var_os(name).is_some());
    let most = if go_on { "24" } else { "4" };
    oracle("crowd.c").arg(most).same();
}

#[test]
fn alternate_stacks() {
    oracle("altstack.c").same();
}

/// libgc1 leaves out the stack below an alternate one; this collector does not.
#[test]
fn the_stack_below_an_alternate_one() {
    let outcome = oracle("altstack.c").arg("strict").own();
    assert!(outcome.status.success(), "{outcome}");
    assert!(
        outcome.stdout.contains("below: all, on it: all\n")
            && outcome.stdout.contains("below: 1225\n"),
        "{outcome}"
    );
}

/// libgc1 keeps some; how many depends on the frames.
#[test]
fn leftovers_on_the_stack() {
    let outcome = oracle("leftovers.c").own();
    assert!(outcome.status.success(), "{outcome}");
    let most = outcome.stdout.trim_start_matches("kept at most: ").trim();
    assert!(most.parse::<u32>().is_ok_and(|n| n <= 4), "{outcome}");
}

#[test]
fn suspended_threads() {
    oracle("suspend.c").same();
}

#[test]
fn fork() {
    oracle("fork.c").same();
}

#[test]
fn fork_by_hand() {
    oracle("fork.c").arg("by-hand").same();
}

#[test]
fn stress() {
    oracle("stress.c").same();
}
