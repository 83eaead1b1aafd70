use super::super::testing::fresh_slice;
use super::*;
use std::sync::MutexGuard;
use std::time::Duration;
use std::vec::Vec;

/// Fresh runs that never decay, with the block behind the first allocation.
fn fresh() -> MutexGuard<'static, ()> {
    let guard = fresh_slice();
    *RUNS.lock() = Runs::new();
    init(Options::default(), usize::MAX, u64::MAX);
    guard
}

/// `n` blocks one behind the other, each allocated on its own.
fn blocks(n: usize) -> Vec<Block> {
    let v: Vec<Block> = (0..n).map(|_| take(1)).collect();
    assert!(v.windows(2).all(|w| w[1].0 == w[0].0 + 1), "{v:?}");
    v
}

/// Allocates and publishes info words, as callers do.
fn take(n: usize) -> Block {
    take_run(n, 1).expect("there is memory").first
}

fn take_run(n: usize, align: usize) -> Option<Run> {
    let run = allocate(n, align)?;
    for i in 0..n {
        let b = run.first.offset(i);
        assert_eq!(b.info(), Info::FREE, "{b:?} was allocated before");
        b.set_info(Info::tail(crate::kind::Kind::Malloc, i as u32));
    }
    Some(run)
}

/// The listed runs of a sort by address.
fn listed(state: u32) -> Vec<(u32, usize)> {
    let mut r = RUNS.lock();
    let bins = r.bins(state);
    let mut found = Vec::new();
    for (i, head) in bins.heads.iter().enumerate() {
        assert_eq!(bins.filled >> i & 1 != 0, *head != Block::NONE, "bin {i}");
        let (mut b, mut before) = (*head, Block::NONE);
        while b != Block::NONE {
            let n = b.head().length.load(Relaxed) as usize;
            assert_eq!(bin(n), i, "a run of {n} blocks lies in bin {i}");
            assert_eq!(b.head().prev.load(Relaxed), before.0, "{b:?}");
            found.push((b.0, n));
            (before, b) = (b, Block(b.head().next.load(Relaxed)));
        }
    }
    found.sort_unstable();
    found
}

/// What must hold between any two calls: runs do not overlap, neighbours of one sort are one run, both ends know the length, and
/// the sums are right.
fn audit() {
    let (dirty, clean) = (listed(DIRTY), listed(CLEAN));
    let mut all: Vec<(u32, usize, u32)> = Vec::new();
    for (runs, state) in [(&dirty, DIRTY), (&clean, CLEAN)] {
        all.extend(runs.iter().map(|&(b, n)| (b, n, state)));
    }
    all.sort_unstable();
    for &(b, n, state) in &all {
        for end in [Block(b), Block(b + n as u32 - 1)] {
            assert_eq!(end.head().listed.load(Relaxed), state, "{end:?}");
            assert_eq!(end.head().length.load(Relaxed), n as u64, "{end:?}");
        }
        assert!((0..n).all(|i| Block(b).offset(i).info() == Info::FREE));
    }
    for w in all.windows(2) {
        let (end, next) = (w[0].0 as usize + w[0].1, w[1].0 as usize);
        assert!(end <= next, "overlap: {w:?}");
        assert!(end < next || w[0].2 != w[1].2, "not merged: {w:?}");
    }
    let f = figures();
    let sum = |runs: &[(u32, usize)]| runs.iter().map(|r| r.1).sum::<usize>();
    assert_eq!(f.dirty, sum(&dirty));
    // Block 0 is neither free nor in use.
    assert_eq!(f.in_use + f.dirty + sum(&clean) + 1, f.frontier);
}

