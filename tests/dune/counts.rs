//! How many exits operations take.

use dunegc_tests::pages;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};

const N: usize = 1000;

fn give_back(trap: &mut Trap) -> Verdict {
    let at = trap.address as usize & !4095;
    match Dune::get().map(|d| d.protect(at, 4096, Rights::RW)) {
        Some(Ok(_)) => Verdict::Resume,
        _ => Verdict::Pass,
    }
}

fn main() {
    let memory = pages(N);
    let (start, len) = (memory.as_ptr() as usize, memory.len());
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.on_exception(trap::PAGE_FAULT, Some(give_back))
        .expect("a handler");
    let write = |memory: &mut [u8]| memory.iter_mut().step_by(4096).for_each(|b| *b += 1);
    let count = |what: &str, f: &mut dyn FnMut()| {
        // Once before, so that code and data of the operation itself are known.
        f();
        let before = dune.stats();
        f();
        let after = dune.stats();
        println!("{what}: {} exits", after.exits() - before.exits());
    };
    count("1000 system calls", &mut || {
        (0..N).for_each(|_| {
            let _ = std::os::unix::process::parent_id();
        })
    });
    count("1000 writes to known pages", &mut || write(memory));
    count("harvest of 1000 pages, without flush", &mut || {
        let mut dirty = dune.dirty(start, len).expect("inside");
        dirty.by_ref().for_each(drop);
        let _owed = dirty.finish();
    });
    let flush = libdune::table::Flush::everything();
    dune.flush(flush).expect("inside");
    count("1000 first writes to clean pages", &mut || write(memory));
    let protected = || {
        let flush = dune.protect(start, len, Rights::R).expect("pages");
        let before = dune.stats().exits();
        dune.flush(flush).expect("inside");
        println!(
            "flush: at most 1 exit: {}",
            dune.stats().exits() - before <= 1
        );
    };
    protected();
    write(memory);
    protected();
    let before = dune.stats().exits();
    write(memory);
    println!(
        "1000 faults handled: {} exits",
        dune.stats().exits() - before
    );
}
