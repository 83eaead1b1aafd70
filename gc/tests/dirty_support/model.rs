//! Random writes by threads while pages are harvested, against a copy that is refreshed only from what is reported.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

const PAGES: usize = 192;

/// Words in each page, one per writer.
fn word(m: &Memory, page: usize, i: usize) -> &AtomicU64 {
    // SAFETY: an aligned word inside the mapping, only used as an atomic.
    unsafe { &*m.at(page).cast::<AtomicU64>().add(i * 31) }
}

/// Runs `rounds` rounds with `writers` threads; how many page contents were not reported.
pub fn lost<S: Source>(t: &mut Tracking<S>, m: &Memory, writers: usize, rounds: usize) -> usize {
    let begin = Barrier::new(writers + 1);
    let end = Barrier::new(writers + 1);
    let quit = AtomicBool::new(false);
    let mut lost = 0;
    t.arm(&[m.range()]).unwrap();
    let sum = |page: usize| {
        (0..writers)
            .map(|i| word(m, page, i).load(SeqCst))
            .sum::<u64>()
    };
    let mut known: Vec<u64> = (0..m.pages).map(sum).collect();
    std::thread::scope(|s| {
        for i in 0..writers {
            let (begin, end, quit) = (&begin, &end, &quit);
            s.spawn(move || {
                let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (i as u64 + 1) << 32);
                loop {
                    begin.wait();
                    if quit.load(SeqCst) {
                        return;
                    }
                    for _ in 0..random.below(24) {
                        // Some pages are written often, so that writes meet harvests.
                        let page = random.below(random_bound(m.pages, random.0));
                        word(m, page, i).fetch_add(1, SeqCst);
                    }
                    end.wait();
                }
            });
        }
        let mut random = Random(77);
        for round in 0..rounds {
            begin.wait();
            for _ in 0..random.below(4) {
                refresh(running(t, m), &mut known, sum);
            }
            end.wait();
            // The writers wait: the world is stopped.
            let when = if round % 8 == 7 {
                When::Stopped { keep: false }
            } else {
                When::Stopped { keep: true }
            };
            refresh(harvest(t, m, when), &mut known, sum);
            lost += (0..m.pages).filter(|&p| known[p] != sum(p)).count();
            if lost > 0 {
                // One lost page would be counted in every round to come.
                break;
            }
            if round % 8 == 7 {
                t.disarm();
                t.arm(&[m.range()]).unwrap();
            }
        }
        quit.store(true, SeqCst);
        begin.wait();
    });
    lost
}

fn random_bound(pages: usize, x: u64) -> usize {
    if x & 0x300 == 0 { pages } else { 8 }
}

fn refresh(written: Written, known: &mut [u64], sum: impl Fn(usize) -> u64) {
    for (page, k) in known.iter_mut().enumerate() {
        if written.has(page) {
            *k = sum(page);
        }
    }
}

fn rounds<S: Tested>(writers: usize) {
    let m = Memory::filled(PAGES);
    let mut t = Tracking::new(S::make());
    assert_eq!(lost(&mut t, &m, writers, S::ROUNDS[0]), 0);
}

pub fn one_writer<S: Tested>() {
    rounds::<S>(1);
}

pub fn four_writers<S: Tested>() {
    rounds::<S>(4);
}
