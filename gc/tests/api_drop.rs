//! Values with `Drop`: once, on the finalizer thread, parents first, and not while they are in use.
//!
//! The collector is conservative, so where values have to go, half of them have to.

mod api_support;

use api_support::{alone, collect, collect_until, elsewhere};
use dunegc::{DuneGc, Finalize, Gc, Weak};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

/// Counts its drops in a cell of its own.
struct Counted {
    drops: &'static AtomicU32,
    text: String,
}

impl Counted {
    fn new(drops: &'static AtomicU32) -> Self {
        Counted {
            drops,
            text: "alive".into(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_eq!(self.text, "alive");
        self.text.clear();
        self.drops.fetch_add(1, SeqCst);
    }
}

#[test]
fn dropped_exactly_once() {
    let _alone = alone();
    const N: usize = 5000;
    let drops: &'static [AtomicU32] = (0..N).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
    let kept = elsewhere(|| {
        for d in &drops[100..] {
            Gc::with_drop(Counted::new(d));
        }
        drops[..100]
            .iter()
            .map(|d| Gc::with_drop(Counted::new(d)))
            .collect::<Vec<_>>()
    });
    let count = |range: &[AtomicU32], n| range.iter().filter(|d| d.load(SeqCst) == n).count();
    collect_until(|| count(&drops[100..], 0) < N / 10);
    for _ in 0..3 {
        collect();
    }
    assert!(
        count(&drops[100..], 0) < N / 10,
        "{} are not dropped",
        count(&drops[100..], 0)
    );
    assert_eq!(
        count(&drops[100..], 0) + count(&drops[100..], 1),
        N - 100,
        "some are dropped twice"
    );
    assert_eq!(count(&drops[..100], 0), 100, "dropped while reachable");
    assert!(kept.iter().all(|k| k.with(|c| c.text == "alive")));
}

#[test]
fn on_the_finalizer_thread() {
    let _alone = alone();
    struct Where(&'static Mutex<Option<String>>);
    impl Drop for Where {
        fn drop(&mut self) {
            let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
            *self.0.lock().expect("nobody panics") = Some(name);
        }
    }
    static NAME: Mutex<Option<String>> = Mutex::new(None);
    elsewhere(|| (0..20).for_each(|_| _ = black_box(Gc::with_drop(Where(&NAME)))));
    collect_until(|| NAME.lock().expect("nobody panics").is_some());
    assert_eq!(
        NAME.lock().expect("nobody panics").as_deref(),
        Some("dunegc-final\n")
    );
}

/// A chain: each link looks at the next one when it is dropped.
struct Link {
    number: usize,
    next: Option<Gc<Finalize<Link>>>,
    alive: AtomicBool,
    order: &'static Mutex<Vec<usize>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.alive.store(false, SeqCst);
        if let Some(next) = self.next {
            assert!(
                next.with(|n| n.alive.load(SeqCst) && n.number == self.number + 1),
                "the next one is gone"
            );
        }
        self.order.lock().expect("nobody panics").push(self.number);
    }
}

#[test]
fn parents_before_children() {
    let _alone = alone();
    const DEPTH: usize = 6;
    const CHAINS: usize = 20;
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    elsewhere(|| {
        for _ in 0..CHAINS {
            let mut next = None;
            for number in (0..DEPTH).rev() {
                next = Some(Gc::with_drop(Link {
                    number,
                    next,
                    alive: AtomicBool::new(true),
                    order: &ORDER,
                }));
            }
        }
    });
    let count = |n| {
        ORDER
            .lock()
            .expect("nobody panics")
            .iter()
            .filter(|m| **m == n)
            .count()
    };
    for _ in 0..DEPTH {
        collect();
        let counts: Vec<usize> = (0..DEPTH).map(count).collect();
        assert!(
            counts.is_sorted_by(|a, b| a >= b),
            "a child before its parent: {counts:?}"
        );
    }
    collect_until(|| count(DEPTH - 1) >= CHAINS / 2);
    assert!(
        count(DEPTH - 1) >= CHAINS / 2,
        "only {} of {CHAINS} chains are dropped to the end",
        count(DEPTH - 1)
    );
    assert!((0..DEPTH).all(|n| count(n) <= CHAINS));
}

/// May know itself, or another one.
struct Knows {
    other: Mutex<Option<Gc<Finalize<Knows>>>>,
    drops: &'static AtomicUsize,
}

impl Drop for Knows {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
    }
}

fn knows(drops: &'static AtomicUsize) -> Gc<Finalize<Knows>> {
    Gc::with_drop(Knows {
        other: Mutex::new(None),
        drops,
    })
}

fn tie(from: Gc<Finalize<Knows>>, to: Gc<Finalize<Knows>>) {
    from.with(|f| *f.other.lock().expect("nobody panics") = Some(to));
}

/// In its `Drop` such a value could hand out a pointer to itself: it would be used after the drop.
#[test]
fn what_reaches_itself_is_never_dropped() {
    let _alone = alone();
    static SELF: AtomicUsize = AtomicUsize::new(0);
    static PAIR: AtomicUsize = AtomicUsize::new(0);
    static FREE: AtomicUsize = AtomicUsize::new(0);
    elsewhere(|| {
        for _ in 0..20 {
            let a = knows(&SELF);
            tie(a, a);
            let (b, c) = (knows(&PAIR), knows(&PAIR));
            tie(b, c);
            tie(c, b);
            knows(&FREE);
        }
    });
    collect_until(|| FREE.load(SeqCst) >= 10);
    for _ in 0..3 {
        collect();
    }
    assert!(
        FREE.load(SeqCst) >= 10,
        "values outside cycles: {} of 20 dropped",
        FREE.load(SeqCst)
    );
    assert_eq!((SELF.load(SeqCst), PAIR.load(SeqCst)), (0, 0));
}

#[test]
fn a_child_can_be_saved_by_its_parents_drop() {
    /// Saves its child in a slot of its own; a `Vec` that grows leaves copies in vector registers of the idle thread.
    struct Parent(
        Gc<Finalize<Counted>>,
        &'static Mutex<Option<Gc<Finalize<Counted>>>>,
    );
    impl Drop for Parent {
        fn drop(&mut self) {
            *self.1.lock().expect("nobody panics") = Some(self.0);
        }
    }
    static SAVED: [Mutex<Option<Gc<Finalize<Counted>>>>; 20] = [const { Mutex::new(None) }; 20];
    static DROPS: AtomicU32 = AtomicU32::new(0);
    let _alone = alone();
    elsewhere(|| {
        SAVED
            .iter()
            .for_each(|slot| _ = Gc::with_drop(Parent(Gc::with_drop(Counted::new(&DROPS)), slot)))
    });
    let saved = || {
        SAVED
            .iter()
            .filter(|s| s.lock().expect("nobody panics").is_some())
            .count()
    };
    collect_until(|| saved() >= 10);
    collect();
    assert!(saved() >= 10);
    assert_eq!(DROPS.load(SeqCst), 0);
    let text = |c: &Counted| c.text == "alive";
    assert!(
        SAVED
            .iter()
            .filter_map(|s| *s.lock().expect("nobody panics"))
            .all(|c| c.with(text))
    );
    let before = saved() as u32;
    SAVED
        .iter()
        .for_each(|s| *s.lock().expect("nobody panics") = None);
    collect_until(|| DROPS.load(SeqCst) >= before / 2);
    assert!(
        DROPS.load(SeqCst) >= before / 2,
        "{} of {before} dropped",
        DROPS.load(SeqCst)
    );
}

/// A buffer that says when it is gone.
struct Buffer {
    bytes: Vec<u8>,
    gone: &'static AtomicBool,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes.fill(0);
        self.gone.store(true, SeqCst);
    }
}

