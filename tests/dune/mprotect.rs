//! Takes the write right from pages; the handler prints, and gives it back.

use dunegc_tests::pages;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::sync::atomic::{AtomicUsize, Ordering::*};

static START: AtomicUsize = AtomicUsize::new(0);

fn faulted(trap: &mut Trap) -> Verdict {
    let page = (trap.address as usize - START.load(Relaxed)) / 4096;
    let what = if trap.error & trap::WRITE != 0 {
        "store"
    } else {
        "load"
    };
    println!("fault: {what} in page {page}");
    let rights = if trap.error & trap::WRITE != 0 {
        Rights::RW
    } else {
        Rights::R
    };
    let at = trap.address as usize & !4095;
    match Dune::get().map(|d| d.protect(at, 4096, rights)) {
        Some(Ok(_)) => Verdict::Resume,
        _ => Verdict::Pass,
    }
}

fn main() {
    let memory = pages(4);
    memory.fill(5);
    let start = memory.as_ptr() as usize;
    START.store(start, Relaxed);
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.on_exception(trap::PAGE_FAULT, Some(faulted))
        .expect("a handler");
    let flush = dune.protect(start, 2 * 4096, Rights::R).expect("pages");
    dune.flush(flush).expect("inside");
    let flush = dune
        .protect(start + 2 * 4096, 2 * 4096, Rights::NONE)
        .expect("pages");
    dune.flush(flush).expect("inside");
    println!(
        "sum {}",
        memory
            .iter()
            .step_by(4096)
            .map(|b| u32::from(*b))
            .sum::<u32>()
    );
    for byte in memory.iter_mut().step_by(4096) {
        *byte += 1;
    }
    println!(
        "sum {}",
        memory
            .iter()
            .step_by(4096)
            .map(|b| u32::from(*b))
            .sum::<u32>()
    );
    println!("still inside: {}", Dune::inside());
}
