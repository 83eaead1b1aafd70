//! Feature `paranoid`: after each mark phase, marks again serially and compares. A difference is a bug in the parallel marker;
//! the process ends with a dump of it.

use crate::heap::block::{BORN, Block, State, words};
use crate::heap::{class, find, large, layout::GROUPS, marking, runs};
use crate::mark::rescan;
use crate::mark::shared::{Range, Scope, Shared, Work};
use crate::sys::mem;
use core::sync::atomic::Ordering::Relaxed;

/// Below the frame of the check, what marking left on the stack of the calling thread.
const LEFT_BELOW: usize = 8 << 10;

/// Marks again with one marker and compares. The world is stopped.
///
/// The calling thread entered the collector at the stack pointer `entered`. Its stack may be an object of the heap (a coroutine's from malloc): then
/// marking serially finds in it what the parallel phase has left there meanwhile. What nothing else refers to that the parallel phase has
/// marked was not missed.
pub fn check(shared: &Shared, scope: Scope, ranges: &[Range], entered: usize) {
    let here = &raw const scope as usize;
    let frames = here.saturating_sub(LEFT_BELOW)..entered;
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
    let was_marked = |b: Block, i: usize| {
        // SAFETY: as above.
        unsafe { saved.add(b.0 as usize * GROUPS + i / 64).read() >> (i % 64) & 1 != 0 }
    };
    let mut wrong = 0;
    each_word(|b, w| {
        // SAFETY: as above.
        let parallel = unsafe { saved.add(b.0 as usize * GROUPS + w).read() };
        let serial = b.mark_word(w);
        let mut missed = serial & !parallel;
        while missed != 0 {
            let object = bounds(b, w * 64 + missed.trailing_zeros() as usize);
            missed &= missed - 1;
            let print = wrong == 0;
            if !is_referred_to(object, ranges, scope.explicit, &frames, &was_marked, print) {
                continue;
            }
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
        crate::message!("paranoid: the parallel mark phase missed {wrong} objects; aborting");
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

/// First address of an object, and the first behind it.
fn bounds(b: Block, i: usize) -> (usize, usize) {
    let info = b.info();
    if info.state() == State::Small {
        let size = class::SIZE[info.class() as usize] as usize;
        (b.addr() + i * size, b.addr() + (i + 1) * size)
    } else {
        let size = large::head_of(b, info).map_or(0, |(_, size)| size);
        (b.addr(), b.addr() + size)
    }
}

/// Whether a root refers to a missed object, or an object of the kinds `explicit`, or one that the parallel phase has marked, but for words in
/// `frames`. With `print` they are named, at most a few.
fn is_referred_to(
    (lo, hi): (usize, usize),
    ranges: &[Range],
    explicit: u32,
    frames: &core::ops::Range<usize>,
    was_marked: &dyn Fn(Block, usize) -> bool,
    print: bool,
) -> bool {
    let mut found = 0;
    let mut look = |from: usize, to: usize, what: &str| {
        for p in (from..to).step_by(8).filter(|p| !frames.contains(p)) {
            // SAFETY: roots and objects of the heap, with the world stopped.
            let v = unsafe { core::ptr::read_volatile(p as *const usize) };
            if (lo..hi).contains(&v) {
                found += 1;
                if print && found <= 8 {
                    crate::message!(
                        "paranoid:   {what} at {p:#x} holds {v:#x}; object {from:#x}..{to:#x}"
                    );
                }
            }
        }
    };
    for r in ranges {
        look(r.lo, r.hi, "root");
    }
    each_word(|b, w| {
        let info = b.info();
        if explicit >> info.kind().bit() & 1 != 0 {
            if w == 0 {
                find::each_in(b, info, |s| look(s.base, s.base + s.size, "object"));
            }
            return;
        }
        if !info.kind().is_scanned() {
            return;
        }
        for i in w * 64..w * 64 + 64 {
            if was_marked(b, i) && b.mark(i).load(Relaxed) != 0 {
                let (from, to) = bounds(b, i);
                look(from, to, "object");
            }
        }
    });
    found > 0
}