/// The compiler needs the `Gc` only to fetch the slice; from there on nothing but `with` keeps the value.
#[inline(never)]
fn sum_while_collecting(buffer: Gc<Finalize<Buffer>>) -> u64 {
    buffer.with(|b| {
        let bytes = &b.bytes[..];
        (0..4)
            .map(|_| {
                collect();
                bytes.iter().map(|b| u64::from(*b)).sum::<u64>()
            })
            .sum()
    })
}

#[inline(never)]
fn make(gone: &'static AtomicBool) -> Gc<Finalize<Buffer>> {
    Gc::with_drop(Buffer {
        bytes: vec![1; 10_000],
        gone,
    })
}

#[test]
fn not_dropped_while_in_use() {
    let _alone = alone();
    static GONE: [AtomicBool; 10] = [const { AtomicBool::new(false) }; 10];
    for gone in &GONE {
        assert_eq!(sum_while_collecting(make(gone)), 40_000);
    }
    collect_until(|| GONE.iter().filter(|g| g.load(SeqCst)).count() >= 5);
    assert!(GONE.iter().filter(|g| g.load(SeqCst)).count() >= 5);
}

#[test]
fn not_dropped_while_guarded() {
    let _alone = alone();
    static GONE: [AtomicBool; 10] = [const { AtomicBool::new(false) }; 10];
    static FORGOTTEN: AtomicBool = AtomicBool::new(false);
    for gone in &GONE {
        elsewhere(|| {
            let buffer = make(gone);
            let guard = buffer.guard();
            for _ in 0..3 {
                collect();
            }
            assert!(!gone.load(SeqCst));
            assert_eq!(guard.bytes.len(), 10_000);
        });
    }
    elsewhere(|| {
        let buffer = Box::leak(Box::new(make(&FORGOTTEN)));
        let bytes: &[u8] = &Box::leak(Box::new(buffer.guard())).bytes;
        collect();
        assert_eq!(bytes.iter().map(|b| u64::from(*b)).sum::<u64>(), 10_000);
    });
    // A stale word may hold one of them.
    collect_until(|| GONE.iter().filter(|g| g.load(SeqCst)).count() >= 5);
    assert!(GONE.iter().filter(|g| g.load(SeqCst)).count() >= 5);
    assert!(!FORGOTTEN.load(SeqCst), "a forgotten guard holds its value");
}

