//! How many exits operations take. `dune-counts [PAGES] [machine]`: with many pages (65536, which is 256 MiB); also how many exits of the processor KVM has
//! counted for them, interrupts left out, which needs debugfs at /sys/kernel/debug and a machine without other guests.

use dunegc_tests::pages;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

const N: usize = 1000;

fn give_back(trap: &mut Trap) -> Verdict {
    let at = trap.address as usize & !4095;
    match Dune::get().map(|d| d.protect(at, 4096, Rights::RW)) {
        Some(Ok(_)) => Verdict::Resume,
        _ => Verdict::Pass,
    }
}

fn harvest(dune: Dune, start: usize, len: usize) -> usize {
    let mut dirty = dune.dirty(start, len).expect("inside");
    let pages = dirty.by_ref().count();
    dune.flush(dirty.finish()).expect("inside");
    pages
}

/// The processor's exits from all guests so far, without those for interrupts, by KVM's own count.
struct Machine;

impl Machine {
    fn exits(&self) -> i64 {
        let read = |name| -> i64 {
            let path = format!("/sys/kernel/debug/kvm/{name}");
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            text.trim().parse().expect("a number")
        };
        // Again if there was an interrupt in between: it would be in one of both only.
        loop {
            let interrupts = read("irq_exits");
            let exits = read("exits");
            if read("irq_exits") == interrupts {
                return exits - interrupts;
            }
        }
    }

    /// Exits during `f`, without what looking takes: the least of several times.
    fn during(&self, mut f: impl FnMut()) -> i64 {
        let once = |f: &mut dyn FnMut()| {
            let before = self.exits();
            f();
            self.exits() - before
        };
        let looking = (0..10).map(|_| once(&mut || ())).min();
        let with = (0..10).map(|_| once(&mut f)).min();
        with.expect("some") - looking.expect("some")
    }
}

fn many(dune: Dune, count: usize, machine: Option<&Machine>) {
    let memory = pages(count);
    let (start, len) = (memory.as_ptr() as usize, memory.len());
    dune.map(start, len).expect("inside");
    let write = || {
        for page in 0..count {
            // SAFETY: inside the mapping, which only this thread writes.
            unsafe { ((start + page * 4096) as *mut u8).write_volatile(1) };
        }
    };
    write();
    harvest(dune, start, len);
    let before = dune.stats().exits();
    write();
    println!(
        "{count} first writes: {} exits",
        dune.stats().exits() - before
    );
    let before = dune.stats().exits();
    let found = harvest(dune, start, len);
    println!(
        "harvest of {count} pages: {found} written, at most 1 exit: {}",
        dune.stats().exits() - before <= 1
    );
    let stop = AtomicBool::new(false);
    let turns = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                write();
                turns.fetch_add(1, Relaxed);
            }
        });
        while turns.load(Relaxed) == 0 {
            std::thread::yield_now();
        }
        // Once before, as above. Then all is written once more at least.
        harvest(dune, start, len);
        let enough = turns.load(Relaxed) + 2;
        while turns.load(Relaxed) < enough {
            std::thread::yield_now();
        }
        let before = dune.stats().exits();
        let found = harvest(dune, start, len);
        let exits = dune.stats().exits() - before;
        println!(
            "the same beside a thread that writes: {found} written, at most 1 exit for each of both: {}",
            exits <= 2
        );
        stop.store(true, Relaxed);
    });
    let Some(machine) = machine else { return };
    println!("machine: {count} first writes: {} exits", {
        machine.during(|| {
            harvest(dune, start, len);
            write();
        })
    });
    println!(
        "machine: harvest of {count} pages, all written: {} exits",
        {
            machine.during(|| {
                write();
                harvest(dune, start, len);
            })
        }
    );
    println!("machine: 1000 system calls: {} exits", {
        machine.during(|| {
            (0..N).for_each(|_| {
                let _ = std::os::unix::process::parent_id();
            })
        })
    });
    dune.on_exception(trap::PAGE_FAULT, Some(give_back))
        .expect("a handler");
    println!("machine: {count} faults handled: {} exits", {
        machine.during(|| {
            let flush = dune.protect(start, len, Rights::R).expect("pages");
            dune.flush(flush).expect("inside");
            write();
        })
    });
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let machine = words.iter().any(|w| w == "machine").then_some(Machine);
    let many_pages = words.iter().find_map(|w| w.parse().ok());
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
    dune.on_exception(trap::PAGE_FAULT, None)
        .expect("no handler");
    many(dune, many_pages.unwrap_or(65_536), machine.as_ref());
}
