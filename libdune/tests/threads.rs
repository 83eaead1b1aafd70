//! Several threads in guest mode, and the processes that they make.

mod support;

use libdune::{Config, Dune};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Barrier};
use support::{inside, inside_with, pages};

#[test]
fn new_threads_start_inside() {
    inside(|dune| {
        let workers: Vec<_> = (0..8)
            .map(|i| {
                std::thread::spawn(move || {
                    assert!(Dune::inside());
                    let text = format!("thread {i}");
                    std::thread::yield_now();
                    (1..=1000u64).map(|n| n * n).sum::<u64>() + text.len() as u64
                })
            })
            .collect();
        for worker in workers {
            assert_eq!(worker.join().expect("the thread ends"), 333_833_508);
        }
        assert!(Dune::inside());
        assert_eq!(dune.stats().enters, 9);
    });
}

#[test]
fn records_of_ended_threads_are_used_again() {
    let config = Config {
        threads: 4,
        ..Config::default()
    };
    inside_with(config, |dune| {
        for _ in 0..40 {
            // SAFETY: no arguments.
            let worker = std::thread::spawn(|| (Dune::inside(), unsafe { libc::gettid() }));
            let (inside, tid) = worker.join().expect("the thread ends");
            assert!(inside);
            // Its number goes out of use some moments after the join.
            let listed = format!("/proc/self/task/{tid}");
            while std::fs::exists(&listed).expect("the list of threads") {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert_eq!(dune.stats().enters, 41);
    });
}

#[test]
fn threads_may_stay_native() {
    let config = Config {
        follow: false,
        ..Config::default()
    };
    inside_with(config, |dune| {
        let worker = std::thread::spawn(move || {
            assert!(!Dune::inside());
            dune.enter_thread().expect("a vCPU");
            let inside = Dune::inside();
            dune.leave_thread().expect("inside");
            inside && !Dune::inside()
        });
        assert!(worker.join().expect("the thread ends"));
    });
}

#[test]
fn too_many_threads_are_refused() {
    let config = Config {
        threads: 2,
        ..Config::default()
    };
    inside_with(config, |_| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let first = std::thread::spawn(move || {
            while !seen.load(Relaxed) {
                std::thread::yield_now();
            }
        });
        let second = std::thread::Builder::new().spawn(|| ());
        assert!(second.is_err());
        stop.store(true, Relaxed);
        first.join().expect("the thread ends");
    });
}

#[test]
fn a_forked_child_is_native_and_may_enter_itself() {
    inside(|dune| {
        let status = support::in_child(|| {
            assert!(!Dune::inside() && Dune::get().is_none());
            let own = Dune::enter(Config::default()).expect("a machine of its own");
            assert!(Dune::inside());
            let before = own.stats().system_calls;
            assert!(std::fs::read("/proc/self/comm").is_ok());
            assert!(own.stats().system_calls > before);
        });
        assert_eq!(status, 0);
        assert!(Dune::inside());
        let output = std::process::Command::new("echo")
            .arg("from a program")
            .output();
        assert_eq!(output.expect("echo runs").stdout, b"from a program\n");
        assert!(Dune::inside());
        // The first child and that of `Command`, which share no record with this thread.
        assert!(dune.stats().leaves <= 1);
    });
}

/// Rounds: `DUNE_TEST_ROUNDS`, or a few, which take seconds on a busy machine. More find rarer losses.
fn some_rounds() -> usize {
    let rounds = std::env::var("DUNE_TEST_ROUNDS");
    rounds.map_or(25, |n| n.parse().expect("a number"))
}

/// Threads write to random pages while another one harvests; what was written is what was reported, over all rounds.
fn rounds(writers: usize, rounds: usize) {
    const PAGES: usize = 512;
    inside(|dune| {
        let memory = pages(PAGES);
        let (start, len) = (memory.as_ptr() as usize, memory.len());
        dune.map(start, len).expect("inside");
        let mut new = dune.dirty(start, len).expect("inside");
        new.by_ref().for_each(drop);
        dune.flush(new.finish()).expect("inside");
        // Each writer announces a write after it: a page that was announced before a harvest began must be in that harvest or in an earlier one.
        let announced: Arc<Vec<AtomicU64>> =
            Arc::new((0..PAGES).map(|_| AtomicU64::new(0)).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let begin = Arc::new(Barrier::new(writers + 1));
        let writes = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..writers)
            .map(|i| {
                let (announced, stop, begin, writes) = (
                    announced.clone(),
                    stop.clone(),
                    begin.clone(),
                    writes.clone(),
                );
                std::thread::spawn(move || {
                    assert!(Dune::inside());
                    begin.wait();
                    let mut random = i as u64 + 1;
                    while !stop.load(Relaxed) {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let page = (random >> 33) as usize % PAGES;
                        let at = (start + page * 4096 + i * 8) as *mut u64;
                        // SAFETY: a word of the mapping that only this thread writes.
                        unsafe { at.write_volatile(at.read_volatile() + 1) };
                        announced[page].fetch_add(1, SeqCst);
                        writes.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        begin.wait();
        // Sums per page as the harvester last read them, after the harvest that reported the page.
        let mut known = vec![0u64; PAGES];
        let read = |page: usize| -> u64 {
            // SAFETY: words of the mapping.
            (0..writers)
                .map(|i| unsafe { ((start + page * 4096 + i * 8) as *const u64).read_volatile() })
                .sum()
        };
        for _ in 0..rounds {
            // On one processor the writers may not have run since the last round.
            let enough = writes.load(Relaxed) + 2;
            while writes.load(Relaxed) < enough {
                std::thread::yield_now();
            }
            let before: Vec<u64> = announced.iter().map(|a| a.load(SeqCst)).collect();
            let mut dirty = dune.dirty(start, len).expect("inside");
            let reported: BTreeSet<usize> = dirty
                .by_ref()
                .map(|p| (p as usize - start) / 4096)
                .collect();
            dune.flush(dirty.finish()).expect("inside");
            for page in reported {
                known[page] = read(page);
            }
            for page in 0..PAGES {
                assert!(
                    known[page] >= before[page],
                    "a write to page {page} was lost"
                );
            }
        }
        stop.store(true, Relaxed);
        for thread in threads {
            thread.join().expect("the thread ends");
        }
        let mut last = dune.dirty(start, len).expect("inside");
        let reported: Vec<u64> = last.by_ref().collect();
        dune.flush(last.finish()).expect("inside");
        for page in reported {
            let page = (page as usize - start) / 4096;
            known[page] = read(page);
        }
        assert!(
            (0..PAGES).all(|page| known[page] == read(page)),
            "a last write was lost"
        );
        assert!(writes.load(Relaxed) > rounds, "the writers wrote");
    });
}

#[test]
fn no_write_is_lost_beside_one_writer() {
    rounds(1, some_rounds());
}

#[test]
fn no_write_is_lost_beside_two_writers() {
    rounds(2, some_rounds());
}

#[test]
fn no_write_is_lost_beside_four_writers() {
    rounds(4, some_rounds());
}
