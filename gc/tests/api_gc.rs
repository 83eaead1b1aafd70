//! `Gc`, slices, text and `GcVec` as values; what they keep alive.

mod api_support;

use api_support::{alone, collect, collect_until, elsewhere};
use dunegc::{DuneGc, Gc, GcVec, Weak};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

#[test]
fn is_one_word_with_a_niche() {
    let _alone = alone();
    assert_eq!(size_of::<Gc<u64>>(), 8);
    assert_eq!(size_of::<Option<Gc<u64>>>(), 8);
    assert_eq!(size_of::<Gc<[u64]>>(), 16);
    assert_eq!(size_of::<Weak<[u64]>>(), 8);
}

#[test]
fn compares_and_shows_its_value() {
    let _alone = alone();
    let (a, b, c) = (Gc::new(1), Gc::new(1), Gc::new(2));
    assert!(a == b && a < c && !Gc::ptr_eq(a, b) && Gc::ptr_eq(a, a));
    assert_eq!([a, b, c].into_iter().collect::<HashSet<_>>().len(), 2);
    assert!([a, c].into_iter().collect::<BTreeSet<_>>().contains(&2));
    assert_eq!(format!("{a} {c:?}"), "1 2");
    assert_eq!(format!("{a:p}"), format!("{:p}", Gc::as_ptr(a)));
    assert_eq!(*Gc::<u64>::default(), 0);
}

#[test]
fn values_of_no_size_have_addresses() {
    let _alone = alone();
    let (a, b) = (Gc::new(()), Gc::new(()));
    assert!(a == b && !Gc::ptr_eq(a, b));
    let empty = Gc::<[u64]>::from_slice(&[]);
    assert!(empty.is_empty());
    assert_eq!(Gc::<[()]>::from_fn(7, |_| ()).len(), 7);
    let weak = Gc::downgrade(a);
    collect();
    assert!(weak.upgrade().is_some_and(|w| Gc::ptr_eq(w, a)));
    let vec: GcVec<()> = (0..5).map(|_| ()).collect();
    assert_eq!((vec.len(), vec.into_slice().len()), (5, 5));
}

#[test]
fn keeps_alignment() {
    let _alone = alone();
    #[repr(align(64))]
    struct Line(u8);
    #[repr(align(4096))]
    struct Page(u8);
    #[repr(align(65536))]
    struct Big([u8; 65536]);

    let lines: Vec<_> = (0..100).map(|i| Gc::new(Line(i))).collect();
    let pages: Vec<_> = (0..20).map(|i| Gc::new(Page(i))).collect();
    let big = Gc::map(Gc::<[Big]>::from_fn(3, |i| Big([i as u8; 65536])), |s| s);
    let mut vec = GcVec::new();
    (0..50).for_each(|i| vec.push(Line(i)));
    collect();
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(i, l)| Gc::as_ptr(*l).addr() % 64 == 0 && l.0 == i as u8)
    );
    assert!(
        pages
            .iter()
            .enumerate()
            .all(|(i, p)| Gc::as_ptr(*p).addr() % 4096 == 0 && p.0 == i as u8)
    );
    assert!(
        big.as_ptr().addr() % 65536 == 0
            && big.iter().enumerate().all(|(i, b)| b.0[65535] == i as u8)
    );
    assert!(vec.as_ptr().addr() % 64 == 0 && vec.iter().enumerate().all(|(i, l)| l.0 == i as u8));
}

