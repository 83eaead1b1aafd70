//! An engine that makes trouble: the program's results stay right.

mod support;

use libdune::engine::mock::Trouble;
use libdune::{Config, Dune};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use support::{in_child, inside_with, pages};

fn trouble(trouble: Trouble) -> Config {
    Config {
        trouble,
        ..Config::default()
    }
}

static TICKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn tick(_: i32) {
    TICKS.fetch_add(1, Relaxed);
}

/// A signal every two milliseconds.
fn clock() {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: 2000,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: the handler only counts.
    unsafe {
        libc::signal(libc::SIGALRM, tick as *const () as usize);
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
}

/// The same sum by every way, in registers and memory, until `enough`.
fn work(enough: impl Fn() -> bool) {
    let memory = pages(64);
    let mut round = 0u64;
    while !enough() || round < 10 {
        round += 1;
        for (i, byte) in memory.iter_mut().enumerate() {
            *byte = (i as u64 * round) as u8;
        }
        let sum: u64 = memory.iter().map(|b| u64::from(*b)).sum();
        let expected: u64 = (0..memory.len() as u64)
            .map(|i| u64::from((i * round) as u8))
            .sum();
        assert_eq!(sum, expected);
    }
}

#[test]
fn runs_that_end_early_do_no_harm() {
    for n in [2, 3, 7] {
        inside_with(trouble(Trouble::Interrupt(n)), |dune| {
            let other = std::thread::spawn(|| work(|| true));
            work(|| true);
            other.join().expect("the thread ends");
            assert!(std::fs::read("/proc/self/maps").expect("/proc").len() > 100);
            assert!(Dune::inside() && dune.stats().interrupted > 5);
        });
    }
}

/// An odd exit leaves to native execution, once; the thread may enter again.
fn leaves(config: Config) {
    inside_with(config, |dune| {
        clock();
        work(|| !Dune::inside());
        assert!(TICKS.load(Relaxed) > 0);
        let before = TICKS.load(Relaxed);
        work(|| TICKS.load(Relaxed) > before);
        let left = dune.stats().leaves;
        assert!(left >= 1);
        dune.enter_thread().expect("outside");
        work(|| !Dune::inside());
        assert!(dune.stats().leaves > left);
    });
}

#[test]
fn an_unknown_exit_leaves() {
    leaves(trouble(Trouble::Fail(1)));
}

#[test]
fn a_refused_run_leaves() {
    leaves(trouble(Trouble::Refuse(20)));
}

#[test]
fn signals_interrupt_and_nothing_else_happens() {
    inside_with(Config::default(), |dune| {
        clock();
        work(|| TICKS.load(Relaxed) > 20);
        assert!(Dune::inside());
        let stats = dune.stats();
        assert!(stats.interrupted >= 10 && stats.leaves == 0, "{stats:?}");
    });
}

#[test]
fn packed_memory_works_the_same() {
    let config = Config {
        packed: true,
        ..Config::default()
    };
    inside_with(config, |_| {
        let other = std::thread::spawn(|| work(|| true));
        work(|| true);
        other.join().expect("the thread ends");
        assert!(Dune::inside());
    });
}

#[test]
fn runs_that_begin_late_do_no_harm() {
    inside_with(trouble(Trouble::Delay(3)), |dune| {
        let other = std::thread::spawn(|| work(|| true));
        work(|| true);
        // A flush waits for the other vCPU, however late that is.
        flushes_beside(dune);
        other.join().expect("the thread ends");
        assert!(Dune::inside() && dune.stats().leaves <= 1);
    });
}

#[test]
fn interruptions_that_are_not_reported_do_no_harm() {
    for n in [2, 5] {
        inside_with(trouble(Trouble::Drop(n)), |dune| {
            clock();
            work(|| TICKS.load(Relaxed) > 20);
            flushes_beside(dune);
            assert!(Dune::inside());
        });
    }
}

/// Takes the right to write from pages that another thread writes, and gives it back: all that was written is there.
fn flushes_beside(dune: Dune) {
    use libdune::arch::pte::Rights;
    use std::sync::atomic::AtomicBool;
    const PAGES: usize = 16;
    let memory = pages(PAGES);
    let (start, len) = (memory.as_ptr() as usize, memory.len());
    dune.map(start, len).expect("inside");
    fn give_back(trap: &mut libdune::trap::Trap) -> libdune::trap::Verdict {
        let at = trap.address as usize & !4095;
        match Dune::get().map(|d| d.protect(at, 4096, Rights::RW)) {
            Some(Ok(_)) => libdune::trap::Verdict::Resume,
            _ => libdune::trap::Verdict::Pass,
        }
    }
    dune.on_exception(libdune::trap::PAGE_FAULT, Some(give_back))
        .expect("inside");
    let stop = AtomicBool::new(false);
    let before = dune.stats().faults;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0u64;
            while !stop.load(Relaxed) || written < 1000 {
                let at = start + written as usize % PAGES * 4096;
                // SAFETY: a word of the mapping that only this thread writes.
                unsafe { *(at as *mut u64) += 1 };
                written += 1;
            }
            written
        });
        for _ in 0..50 {
            let flush = dune.protect(start, len, Rights::R).expect("pages");
            dune.flush(flush).expect("inside");
        }
        stop.store(true, Relaxed);
        let written = writer.join().expect("the thread ends");
        // SAFETY: words of the mapping, which nobody writes any more.
        let sum: u64 = (0..PAGES)
            .map(|p| unsafe { *((start + p * 4096) as *const u64) })
            .sum();
        assert_eq!(sum, written);
    });
    assert!(dune.stats().faults > before);
}

