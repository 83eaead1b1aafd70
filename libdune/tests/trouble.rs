//! An engine that makes trouble: the program's results stay right.

mod support;

use libdune::engine::mock::Trouble;
use libdune::{Config, Dune};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use support::{inside_with, pages};

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
