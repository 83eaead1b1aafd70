//! `Weak`: cleared when its object is found unreachable, and never a pointer to something else.

mod api_support;

use api_support::{alone, collect, collect_until, elsewhere, wipe_stack};
use dunegc::{DuneGc, Gc, Weak};
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

#[test]
fn follows_its_object() {
    let _alone = alone();
    let kept: Vec<Gc<u64>> = (0..100).map(Gc::new).collect();
    let weak: Vec<Weak<u64>> = kept.iter().map(|gc| Gc::downgrade(*gc)).collect();
    let lost: Vec<Weak<[u64; 3]>> =
        elsewhere(|| (0..1000).map(|n| Gc::downgrade(Gc::new([n; 3]))).collect());
    let left = || lost.iter().filter(|w| w.upgrade().is_some()).count();
    collect_until(|| left() < 500);
    assert!(left() < 500, "{} of 1000 left", left());
    for (weak, gc) in weak.iter().zip(&kept) {
        assert!(weak.upgrade().is_some_and(|w| Gc::ptr_eq(w, *gc)));
        assert!(weak.ptr_eq(&weak.clone()) && !weak.ptr_eq(&Gc::downgrade(*gc)));
    }
    assert!(Weak::<u64>::new().upgrade().is_none() && Weak::<str>::default().ptr_eq(&Weak::new()));
}

#[test]
fn keeps_length_and_vtable() {
    let _alone = alone();
    let slice = Gc::<[u16]>::from_fn(1000, |i| i as u16);
    let text: Gc<str> = "text".into();
    let shown: Gc<dyn Display + Send + Sync> =
        Gc::map(Gc::new(5), |n| n as &(dyn Display + Send + Sync));
    let weak = (
        Gc::downgrade(slice),
        Gc::downgrade(text),
        Gc::downgrade(shown),
    );
    collect();
    assert_eq!(weak.0.upgrade().map(|s| s[999]), Some(999));
    assert_eq!(weak.1.upgrade().as_deref(), Some("text"));
    assert_eq!(
        weak.2.upgrade().map(|s| s.to_string()).as_deref(),
        Some("5")
    );
    // The content, not the length, which the compiler knows without the pointer.
    assert_eq!(
        (slice[7], &*text, shown.to_string().as_str()),
        (7, "text", "5")
    );
}

#[test]
fn a_part_of_an_object_counts_as_the_object() {
    let _alone = alone();
    let whole = Gc::new((1u64, [2u64; 20]));
    let part = Gc::downgrade(Gc::map(whole, |w| &w.1[7]));
    let fixed = Gc::downgrade(Gc::map(whole, |_| "static"));
    collect();
    assert_eq!(part.upgrade().as_deref(), Some(&2));
    assert_eq!(fixed.upgrade().as_deref(), Some("static"));
    assert_eq!(whole.0, 1);
}

/// Threads upgrade, replace and check objects while another collects. An object that is reused under a weak pointer, or
/// freed under a strong one, has the wrong content.
#[test]
fn storm() {
    const SLOTS: usize = 64;
    let _alone = alone();
    let slots: Vec<Mutex<Weak<[u64; 8]>>> = (0..SLOTS).map(|_| Mutex::default()).collect();
    let done = AtomicBool::new(false);
    let (hits, misses, collections) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for t in 0..3u64 {
            let (slots, done, hits, misses) = (&slots, &done, &hits, &misses);
            scope.spawn(move || {
                let mut random = t + 1;
                while !done.load(Relaxed) {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let slot = (random >> 33) as usize % SLOTS;
                    let weak = *slots[slot].lock().expect("nobody panics");
                    match weak.upgrade() {
                        Some(gc) => {
                            hits.fetch_add(1, Relaxed);
                            assert!(gc.iter().all(|v| *v == gc[0]), "torn: {gc:x?}");
                            assert_eq!(gc[0] as usize % SLOTS, slot, "another object");
                        }
                        None => {
                            misses.fetch_add(1, Relaxed);
                            let value = (random >> 40) / SLOTS as u64 * SLOTS as u64 + slot as u64;
                            *slots[slot].lock().expect("nobody panics") =
                                Gc::downgrade(Gc::new([value; 8]));
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                wipe_stack();
                if dunegc::collect().is_ok() {
                    collections.fetch_add(1, Relaxed);
                }
            }
            done.store(true, Relaxed);
        });
    });
    let (hits, misses, collections) = (
        hits.into_inner(),
        misses.into_inner(),
        collections.into_inner(),
    );
    assert!(collections >= 5, "{collections} collections");
    assert!(
        hits > 100 && misses > SLOTS,
        "{hits} upgrades worked, {misses} did not, in {collections} collections"
    );
}
