//! One thread in guest mode: system calls, exceptions, dirty bits, the way out.

mod support;

use libdune::Dune;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use std::arch::asm;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use support::{in_child, inside, pages};

#[test]
fn system_calls_are_made() {
    inside(|dune| {
        let before = dune.stats();
        let mut ends = [0; 2];
        // SAFETY: two descriptors; what is read was written before.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            assert_eq!(libc::write(ends[1], c"text".as_ptr().cast(), 4), 4);
            let mut text = [0u8; 8];
            assert_eq!(libc::read(ends[0], text.as_mut_ptr().cast(), 8), 4);
            assert_eq!(&text[..4], b"text");
            assert_eq!(libc::close(-1), -1);
        }
        assert_eq!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::EBADF)
        );
        assert_eq!(dune.stats().system_calls - before.system_calls, 4);
        assert!(std::fs::read("/proc/self/comm").is_ok());
    });
}

#[test]
fn threads_leave_and_enter_again() {
    inside(|dune| {
        for _ in 0..20 {
            dune.leave_thread().expect("inside");
            assert!(!Dune::inside());
            assert!(dune.leave_thread().is_err());
            assert!(dune.flush(libdune::table::Flush::everything()).is_err());
            dune.enter_thread().expect("outside");
            assert!(Dune::inside());
            assert!(dune.enter_thread().is_err());
        }
        let stats = dune.stats();
        assert_eq!((stats.enters, stats.leaves), (21, 20));
    });
}

#[test]
fn entering_twice_is_refused() {
    inside(|_| {
        let again = Dune::enter(libdune::Config::default());
        assert_eq!(again.err(), Some(libdune::Error::Entered));
    });
}

#[test]
fn division_by_zero_is_caught() {
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    fn caught(trap: &mut Trap) -> Verdict {
        CAUGHT.fetch_add(1, Relaxed);
        assert_eq!(trap.vector, u64::from(trap::DIVIDE));
        // DIV of a 64-bit register by itself: three bytes.
        trap.frame.rip += 3;
        trap.rax = 77;
        Verdict::Resume
    }
    inside(|dune| {
        dune.on_exception(trap::DIVIDE, Some(caught))
            .expect("inside");
        let before = dune.stats();
        for _ in 0..10 {
            let result: u64;
            // SAFETY: the handler steps over the instruction and sets RAX.
            unsafe {
                asm!("div rcx", in("rcx") 0u64, inout("rax") 5u64 => result, inout("rdx") 0u64 => _)
            };
            assert_eq!(result, 77);
        }
        assert_eq!(CAUGHT.load(Relaxed), 10);
        assert_eq!(
            dune.stats().exits() - before.exits(),
            dune.stats().fills - before.fills
        );
        dune.on_exception(trap::DIVIDE, None).expect("inside");
        assert!(Dune::inside());
    });
}

static FAULTS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn page_faults_go_to_the_handler_without_an_exit() {
    fn faulted(trap: &mut Trap) -> Verdict {
        let dune = Dune::get().expect("the process has entered");
        let page = trap.address as usize & !4095;
        if dune.entry(page).is_none_or(|e| !e.load().held()) {
            return Verdict::Pass;
        }
        assert_eq!(trap.error & trap::WRITE, trap::WRITE);
        FAULTS.fetch_add(1, Relaxed);
        if FAULTS.load(Relaxed) == 1 {
            println!("a fault at {page:x}; this line allocates and makes a system call");
        }
        let flush = dune.protect(page, 4096, Rights::RW).expect("a page");
        assert!(flush.is_empty());
        Verdict::Resume
    }
    inside(|dune| {
        let memory = pages(100);
        memory.fill(1);
        dune.on_exception(trap::PAGE_FAULT, Some(faulted))
            .expect("inside");
        let start = memory.as_ptr() as usize;
        for round in 1..4 {
            let flush = dune.protect(start, memory.len(), Rights::R).expect("pages");
            dune.flush(flush).expect("inside");
            assert!(memory.iter().step_by(4096).all(|b| *b >= 1));
            let before = dune.stats();
            for byte in memory.iter_mut().step_by(4096) {
                *byte += 1;
            }
            let after = dune.stats();
            assert_eq!(FAULTS.load(Relaxed), 100 * round);
            if round > 1 {
                assert_eq!(after.exits(), before.exits(), "{after:?}");
            }
        }
        let flush = dune.release(start, memory.len()).expect("pages");
        dune.flush(flush).expect("inside");
        memory.fill(9);
        assert_eq!(FAULTS.load(Relaxed), 300);
        assert!(Dune::inside());
    });
}

