//! The untyped interface against a naive model: random sequences in one thread and in several.

mod heap_support;

use dunegc::raw::{self, FreeError};
use heap_support::{Held, Random};
use proptest::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

/// Tests one at a time: a slot that one frees twice must not be another's meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Debug)]
enum Op {
    Alloc {
        kind: usize,
        size: usize,
        zeroed: bool,
    },
    Aligned {
        kind: usize,
        size: usize,
        shift: u32,
    },
    Resize {
        at: usize,
        size: usize,
    },
    Free {
        at: usize,
    },
    FreeTwice {
        at: usize,
    },
    FreeInside {
        at: usize,
    },
    Collect,
    Trim,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..130, 4 => 0usize..2100, 2 => 0usize..40_000, 1 => 30_000usize..400_000]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0usize..5, size(), any::<bool>()).prop_map(|(kind, size, zeroed)| Op::Alloc { kind, size, zeroed }),
        2 => (0usize..5, size(), 5u32..19).prop_map(|(kind, size, shift)| Op::Aligned { kind, size, shift }),
        4 => (any::<usize>(), size()).prop_map(|(at, size)| Op::Resize { at, size }),
        6 => any::<usize>().prop_map(|at| Op::Free { at }),
        1 => any::<usize>().prop_map(|at| Op::FreeTwice { at }),
        1 => any::<usize>().prop_map(|at| Op::FreeInside { at }),
        1 => Just(Op::Collect),
        1 => Just(Op::Trim),
    ]
}

fn collect() {
    raw::collect().expect("nothing keeps the world from being stopped");
}

fn run(ops: &[Op]) {
    let mut held: Vec<Held> = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        let seed = i as u64 + 1;
        match *op {
            Op::Alloc { kind, size, zeroed } => {
                held.extend(Held::new(heap_support::KINDS[kind], size, 1, zeroed, seed))
            }
            Op::Aligned { kind, size, shift } => {
                held.extend(Held::new(
                    heap_support::KINDS[kind],
                    size,
                    1 << shift,
                    false,
                    seed,
                ));
            }
            Op::Collect => collect(),
            Op::Trim => _ = raw::trim(0),
            _ if held.is_empty() => {}
            Op::Resize { at, size } => {
                let n = held.len();
                held[at % n].resize(size);
            }
            Op::Free { at } => held.swap_remove(at % held.len()).free(),
            Op::FreeTwice { at } => held.swap_remove(at % held.len()).free_twice(),
            Op::FreeInside { at } => held[at % held.len()].free_inside(),
        }
    }
    collect();
    for h in &held {
        h.check_object();
    }
    held.into_iter().for_each(Held::free);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_in_one_thread(ops in prop::collection::vec(op(), 1..400)) {
        let _alone = alone();
        run(&ops);
    }
}

/// One thread of the storm: works on its own objects, and hands some to the others, which check and free them.
fn storm(seed: u64, steps: usize, to: &[mpsc::Sender<Held>], from: &mpsc::Receiver<Held>) {
    let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut held: Vec<Held> = Vec::new();
    for i in 0..steps {
        while let Ok(h) = from.try_recv() {
            if r.below(4) == 0 {
                held.push(h)
            } else {
                h.free()
            }
        }
        match r.below(100) {
            0..45 => {
                let align = if r.below(8) == 0 { 32 << r.below(9) } else { 1 };
                let (kind, size, zeroed) = (r.kind(), r.size(), r.below(4) == 0);
                held.extend(Held::new(kind, size, align, zeroed, seed << 32 | i as u64));
            }
            45..55 if !held.is_empty() => {
                let (at, size) = (r.below(held.len()), r.size());
                held[at].resize(size);
            }
            55..80 if !held.is_empty() => held.swap_remove(r.below(held.len())).free(),
            80..97 if !held.is_empty() => {
                let h = held.swap_remove(r.below(held.len()));
                let target = r.below(to.len());
                if let Err(mpsc::SendError(h)) = to[target].send(h) {
                    h.free();
                }
            }
            97 if !held.is_empty() => held[r.below(held.len())].check(),
            98 if r.below(8) == 0 => collect(),
            _ => {}
        }
        if held.len() > 3000 {
            held.drain(..1500).for_each(Held::free);
        }
    }
    held.into_iter().for_each(Held::free);
}

#[test]
fn threads_hand_objects_to_each_other() {
    let _alone = alone();
    const THREADS: usize = 4;
    for round in 0..3 {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
        std::thread::scope(|s| {
            for (i, from) in receivers.into_iter().enumerate() {
                let to = senders.clone();
                s.spawn(move || {
                    storm(round * 100 + i as u64 + 1, 6000, &to, &from);
                    drop(to);
                    // What the others still send is freed by a thread that is about to end.
                    from.into_iter().for_each(Held::free);
                });
            }
            drop(senders);
        });
        collect();
    }
}