#[test]
fn weak_pointers_are_cleared_before_drop() {
    let _alone = alone();
    struct Looks {
        me: Mutex<Weak<Finalize<Looks>>>,
        found: &'static AtomicUsize,
        drops: &'static AtomicUsize,
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            let me = self.me.get_mut().expect("nobody panics");
            self.found
                .fetch_add(usize::from(me.upgrade().is_some()), SeqCst);
            self.drops.fetch_add(1, SeqCst);
        }
    }
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    let weak: Vec<_> = elsewhere(|| {
        (0..100)
            .map(|_| {
                let gc = Gc::with_drop(Looks {
                    me: Mutex::default(),
                    found: &FOUND,
                    drops: &DROPS,
                });
                let weak = Gc::downgrade(gc);
                gc.with(|l| *l.me.lock().expect("nobody panics") = weak);
                weak
            })
            .collect()
    });
    collect_until(|| DROPS.load(SeqCst) > 50);
    assert!(
        DROPS.load(SeqCst) > 50,
        "{} of 100 dropped",
        DROPS.load(SeqCst)
    );
    assert_eq!(FOUND.load(SeqCst), 0);
    assert!(weak.iter().filter(|w| w.upgrade().is_none()).count() >= DROPS.load(SeqCst));
}

#[test]
fn values_without_size_or_of_any_alignment() {
    let _alone = alone();
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    static CROOKED: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
        }
    }
    #[repr(align(256))]
    struct Wide(#[allow(dead_code)] u8);
    impl Drop for Wide {
        fn drop(&mut self) {
            CROOKED.fetch_add(std::ptr::from_ref(self).addr() % 256, SeqCst);
            DROPS.fetch_add(1, SeqCst);
        }
    }
    elsewhere(|| {
        for n in 0..50 {
            Gc::with_drop(Nothing);
            Gc::with_drop(Wide(n));
        }
    });
    collect_until(|| DROPS.load(SeqCst) > 50);
    assert!(
        DROPS.load(SeqCst) > 50,
        "{} of 100 dropped",
        DROPS.load(SeqCst)
    );
    assert!(DROPS.load(SeqCst) <= 100);
    assert_eq!(CROOKED.load(SeqCst), 0);
}

#[test]
fn shows_its_value() {
    let _alone = alone();
    let gc = Gc::with_drop(String::from("text"));
    assert_eq!(
        format!("{gc} {gc:?} {} {:?}", gc.guard(), gc.guard()),
        "text \"text\" text \"text\""
    );
}