#[test]
fn dirty_bits_are_read_cleared_and_set_again() {
    inside(|dune| {
        let memory = pages(2000);
        let (start, len) = (memory.as_ptr() as usize, memory.len());
        dune.map(start, len).expect("inside");
        let mut first = dune.dirty(start, len).expect("inside");
        // All of it is new.
        assert_eq!(first.by_ref().count(), 2000);
        dune.flush(first.finish()).expect("inside");
        let mut random = 12345u64;
        for round in 0..200 {
            let mut written = std::collections::BTreeSet::new();
            for _ in 0..round % 40 {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let page = (random >> 33) as usize % 2000;
                memory[page * 4096 + (random >> 20) as usize % 4096] = round as u8;
                written.insert(start + page * 4096);
            }
            let before = dune.stats();
            let mut dirty = dune.dirty(start, len).expect("inside");
            let found: std::collections::BTreeSet<usize> =
                dirty.by_ref().map(|p| p as usize).collect();
            dune.flush(dirty.finish()).expect("inside");
            assert!(dune.stats().exits() - before.exits() <= 1 + dune.stats().fills - before.fills);
            assert_eq!(found, written, "round {round}");
        }
        // Loads leave D alone.
        assert_eq!(memory.iter().filter(|b| **b == 255).count(), 0);
        assert_eq!(dune.dirty(start, len).expect("inside").count(), 0);
    });
}

#[test]
fn vector_state_and_control_words_come_along() {
    inside(|dune| {
        for _ in 0..3 {
            let (before, after): (u64, u64) = (0x1234_5678_9abc_def0, 0);
            let mut after = after;
            let mxcsr = 0x3f80u32;
            let mut seen = 0u32;
            // SAFETY: getppid by hand, between a load and a store of XMM5; MXCSR is restored.
            unsafe {
                let old = 0x1f80u32;
                asm!(
                    "ldmxcsr [{new}]", "movq xmm5, {before}", "syscall", "movq {after}, xmm5", "stmxcsr [{seen}]", "ldmxcsr [{old}]",
                    new = in(reg) &mxcsr, seen = in(reg) &mut seen, old = in(reg) &old, before = in(reg) before, after = out(reg) after,
                    inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _, out("xmm5") _,
                );
            }
            assert_eq!((before, mxcsr), (after, seen));
            dune.leave_thread().expect("inside");
            dune.enter_thread().expect("outside");
        }
        let sum: f64 = (1..=1000).map(|i| 1.0 / f64::from(i)).sum();
        assert!((sum - 7.485_470_860_550_345).abs() < 1e-9);
    });
}

#[test]
fn a_real_fault_is_a_real_signal() {
    if libdune::engine::any::AnyEngine::open(libdune::Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        Dune::enter(libdune::Config::default()).expect("the process enters");
        // SAFETY: none: this ends the child, which is the test.
        unsafe { std::ptr::null_mut::<u8>().add(16).write_volatile(1) };
    });
    assert!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV,
        "{status:#x}"
    );
}

#[test]
fn data_is_not_executed() {
    if libdune::engine::any::AnyEngine::open(libdune::Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        Dune::enter(libdune::Config::default()).expect("the process enters");
        let memory = pages(1);
        memory[0] = 0xc3;
        // SAFETY: none: the page may not be executed, which ends the child.
        unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(memory.as_ptr())() };
    });
    assert!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV,
        "{status:#x}"
    );
}

#[test]
fn time_goes_on_as_outside() {
    inside(|dune| {
        let mut last = 0;
        for round in 0..10 {
            // SAFETY: reads a counter.
            let now = unsafe { std::arch::x86_64::_rdtsc() };
            assert!(now > last, "round {round}");
            last = now;
            if round % 2 == 0 {
                dune.leave_thread().expect("inside");
            } else {
                dune.enter_thread().expect("outside");
            }
        }
        dune.enter_thread().unwrap_or(());
        let calls = dune.stats().system_calls;
        let start = std::time::Instant::now();
        assert!(start.elapsed().as_secs() < 10);
        // The vDSO needs no system call where the kernel's clock allows it outside too.
        assert!(dune.stats().system_calls - calls <= 2);
    });
}
