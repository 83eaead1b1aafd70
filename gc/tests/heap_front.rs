//! A slot that is freed alone, far from those freed before, goes in front of the thread's cache and is handed out next.

mod heap_support;

use dunegc::raw::{self, FreeError, Kind};
use heap_support::Random;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

const SIZE: usize = 112;
/// Some twenty blocks full.
const OBJECTS: usize = 12_000;

fn alloc() -> usize {
    let p = raw::alloc(Kind::Malloc, SIZE) as usize;
    assert_ne!(p, 0);
    p
}

fn free(p: usize) -> Result<(), FreeError> {
    // SAFETY: the tests do not use what they gave up, except to free it again, which is what is looked at.
    unsafe { raw::free(p as *mut u8) }
}

/// One test at a time: they count blocks.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// In a thread of its own, whose heap is given back at the end.
fn in_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|s| s.spawn(f).join().unwrap())
}

#[test]
fn the_slot_freed_last_is_handed_out_next() {
    let _g = alone();
    let same = in_thread(|| {
        let objects: Vec<usize> = (0..OBJECTS).map(|_| alloc()).collect();
        let far = &objects[..OBJECTS / 2];
        let step = |p: usize| {
            free(p).unwrap();
            alloc() == p
        };
        let same = far.iter().step_by(101).filter(|&&p| step(p)).count();
        objects.iter().for_each(|&p| free(p).unwrap());
        (same, far.iter().step_by(101).count())
    });
    assert_eq!(same.0, same.1);
}

/// Frees and allocations in random order: nothing is handed out twice, a second free is noticed wherever the first one left the slot,
/// and what a thread leaves behind is used again.
#[test]
fn nothing_is_handed_out_twice_and_nothing_is_lost() {
    let _g = alone();
    let mut seen = HashSet::new();
    for round in 0..6u64 {
        let blocks = in_thread(|| {
            let mut random = Random(round * 7919 + 1);
            let mut held: Vec<usize> = (0..OBJECTS).map(|_| alloc()).collect();
            let mut live: HashSet<usize> = held.iter().copied().collect();
            assert_eq!(live.len(), OBJECTS);
            for _ in 0..60_000 {
                if held.len() > OBJECTS / 2 && random.below(2) == 0 {
                    let p = held.swap_remove(random.below(held.len()));
                    assert!(live.remove(&p));
                    assert_eq!(free(p), Ok(()));
                    if random.below(8) == 0 {
                        let again = free(p);
                        assert!(
                            matches!(again, Err(FreeError::DoubleFree(o)) if o.base == p),
                            "{again:?}"
                        );
                    }
                } else if held.len() < OBJECTS {
                    let p = alloc();
                    assert!(live.insert(p), "{p:#x} is handed out twice");
                    held.push(p);
                }
                if random.below(20_000) == 0 {
                    raw::collect().unwrap();
                }
            }
            // Everything but what is in front and the last objects of a few blocks, in the thread's exit.
            held.iter().for_each(|&p| free(p).unwrap());
            live.iter().map(|p| p >> 16).collect::<HashSet<_>>()
        });
        let new = blocks.difference(&seen).count();
        assert!(round == 0 || new <= 2, "round {round}: {new} new blocks");
        seen.extend(blocks);
    }
}

/// Frees in the current block while it is full and its last free slots wait behind one in front: it must not be taken for a block that
/// is not current, and a collection must see that the waiting slots are free.
#[test]
fn what_waits_behind_the_front_is_free() {
    let _g = alone();
    in_thread(|| {
        let mut held: Vec<usize> = (0..OBJECTS / 4).map(|_| alloc()).collect();
        for round in 0..200 {
            // Wherever the cache's word ends.
            held.extend((0..1 + round * 37 % 64).map(|_| alloc()));
            let (far, near) = (round, held.len() - 70);
            for i in [near, far] {
                free(held[i]).unwrap();
            }
            let live: HashSet<usize> = held.iter().copied().collect();
            let mut lost = 0;
            let count = &mut |o: raw::Object, _| {
                lost += usize::from(o.size == SIZE && !live.contains(&o.base))
            };
            raw::for_each_unreachable(count).unwrap();
            assert_eq!(lost, 0, "free slots counted as objects");
            free(held[near - 3]).unwrap();
            for i in [far, near, near - 3] {
                held[i] = alloc();
            }
            held.extend((0..700).map(|_| alloc()));
            let live: HashSet<usize> = held.iter().copied().collect();
            assert_eq!(live.len(), held.len(), "handed out twice");
        }
        held.iter().for_each(|&p| free(p).unwrap());
    });
}