#[test]
fn slices_text_and_trait_objects_survive() {
    let _alone = alone();
    let words: Gc<[Gc<str>]> = ["spice", "", "sandworm"]
        .into_iter()
        .map(Gc::from)
        .collect();
    let boxed = Gc::new(words);
    let shapes: Vec<Gc<dyn Debug>> = vec![
        Gc::map(Gc::new(3), |v| v as &dyn Debug),
        Gc::map(boxed, |v| v as &dyn Debug),
    ];
    let add: Gc<dyn Fn(i32) -> i32> = {
        let three = Gc::new(3);
        Gc::map(Gc::new(move |n| n + *three), |f| f as &dyn Fn(i32) -> i32)
    };
    churn();
    collect();
    churn();
    assert_eq!(words.iter().map(|w| w.len()).sum::<usize>(), 13);
    assert_eq!(format!("{shapes:?}"), r#"[3, ["spice", "", "sandworm"]]"#);
    assert_eq!(add(4), 7);
}

/// Allocates enough to reuse whatever was freed wrongly.
fn churn() {
    for n in 0..20_000u64 {
        std::hint::black_box(Gc::new([n; 2]));
        std::hint::black_box(Gc::new([n; 6]));
    }
}

struct Node {
    value: u64,
    next: Option<Gc<Node>>,
}

/// A list of the numbers below `n`, greatest first.
fn list(n: u64) -> Gc<Node> {
    (0..n)
        .fold(None, |next, value| Some(Gc::new(Node { value, next })))
        .expect("n is not 0")
}

#[test]
fn lists_of_a_million_are_kept_and_collected_without_recursion() {
    let _alone = alone();
    const N: u64 = 1_000_000;
    const SHORT: u64 = 50_000;
    let long = elsewhere(|| list(N));
    let weak: Vec<Weak<Node>> = elsewhere(|| (0..20).map(|_| Gc::downgrade(list(SHORT))).collect());
    let left = || weak.iter().filter(|w| w.upgrade().is_some()).count();
    collect_until(|| left() <= 10);
    assert!(left() <= 10, "{} of 20 lists left", left());
    elsewhere(churn);
    let values = std::iter::successors(Some(long), |node| node.next).map(|node| node.value);
    assert!(values.eq((0..N).rev()));
}

#[test]
fn an_interior_pointer_keeps_the_whole_object() {
    let _alone = alone();
    let field = elsewhere(|| Gc::map(Gc::new(([1u64; 30], 5u8)), |pair| &pair.1));
    let element = elsewhere(|| {
        Gc::map(Gc::<[u64]>::from_fn(100_000, |i| i as u64), |all| {
            &all[99_999]
        })
    });
    churn();
    collect();
    churn();
    assert_eq!((*field, *element), (5, 99_999));
}

#[test]
fn memory_of_the_global_allocator_is_a_root() {
    let _alone = alone();
    let boxed: Box<Gc<u64>> = elsewhere(|| Box::new(Gc::new(12)));
    let many: Vec<Gc<u64>> = elsewhere(|| (0..10_000).map(Gc::new).collect());
    let shared = elsewhere(|| std::sync::Arc::new(Mutex::new(Gc::new([3u64; 40]))));
    churn();
    collect();
    churn();
    assert_eq!(**boxed, 12);
    assert!(many.iter().enumerate().all(|(i, gc)| **gc == i as u64));
    assert_eq!(shared.lock().expect("nobody panics")[39], 3);
}

#[test]
fn statics_are_roots() {
    let _alone = alone();
    static ROOT: std::sync::OnceLock<Gc<[u64; 9]>> = std::sync::OnceLock::new();
    elsewhere(|| ROOT.set(Gc::new([77; 9])).expect("set once"));
    churn();
    collect();
    churn();
    assert_eq!(ROOT.get().expect("set above")[8], 77);
}

#[test]
fn what_pointer_free_memory_holds_keeps_nothing_alive() {
    let _alone = alone();
    let addresses = elsewhere(|| {
        let addresses = Gc::<[usize]>::from_slice_atomic(
            &(0..1000u64)
                .map(|n| Gc::as_ptr(Gc::new([n; 4])).expose_provenance())
                .collect::<Vec<_>>(),
        );
        let weak: Vec<_> = addresses
            .iter()
            .map(|a| {
                let object = std::ptr::with_exposed_provenance::<[u64; 4]>(*a);
                // SAFETY: only its address is used here; should the object be gone already, the link leads nowhere.
                Gc::downgrade(unsafe { Gc::from_raw(object) })
            })
            .collect();
        (addresses, weak)
    });
    let left = || addresses.1.iter().filter(|w| w.upgrade().is_some()).count();
    collect_until(|| left() < 500);
    assert!(left() < 500, "{} of 1000 left", left());
    assert_eq!(addresses.0.len(), 1000);
}

#[test]
fn vec_is_a_vector() {
    let _alone = alone();
    let mut v = GcVec::new();
    assert_eq!((v.len(), v.capacity(), v.pop()), (0, 0, None::<Gc<u64>>));
    v.extend((0..100).map(Gc::new));
    v.insert(0, Gc::new(1000));
    v.insert(101, Gc::new(1001));
    assert_eq!(*v.remove(1), 0);
    assert_eq!(*v.swap_remove(0), 1000);
    v.retain(|n| **n % 2 == 1);
    collect();
    churn();
    let mut odd: Vec<u64> = (1..100).filter(|n| n % 2 == 1).collect();
    odd.push(1001);
    let mut content: Vec<u64> = v.iter().map(|n| **n).collect();
    content.sort();
    assert_eq!(content, odd);
    let copy = v.clone();
    v.truncate(2);
    v.clear();
    assert!(v.is_empty() && v.capacity() >= 51 && copy.len() == 51);
    v[..].reverse();
    let slice = copy.into_slice();
    collect();
    assert_eq!(
        slice.iter().map(|n| **n).sum::<u64>(),
        odd.iter().sum::<u64>()
    );
    assert_eq!(GcVec::from_iter([1, 2]), [1, 2].into_iter().collect());
}

#[test]
fn a_size_that_no_memory_has_is_an_error() {
    let _alone = alone();
    let mut v: GcVec<u64> = [1, 2, 3].into_iter().collect();
    let error = v
        .try_reserve(usize::MAX)
        .expect_err("more than the address space");
    assert!(
        error.to_string().contains("out of collected memory"),
        "{error}"
    );
    assert!(v.try_reserve(1 << 60).is_err());
    assert_eq!(v.pop(), Some(3));
}

#[test]
fn a_vector_in_a_cycle_is_collected() {
    let _alone = alone();
    struct Member {
        group: Mutex<GcVec<Gc<Member>>>,
    }
    let weak: Vec<Weak<Member>> = elsewhere(|| {
        (0..500)
            .map(|_| {
                let members: Vec<_> = (0..4)
                    .map(|_| {
                        Gc::new(Member {
                            group: Mutex::default(),
                        })
                    })
                    .collect();
                for m in &members {
                    m.group
                        .lock()
                        .expect("nobody panics")
                        .extend(members.iter().copied());
                }
                Gc::downgrade(members[0])
            })
            .collect()
    });
    let left = || {
        weak.iter()
            .filter(|w| {
                w.upgrade()
                    .is_some_and(|m| m.group.lock().expect("nobody panics").len() == 4)
            })
            .count()
    };
    collect_until(|| left() < 250);
    assert!(left() < 250, "{} of 500 left", left());
}