/// An engine that fails the self-test is refused, with the reason.
#[test]
fn the_self_test_refuses_what_fails_it() {
    if libdune::engine::any::AnyEngine::open(Config::default().engine).is_err() {
        return;
    }
    let reason = |wrong: Trouble, limit| {
        let refused = Dune::probe_within(trouble(wrong), limit);
        let refused = refused
            .err()
            .unwrap_or_else(|| panic!("{wrong:?}: not refused"));
        refused.to_string()
    };
    for (wrong, limit, words) in [
        (Trouble::Vectors, 20_000, "vector registers"),
        (Trouble::Hang(1), 300, "hangs"),
        (Trouble::Hang(20), 1000, "hangs"),
        (Trouble::Kill(1), 20_000, "does not survive"),
        (Trouble::Kill(20), 20_000, "does not survive"),
        (Trouble::NoSlot(0), 20_000, "KVM_SET_USER_MEMORY_REGION"),
        (Trouble::NoSlot(1), 20_000, "KVM_SET_USER_MEMORY_REGION"),
        (Trouble::NoCpu(0), 20_000, "KVM_CREATE_VCPU"),
        (Trouble::NoCpu(1), 20_000, "KVM_CREATE_VCPU"),
        (Trouble::Slots(1), 20_000, "1"),
        // One chunk of 256 MiB.
        (Trouble::Narrow(28), 20_000, "1"),
    ] {
        let reason = reason(wrong, limit);
        assert!(reason.contains(words), "{wrong:?}: {reason}");
        // Nothing is left of it here.
        assert!(!Dune::inside());
    }
    assert!(Dune::probe().is_ok());
}

/// Memory all over the address space; each piece takes a slot of its own.
fn spread(pieces: usize) -> u64 {
    let mut sum = 0;
    for i in 0..pieces {
        let want = 0x1000_0000_0000 + (i << 32);
        // SAFETY: a new mapping, which is written, read and removed.
        unsafe {
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(want as *mut _, 8 << 20, rights, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            let word = at.cast::<u64>().add(1 << 19);
            word.write_volatile(i as u64);
            sum += word.read_volatile();
            assert_eq!(libc::munmap(at, 8 << 20), 0);
        }
    }
    sum
}

/// When no slot is left, or the kernel has none, threads that need one go on natively, and the others stay.
#[test]
fn without_slots_threads_go_on_natively() {
    for wrong in [Trouble::Slots(12), Trouble::NoSlot(12), Trouble::Narrow(32)] {
        for whole in [false, true] {
            let config = Config {
                whole,
                ..trouble(wrong)
            };
            inside_with(config, |dune| {
                let worker = std::thread::spawn(|| (spread(40), Dune::inside()));
                assert_eq!(worker.join().expect("the thread ends"), (780, false));
                assert!(Dune::inside() && dune.stats().leaves == 1);
                work(|| true);
                assert_eq!(spread(40), 780);
                assert!(!Dune::inside());
                work(|| true);
            });
        }
    }
}

/// The real limit of the map of memory is that of a program that uses a terabyte; here on a processor whose physical addresses have 39 bits.
#[test]
fn thirty_nine_bits_are_enough() {
    inside_with(trouble(Trouble::Narrow(39)), |dune| {
        assert_eq!(spread(60), 59 * 30);
        let other = std::thread::spawn(|| work(|| true));
        work(|| true);
        flushes_beside(dune);
        other.join().expect("the thread ends");
        assert!(Dune::inside());
    });
}

/// Threads for which the kernel has no vCPU: an error, or, where the program knows nothing of guest mode, native threads.
#[test]
fn without_vcpus_threads_are_native_or_refused() {
    inside_with(trouble(Trouble::NoCpu(3)), |_| {
        let first = std::thread::spawn(Dune::inside);
        assert!(first.join().expect("the thread ends"));
        let many: Vec<_> = (0..3)
            .map(|_| {
                std::thread::Builder::new()
                    .spawn(|| std::thread::park_timeout(std::time::Duration::from_millis(50)))
            })
            .collect();
        assert!(many.iter().any(|thread| thread.is_err()));
        assert!(Dune::inside());
    });
    let config = Config {
        whole: true,
        ..trouble(Trouble::NoCpu(3))
    };
    inside_with(config, |_| {
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(6));
        let many: Vec<_> = (0..5u64)
            .map(|i| {
                let barrier = barrier.clone();
                std::thread::spawn(move || {
                    barrier.wait();
                    i
                })
            })
            .collect();
        barrier.wait();
        let sum: u64 = many
            .into_iter()
            .map(|t| t.join().expect("the thread ends"))
            .sum();
        assert_eq!(sum, 10);
        assert!(!Dune::inside());
    });
}

/// A slot that is missing while the process is made is an error, and the process goes on natively.
#[test]
fn a_process_that_cannot_enter_stays_native() {
    for wrong in [Trouble::NoSlot(1), Trouble::NoCpu(0), Trouble::Slots(1)] {
        let status = in_child(|| {
            if libdune::engine::any::AnyEngine::open(Config::default().engine).is_err() {
                return;
            }
            assert!(Dune::enter(trouble(wrong)).is_err());
            assert!(!Dune::inside());
            work(|| true);
            // It may try again.
            Dune::enter(Config::default()).expect("nothing is in the way");
            work(|| true);
        });
        assert_eq!(status, 0, "{wrong:?}");
    }
}
