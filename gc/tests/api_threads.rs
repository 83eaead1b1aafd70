//! Pointers in other threads' hands: closures, thread-locals, channels, threads that only wait.

mod api_support;

use api_support::{alone, collect, elsewhere};
use dunegc::{DuneGc, Gc};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Barrier, mpsc};
use std::thread;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

fn churn() {
    for n in 0..20_000u64 {
        black_box(Gc::new([n; 4]));
    }
}

#[test]
fn captured_by_a_closure() {
    let _alone = alone();
    let gate = Barrier::new(2);
    thread::scope(|scope| {
        let value = elsewhere(|| Gc::new([41u64; 4]));
        let thread = scope.spawn({
            let gate = &gate;
            move || {
                gate.wait();
                value[3]
            }
        });
        collect();
        churn();
        gate.wait();
        assert_eq!(thread.join().expect("does not panic"), 41);
    });
}

#[test]
fn in_thread_locals() {
    thread_local! {
        static PLAIN: Cell<Option<Gc<[u64; 4]>>> = const { Cell::new(None) };
        static DROPPED: Cell<Option<Box<Gc<[u64; 4]>>>> = const { Cell::new(None) };
    }
    let _alone = alone();
    let gate = Barrier::new(4);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3u64)
            .map(|t| {
                let gate = &gate;
                scope.spawn(move || {
                    PLAIN.set(Some(Gc::new([t; 4])));
                    DROPPED.set(Some(Box::new(Gc::new([t + 10; 4]))));
                    api_support::wipe_stack();
                    gate.wait();
                    gate.wait();
                    (
                        PLAIN.get().expect("set above")[0],
                        DROPPED.take().expect("set above")[0],
                    )
                })
            })
            .collect();
        gate.wait();
        collect();
        churn();
        gate.wait();
        let values: Vec<_> = threads
            .into_iter()
            .map(|t| t.join().expect("does not panic"))
            .collect();
        assert_eq!(values, [(0, 10), (1, 11), (2, 12)]);
    });
}

#[test]
fn through_a_channel() {
    let _alone = alone();
    let (sender, receiver) = mpsc::channel::<Gc<[u64; 6]>>();
    let producer = thread::spawn(move || {
        (0..20_000u64).for_each(|n| sender.send(Gc::new([n; 6])).expect("there is a receiver"))
    });
    let mut seen = 0;
    for gc in receiver {
        assert_eq!(*gc, [seen; 6]);
        seen += 1;
        if seen % 5000 == 0 {
            collect();
        }
    }
    producer.join().expect("does not panic");
    assert_eq!(seen, 20_000);
}

#[test]
fn allocating_in_many_threads() {
    let _alone = alone();
    let wrong = Gc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8u64)
        .map(|t| {
            thread::spawn(move || {
                let mut kept = Vec::new();
                for n in 0..20_000u64 {
                    let gc = Gc::new([t << 32 | n; 3]);
                    if n % 100 == 0 {
                        kept.push(gc);
                    }
                }
                for (i, gc) in kept.iter().enumerate() {
                    wrong.fetch_add(
                        usize::from(**gc != [t << 32 | (i as u64 * 100); 3]),
                        Relaxed,
                    );
                }
            })
        })
        .collect();
    for _ in 0..5 {
        collect();
    }
    threads
        .into_iter()
        .for_each(|t| t.join().expect("does not panic"));
    assert_eq!(wrong.load(Relaxed), 0);
}

#[test]
fn bounds() {
    fn shared<T: Send + Sync>() {}
    shared::<Gc<u64>>();
    shared::<Gc<[std::sync::Mutex<u64>]>>();
    shared::<dunegc::Weak<str>>();
    shared::<dunegc::GcVec<Gc<u64>>>();
    shared::<Gc<dunegc::Finalize<Vec<String>>>>();
}
