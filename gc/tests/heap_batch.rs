//! Frees of neighbours wait in a batch: they are free all the same.

mod heap_support;

use dunegc::raw::{self, FreeError, Kind};
use heap_support::KINDS;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// The tests count what the process allocates.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn free(p: *mut u8) -> Result<(), FreeError> {
    // SAFETY: the tests do not use what they gave up, except to free it again, which is what is looked at.
    unsafe { raw::free(p) }
}

#[test]
fn a_second_free_is_noticed_wherever_the_first_one_left_the_object() {
    let _g = alone();
    for kind in KINDS {
        // More than the words of two caches, so that most lie in no cache.
        let objects: Vec<*mut u8> = (0..1000).map(|_| raw::alloc(kind, 80)).collect();
        for run in objects.chunks(7) {
            for &p in run {
                assert_eq!(free(p), Ok(()), "{kind:?}");
            }
            for &p in run {
                let again = free(p);
                assert!(
                    matches!(again, Err(FreeError::DoubleFree(o)) if o.base == p as usize),
                    "{kind:?}: {again:?}"
                );
            }
        }
    }
}

/// Two threads allocate stamped objects, check the stamps and free in runs, while a third one collects: an object in a batch
/// that the sweep frees as well would be handed out twice.
#[test]
fn batches_and_collections_do_not_free_twice() {
    let _g = alone();
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let workers: Vec<_> = (0..2usize)
            .map(|t| {
                s.spawn(move || {
                    let mut held: Vec<*mut usize> = Vec::new();
                    for round in 0..6000usize {
                        let stamp = |i: usize| (t << 60 | round << 20 | i) ^ (1 << 63);
                        while held.len() < 1500 {
                            let kind = KINDS[1 + held.len() / 500 % 2];
                            let p = raw::alloc(kind, 32).cast::<usize>();
                            // SAFETY: a fresh object of 32 bytes.
                            unsafe { p.write(stamp(held.len())) };
                            held.push(p);
                        }
                        for (i, &p) in held.iter().enumerate() {
                            // SAFETY: reachable from `held`.
                            let found = unsafe { p.read() };
                            assert_eq!(found, stamp(i), "round {round}");
                        }
                        let keep = if round % 2 == 0 { 0 } else { 700 };
                        for slot in &mut held[keep..] {
                            let p = std::mem::replace(slot, std::ptr::null_mut());
                            assert_eq!(free(p.cast()), Ok(()));
                        }
                        held.truncate(keep);
                        for (i, &p) in held.iter().enumerate() {
                            // SAFETY: as above.
                            unsafe { p.write((t << 60 | (round + 1) << 20 | i) ^ (1 << 63)) };
                        }
                    }
                })
            })
            .collect();
        let collector = s.spawn(|| {
            while !over.load(Relaxed) {
                raw::collect().expect("nothing keeps the world from being stopped");
            }
        });
        let failed = workers.into_iter().any(|w| w.join().is_err());
        over.store(true, Relaxed);
        collector.join().unwrap();
        assert!(!failed);
    });
}

/// What waits in a batch when a collection comes belongs to the collection's sweep, no longer to the batch.
#[test]
fn a_collection_takes_the_batch() {
    let _g = alone();
    let make = |n: usize| -> Vec<usize> {
        (0..n)
            .map(|_| raw::alloc(Kind::Scan, 112) as usize)
            .collect()
    };
    let mut last = 0;
    let mut first = make(3000);
    for slot in &mut first[..640] {
        last = !*slot;
        free(std::mem::take(slot) as *mut u8).unwrap();
    }
    raw::collect().expect("nothing keeps the world from being stopped");
    let mut others = std::thread::scope(|s| s.spawn(|| make(6000)).join().unwrap());
    assert!(others.contains(&!last), "the other thread got the object");
    // Ends the batch, if there still is one.
    for p in make(200) {
        free(p as *mut u8).unwrap();
    }
    others.extend(make(3000));
    others.extend(&first[640..]);
    let n = others.len();
    others.sort_unstable();
    others.dedup();
    assert_eq!(others.len(), n, "objects were handed out twice");
}

/// The distance to the next collection is what was allocated and not freed.
#[test]
fn pairs_bring_no_collection_nearer_and_put_none_off() {
    let _g = alone();
    raw::disable();
    raw::collect().expect("nothing keeps the world from being stopped");
    let garbage = || {
        for _ in 0..40_000 {
            std::hint::black_box(raw::alloc(Kind::Scan, 48));
        }
    };
    garbage();
    let before = raw::figures().since_gc;
    assert!(before > 1_500_000, "{before}");
    for _ in 0..200_000 {
        free(raw::alloc(Kind::Scan, 48)).unwrap();
    }
    for _ in 0..20 {
        let run: Vec<_> = (0..10_000).map(|_| raw::alloc(Kind::Scan, 48)).collect();
        run.into_iter().for_each(|p| free(p).unwrap());
    }
    let after = raw::figures().since_gc;
    assert!(
        after.abs_diff(before) < 400_000,
        "{before} bytes allocated, then {after}"
    );
    raw::enable();
}