#[test]
fn neighbours_are_merged() {
    let _alone = fresh();
    for order in [[0, 2, 1], [0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let v = [take(4), take(5), take(6)];
        assert_eq!((v[1].0, v[2].0), (v[0].0 + 4, v[0].0 + 9));
        let wall = take(1);
        for i in order {
            release(v[i], 4 + i);
            audit();
        }
        assert_eq!(listed(DIRTY), [(v[0].0, 15)], "released in order {order:?}");
        release(wall, 1);
        trim(0);
        audit();
    }
}

#[test]
fn a_run_is_split_and_the_rest_stays_listed() {
    let _alone = fresh();
    let run = take(10);
    let _wall = take(1);
    release(run, 10);
    assert_eq!(take(3), run, "used storage first");
    assert_eq!(listed(DIRTY), [(run.0 + 3, 7)]);
    audit();
    assert_eq!(take(7), run.offset(3));
    assert_eq!(listed(DIRTY), []);
    audit();
}

#[test]
fn the_rest_of_a_split_run_keeps_its_age() {
    let _alone = fresh();
    let run = take(10);
    let _wall = take(1);
    release(run, 10);
    run.head().stamp.store(77, Relaxed);
    take(3);
    assert_eq!(run.offset(3).head().stamp.load(Relaxed), 77);
}

#[test]
fn the_best_fitting_run_is_taken() {
    let _alone = fresh();
    let v = [
        take(9),
        take(1),
        take(5),
        take(1),
        take(40),
        take(1),
        take(44),
    ];
    let _wall = take(1);
    for (i, n) in [(0, 9), (2, 5), (4, 40), (6, 44)] {
        release(v[i], n);
    }
    assert_eq!(take(5), v[2], "the run that fits exactly");
    assert_eq!(take(4), v[0], "the smallest that is large enough");
    assert_eq!(
        take(42),
        v[6],
        "of a bin of several lengths, one that is large enough"
    );
    assert_eq!(take(40), v[4]);
    audit();
}

/// A bin of several lengths may hold the fitting run behind many that are too short.
#[test]
fn a_fitting_run_is_found_behind_many_short_ones() {
    let _alone = fresh();
    let long = take(39);
    let mut short = Vec::new();
    for _ in 0..40 {
        take(1);
        short.push(take(33));
    }
    let _wall = take(1);
    assert_eq!(bin(39), bin(33));
    // The last one released is the first in the list.
    release(long, 39);
    short.into_iter().for_each(|b| release(b, 33));
    assert_eq!(take(39), long);
    audit();
}

/// Otherwise every allocation in a heap with much free memory would cost time in proportion to it.
#[test]
fn taking_from_a_run_does_not_touch_its_rest() {
    let _alone = fresh();
    let long = take(256);
    release(long, 256);
    let (inside, untouched) = (long.offset(200), Info::tail(crate::kind::Kind::Malloc, 7));
    inside.set_info(untouched);
    let plain = allocate(3, 1).expect("there is memory").first;
    let aligned = allocate(3, 8).expect("there is memory").first;
    assert!((long.0..inside.0).contains(&plain.0) && (long.0..inside.0).contains(&aligned.0));
    assert_eq!(inside.info(), untouched);
    inside.set_info(Info::FREE);
    release(plain, 3);
    release(aligned, 3);
    audit();
}

#[test]
fn alignment_leaves_both_rests_listed() {
    let _alone = fresh();
    take(1);
    for align in [2, 8, 64] {
        let run = take_run(3, align).expect("there is memory");
        assert_eq!(run.first.0 as usize % align, 0);
        audit();
        release(run.first, 3);
        audit();
        trim(0);
    }
}

#[test]
fn used_storage_is_taken_first_and_only_clean_storage_is_said_to_be_zero() {
    let _alone = fresh();
    let v = blocks(3);
    let fill = |b: Block, byte| {
        // SAFETY: a block that this test has allocated.
        unsafe { (b.addr() as *mut u8).write_bytes(byte, BLOCK) }
    };
    v.iter().for_each(|&b| fill(b, 7));
    release(v[0], 1);
    let run = take_run(1, 1).expect("there is memory");
    assert_eq!((run.first, run.zero), (v[0], false));
    release(v[1], 1);
    assert!(trim(0));
    assert_eq!((figures().dirty, listed(DIRTY)), (0, Vec::new()));
    let run = take_run(1, 1).expect("there is memory");
    assert_eq!((run.first, run.zero), (v[1], true));
    // SAFETY: as above.
    let bytes = unsafe { core::slice::from_raw_parts(v[1].addr() as *const u8, BLOCK) };
    assert!(bytes.iter().all(|&b| b == 0));
    audit();
}

#[test]
fn sorts_are_not_merged_with_each_other() {
    let _alone = fresh();
    let v = [take(2), take(2), take(2)];
    let _wall = take(1);
    release(v[0], 2);
    trim(0);
    release(v[1], 2);
    assert_eq!(listed(DIRTY), [(v[1].0, 2)]);
    assert!(listed(CLEAN).contains(&(v[0].0, 2)));
    audit();
    release(v[2], 2);
    assert_eq!(listed(DIRTY), [(v[1].0, 4)]);
    trim(0);
    assert!(listed(CLEAN).contains(&(v[0].0, 6)));
    audit();
}

#[test]
fn trim_keeps_what_it_is_told() {
    let _alone = fresh();
    let v = [take(8), take(1), take(4), take(1), take(2), take(1)];
    for (i, n) in [(0, 8), (2, 4), (4, 2)] {
        release(v[i], n);
    }
    assert!(trim(6 * BLOCK), "the largest goes");
    assert_eq!(listed(DIRTY), [(v[2].0, 4), (v[4].0, 2)]);
    assert!(!trim(6 * BLOCK), "nothing more to do");
    assert!(trim(0));
    assert_eq!(figures().dirty, 0);
    audit();
}

fn wait(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn storage_goes_back_after_the_decay_time() {
    let _alone = fresh();
    set_limits(usize::MAX, 2000);
    let v = [take(4), take(1), take(3), take(1)];
    release(v[0], 4);
    assert_eq!(figures().dirty, 4, "not at once");
    RUNS.lock().next_purge = 0;
    tick();
    assert_eq!(figures().dirty, 4, "not before its time");
    // The first run has been free for the decay time, the second has not.
    release(v[2], 3);
    let long_ago = clock::coarse_ms().saturating_sub(2000);
    v[0].head().stamp.store(long_ago, Relaxed);
    RUNS.lock().next_purge = 0;
    tick();
    assert_eq!(listed(DIRTY), [(v[2].0, 3)]);
    audit();
}

#[test]
fn decay_happens_by_itself_and_never_if_told() {
    let _alone = fresh();
    let b = take(4);
    let _wall = take(1);
    release(b, 4);
    wait(30);
    tick();
    assert_eq!(figures().dirty, 4, "decay is off");
    set_limits(usize::MAX, 10);
    RUNS.lock().next_purge = 0;
    wait(30);
    tick();
    assert_eq!(figures().dirty, 0);
    audit();
}

#[test]
fn the_reserve_does_not_decay() {
    let _alone = fresh();
    set_limits(usize::MAX, 0);
    let held = take(40);
    let v: Vec<(Block, Block)> = (0..20).map(|_| (take(1), take(1))).collect();
    RUNS.lock().next_purge = u64::MAX;
    v.iter().for_each(|&(b, _)| release(b, 1));
    for (reserve, left) in [(10, 10), (3, 3), (0, 0)] {
        set_reserve(reserve * BLOCK);
        RUNS.lock().next_purge = 0;
        wait(10);
        tick();
        assert_eq!(figures().dirty, left, "reserve {reserve}");
        audit();
    }
    // Never more than half of what is in use.
    set_reserve(1 << 40);
    v.iter().for_each(|&(_, b)| release(b, 1));
    release(held, 40);
    RUNS.lock().next_purge = 0;
    wait(10);
    tick();
    assert_eq!(figures().dirty, figures().in_use / 2);
}

#[test]
fn more_dirty_than_in_use_goes_back_at_once() {
    let _alone = fresh();
    set_limits(usize::MAX, 1_000_000);
    let (small, spike, _wall) = (take(2), take(2 * SLACK), take(1));
    release(small, 2);
    assert_eq!(figures().dirty, 2);
    release(spike, 2 * SLACK);
    let f = figures();
    assert!(f.dirty <= (f.in_use + SLACK) / 2, "{f:?}");
    audit();
}

#[test]
fn the_limit_counts_what_is_in_use() {
    let _alone = fresh();
    set_limits(10 * BLOCK, u64::MAX);
    assert_eq!(max_bytes(), 10 * BLOCK);
    assert!(allocate(11, 1).is_none());
    let b = take(10);
    assert!(allocate(1, 1).is_none());
    release(b, 10);
    take(10);
    assert_eq!(figures().in_use, 10);
}

/// When the system refuses memory, free runs of both sorts are made one.
#[test]
fn refused_memory_joins_both_sorts() {
    let _alone = fresh();
    let v = [take(30), take(30), take(30)];
    // All the rest, so that only these three are left.
    while let Some((_, n)) = {
        let r = RUNS.lock();
        r.clean.largest()
    } {
        take(n);
    }
    // The next tables' place is taken: the heap cannot grow.
    let at = layout::base() + table::HEAD + frontier() * table::HEAD_SIZE;
    mem::map_at(at, mem::PAGE).expect("free so far");
    release(v[0], 30);
    release(v[1], 30);
    trim(0);
    release(v[2], 30);
    assert!(allocate(91, 1).is_none());
    let run = take_run(90, 1).expect("joined");
    assert_eq!((run.first, run.zero), (v[0], true));
    mem::unmap(at, mem::PAGE);
    audit();
}

#[test]
fn bins_are_ordered_by_length() {
    assert!((1..100_000).all(|n| bin(n) <= bin(n + 1)));
    assert!((1..=EXACT).all(|n| bin(n) == n - 1));
    assert!(bin(usize::MAX) < BINS);
}

/// Random steps; whoever holds a block has it alone.
#[test]
fn any_sequence() {
    let _alone = fresh();
    set_limits(4000 * BLOCK, 1);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 20) as usize % n
    };
    let mut held: Vec<(Block, usize)> = Vec::new();
    for step in 0..6000 {
        match next(20) {
            0..8 => {
                let n = if next(4) == 0 {
                    1 + next(300)
                } else {
                    1 + next(12)
                };
                let align = 1 << if next(4) == 0 { next(7) } else { 0 };
                if let Some(run) = take_run(n, align) {
                    assert_eq!(run.first.0 as usize % align, 0);
                    held.push((run.first, n));
                }
            }
            8..17 if !held.is_empty() => {
                let (b, n) = held.swap_remove(next(held.len()));
                release(b, n);
            }
            17 => set_reserve(next(100) * BLOCK),
            18 => _ = trim(next(1000) * BLOCK),
            _ => tick(),
        }
        if step % 16 == 0 {
            audit();
        }
    }
    held.into_iter().for_each(|(b, n)| release(b, n));
    assert_eq!(figures().in_use, 0);
    audit();
}