/// Threads come and go, and leave objects behind for others to free: blocks change their owners.
#[test]
fn threads_that_end_leave_their_objects_to_others() {
    let _alone = alone();
    let (to, from) = mpsc::channel::<Vec<Held>>();
    std::thread::scope(|s| {
        s.spawn(move || {
            for (i, batch) in from.into_iter().enumerate() {
                batch.into_iter().for_each(Held::free);
                if i % 16 == 0 {
                    collect();
                }
            }
        });
        for w in 0..3u64 {
            let to = to.clone();
            s.spawn(move || {
                for i in 0..60u64 {
                    let to = to.clone();
                    std::thread::spawn(move || {
                        let mut r = Random(w << 32 | i << 8 | 1);
                        let held = (0..600)
                            .filter_map(|k| Held::new(r.kind(), r.below(200), 1, false, k))
                            .collect();
                        _ = to.send(held);
                    })
                    .join()
                    .unwrap();
                }
            });
        }
        drop(to);
    });
}

#[test]
fn foreign_pointers_are_told_apart() {
    let _alone = alone();
    raw::alloc(raw::Kind::Malloc, 1);
    let on_stack = 0u64;
    let mut in_libc = Box::new(0u64);
    for p in [
        std::ptr::from_ref(&on_stack).cast_mut().cast(),
        std::ptr::from_mut(&mut *in_libc).cast(),
        0x10 as *mut u8,
    ] {
        // SAFETY: nothing is freed.
        assert_eq!(unsafe { raw::free(p) }, Err(FreeError::Foreign), "{p:p}");
        // SAFETY: as above.
        let resized = unsafe { raw::realloc(p, 10) };
        assert_eq!(resized, Err(FreeError::Foreign), "{p:p}");
        assert!(!raw::owns(p as usize) && raw::find(p as usize).is_none());
    }
}

/// Sizes that cannot be had give null, and nothing is lost.
#[test]
fn absurd_sizes_give_null() {
    let _alone = alone();
    for size in [usize::MAX, isize::MAX as usize, 1 << 46, usize::MAX - 15] {
        assert!(raw::alloc(raw::Kind::Malloc, size).is_null(), "{size:#x}");
        assert!(
            raw::alloc_aligned(raw::Kind::Malloc, size, 64).is_null(),
            "{size:#x}"
        );
    }
    assert!(raw::alloc_aligned(raw::Kind::Malloc, 16, 1 << 62).is_null());
    let mut h = Held::new(raw::Kind::Malloc, 100, 1, false, 7).expect("there is memory");
    h.resize(1 << 46);
    assert_eq!(h.size, 100, "a failed realloc leaves the object as it is");
    h.free();
}

/// The tests above once more in child processes with other settings.
#[test]
fn under_other_settings() {
    // The paranoid build copies the roots and marks twice in each of the thousands of collections.
    let small = if cfg!(feature = "paranoid") {
        "2M"
    } else {
        "64K"
    };
    let zeal = if cfg!(feature = "paranoid") {
        "20000"
    } else {
        "2000"
    };
    let settings: [&[(&str, &str)]; 6] = [
        &[("DUNEGC_BACKGROUND", "no"), ("DUNEGC_MIN_HEAP", small)],
        &[
            ("DUNEGC_MARKERS", "3"),
            ("DUNEGC_MIN_HEAP", small),
            ("DUNEGC_GROWTH", "10"),
        ],
        &[("DUNEGC_MODE", "reclaim"), ("DUNEGC_MIN_HEAP", small)],
        &[("DUNEGC_MODE", "leaks"), ("DUNEGC_DECAY", "0")],
        &[("DUNEGC_MAX_HEAP", "16M"), ("DUNEGC_DECAY", "1")],
        &[("DUNEGC_ZEAL", zeal)],
    ];
    // Each in a process of its own: near a limit, what one leaves on the heap is marked in each of the other one's collections.
    let tests = [
        "any_sequence_in_one_thread",
        "threads_hand_objects_to_each_other",
        "threads_that_end_leave_their_objects_to_others",
        "foreign_pointers_are_told_apart",
        "absurd_sizes_give_null",
    ];
    let child = |s: &[(&str, &str)]| {
        for test in tests {
            let out = std::process::Command::new(std::env::current_exe().unwrap())
                .args([test, "--exact"])
                .envs(s.iter().copied())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
            let ran = out.status.success() && text.contains("1 passed");
            assert!(ran, "{test} with {s:?}: {}\n{text}", out.status);
        }
    };
    // Two at once: much of what they do is done by one thread.
    let (some, others) = settings.split_at(3);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(|s| child(s)));
        others.iter().for_each(|s| child(s));
    });
}
