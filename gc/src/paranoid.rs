//! Feature `paranoid`: after each mark phase, marks again serially and compares. A difference is a bug in the parallel marker;
//! the process ends with a dump of it.

use crate::heap::block::{BORN, Block, State, words};
use crate::heap::{class, layout::GROUPS, marking, runs};
use crate::mark::rescan;
use crate::mark::shared::{Range, Scope, Shared, Work};
use crate::sys::mem;
use core::sync::atomic::Ordering::Relaxed;

/// Marks again with one marker and compares. The world is stopped.
pub fn check(shared: &Shared, scope: Scope, ranges: &[Range]) {
    let n = runs::frontier();
    let bytes = mem::round_up(2 * n * GROUPS * 8, mem::PAGE);
    let saved = mem::map(bytes).cast::<u64>();
    if saved.is_null() {
        crate::message!(
            "paranoid: no memory for a second set of marks; this collection is not checked"
        );
        return;
    }
    each_word(|b, w| {
        // SAFETY: the mapping holds GROUPS words for each block below the frontier.
        unsafe { saved.add(b.0 as usize * GROUPS + w).write(b.mark_word(w)) };
        // SAFETY: behind them as many more.
        unsafe {
            saved
                .add((n + b.0 as usize) * GROUPS + w)
                .write(born_word(b, w))
        };
    });
    rescan::clear_marks();
    shared.begin(scope, Work::all(ranges), 1);
    let Some(mut tally) = shared.lead() else {
        return shared.abandon();
    };
    if rescan::complete(shared, &mut tally).is_none() {
        return;
    }
    let mut wrong = 0;
    each_word(|b, w| {
        // SAFETY: as above.
        let parallel = unsafe { saved.add(b.0 as usize * GROUPS + w).read() };
        let serial = b.mark_word(w);
        if serial & !parallel != 0 {
            wrong += 1;
            if wrong <= 10 {
                let info = b.info();
                crate::message!(
                    "paranoid: block {} ({:?} {:?} class {}), word {w}: reached {serial:#x}, the parallel phase marked {parallel:#x}",
                    b.0,
                    info.state(),
                    info.kind(),
                    info.class()
                );
                if wrong == 1 && info.state() == State::Small {
                    let size = class::SIZE[info.class() as usize] as usize;
                    let at =
                        b.addr() + (w * 64 + (serial & !parallel).trailing_zeros() as usize) * size;
                    referrers(at, at + size, ranges, &|b, i| {
                        // SAFETY: as above.
                        unsafe {
                            saved.add(b.0 as usize * GROUPS + i / 64).read() >> (i % 64) & 1 != 0
                        }
                    });
                }
            }
        }
        // What finalizers keep alive was marked in the first run only.
        b.set_marks(w, parallel | serial);
        // SAFETY: as above.
        marking::born(b, w, unsafe {
            saved.add((n + b.0 as usize) * GROUPS + w).read()
        });
    });
    mem::unmap(saved as usize, bytes);
    if wrong != 0 {
        crate::message!(
            "paranoid: the parallel mark phase missed objects in {wrong} words; aborting"
        );
        // SAFETY: abort has no preconditions.
        unsafe { libc::abort() };
    }
}

/// The objects of word `w` that were born in this collection and not reached since, as bits.
fn born_word(b: Block, w: usize) -> u64 {
    (0..64).fold(0, |bits, i| {
        bits | u64::from(b.mark(w * 64 + i).load(Relaxed) == BORN) << i
    })
}

fn each_word(mut f: impl FnMut(Block, usize)) {
    for i in 1..runs::frontier() {
        let b = Block(i as u32);
        let info = b.info();
        match info.state() {
            State::Small => {
                (0..words(class::CAPACITY[info.class() as usize] as usize)).for_each(|w| f(b, w))
            }
            State::Large => f(b, 0),
            _ => {}
        }
    }
}

/// Prints who refers to a missed object: at most a few lines.
fn referrers(lo: usize, hi: usize, ranges: &[Range], was_marked: &dyn Fn(Block, usize) -> bool) {
    let mut left = 8;
    let mut look = |from: usize, to: usize, what: &str, marked: bool| {
        for p in (from..to).step_by(8) {
            // SAFETY: roots and objects of the heap, with the world stopped.
            let v = unsafe { core::ptr::read_volatile(p as *const usize) };
            if (lo..hi).contains(&v) && left > 0 {
                left -= 1;
                crate::message!(
                    "paranoid:   {what} at {p:#x} holds {v:#x}; object {from:#x}..{to:#x}, marked in the parallel phase: {marked}"
                );
            }
        }
    };
    for r in ranges {
        look(r.lo, r.hi, "root", true);
    }
    for i in 1..runs::frontier() {
        let b = Block(i as u32);
        let info = b.info();
        if !info.kind().is_scanned() || info.state() != State::Small {
            continue;
        }
        let class = info.class() as usize;
        let size = class::SIZE[class] as usize;
        for i in 0..class::CAPACITY[class] as usize {
            if b.mark(i).load(Relaxed) != 0 {
                look(
                    b.addr() + i * size,
                    b.addr() + (i + 1) * size,
                    "object",
                    was_marked(b, i),
                );
            }
        }
    }
}
