//! Objects scanned by descriptors and procedures, orders of finalization, long links, toggle references, and objects that are asked
//! about before they go. One process per test: an object is found dead only if no stale pointer to it is anywhere.

use dunegc::raw::{self, Kind, Link, Order};
use dunegc::{disclaim, displacements, kinds, toggle, typed};
use std::ffi::c_void;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Objects of each sort: a few may be kept by words that look like pointers.
const MANY: usize = 200;

/// Runs the ignored test `name` alone in a process, with one and two markers, and with collections beside the program allowed.
fn alone(name: &str) {
    for env in [
        ("DUNEGC_MARKERS", "1"),
        ("DUNEGC_MARKERS", "2"),
        ("DUNEGC_CONCURRENT", "yes"),
    ] {
        let out = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--test-threads", "1"])
            .env(env.0, env.1)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && text.contains("1 passed"),
            "{name}, {env:?}: {}\n{text}",
            out.status
        );
    }
}

/// Two full collections, with dead stack frames overwritten, in which pointers may have stayed. Where collections run beside the
/// program, one of these before them.
#[inline(never)]
fn collect() {
    if raw::begin_collection() {
        while raw::collect_if_due() {
            std::thread::yield_now();
        }
    }
    for _ in 0..2 {
        black_box([0u8; 32 << 10]);
        raw::collect().expect("nothing keeps the world from being stopped");
    }
}

/// Words that are cleared when their objects go; they hold nothing that looks like a pointer.
struct Watch([AtomicUsize; MANY]);

impl Watch {
    const fn new() -> Watch {
        Watch([const { AtomicUsize::new(0) }; MANY])
    }

    fn set(&self, i: usize, object: *mut usize, sort: Link) {
        self.0[i].store(!(object as usize), Relaxed);
        assert!(raw::register_link_as(
            sort,
            self.0[i].as_ptr(),
            object.cast()
        ));
    }

    fn alive(&self) -> usize {
        self.0.iter().filter(|w| w.load(Relaxed) != 0).count()
    }

    fn all_alive(&self, what: &str) {
        assert_eq!(self.alive(), MANY, "{what}: all are kept");
    }

    fn most_gone(&self, what: &str) {
        let alive = self.alive();
        assert!(alive <= MANY / 10, "{what}: {alive} of {MANY} are kept");
    }
}

static SEEN: Watch = Watch::new();
static UNSEEN: Watch = Watch::new();

fn object() -> *mut usize {
    raw::alloc(Kind::Scan, 48).cast()
}

/// Pinned holders made by `make`, with a reference in word `seen` and one in word `unseen`: only the first is followed.
fn check(what: &str, seen: usize, unseen: usize, mut make: impl FnMut() -> *mut usize) {
    #[inline(never)]
    fn fill(seen: usize, unseen: usize, make: &mut dyn FnMut() -> *mut usize) {
        for i in 0..MANY {
            let holder = make();
            assert!(!holder.is_null() && raw::pin(holder as usize));
            let (a, b) = (object(), object());
            SEEN.set(i, a, Link::Short);
            UNSEEN.set(i, b, Link::Short);
            // SAFETY: holders are longer than either word.
            unsafe {
                holder.add(seen).write(a as usize);
                holder.add(unseen).write(b as usize);
            }
        }
    }
    fill(seen, unseen, &mut make);
    collect();
    SEEN.all_alive(what);
    UNSEEN.most_gone(what);
}

fn made(kind: Kind, words: usize) -> *mut usize {
    raw::alloc(kind, words * 8).cast()
}

#[test]
fn descriptors_say_what_is_a_reference() {
    alone("descriptors");
}

#[test]
#[ignore = "run in a child process by descriptors_say_what_is_a_reference"]
fn descriptors() {
    let bitmap = kinds::new(1 << 62 | kinds::BITMAP, false, true).unwrap();
    check("bitmap", 1, 2, || made(bitmap, 4));
    let length = kinds::new(16, false, true).unwrap();
    check("length", 1, 2, || made(length, 4));
    check("large, by length", 1, 9000, || made(length, 10_000));
    let whole = kinds::new(usize::MAX - 15, true, true).unwrap();
    check("all but the last two words", 1, 2, || made(whole, 4));
    let inside = kinds::new(8 | kinds::PER_OBJECT, false, true).unwrap();
    check("in the object", 2, 3, || {
        let p = made(inside, 6);
        // SAFETY: the object is long enough.
        unsafe { p.add(1).write(24) };
        p
    });
    static TABLE: [usize; 2] = [0, 1 << 60 | kinds::BITMAP];
    let by_table = (-(8 + 0x10_isize)) as usize | kinds::PER_OBJECT;
    let by_table = kinds::new(by_table, false, true).unwrap();
    check("where the first word leads to", 3, 4, || {
        let p = made(by_table, 6);
        // SAFETY: the object is long enough.
        unsafe { p.write(TABLE.as_ptr() as usize) };
        p
    });
}

#[test]
fn typed_objects() {
    alone("typed_ones");
}

#[test]
#[ignore = "run in a child process by typed_objects"]
fn typed_ones() {
    // SAFETY: the bitmaps have as many bits.
    let (short, long) = unsafe {
        (
            typed::descriptor([0b101].as_ptr(), 64),
            typed::descriptor([1 << 40, 0b1001].as_ptr(), 128),
        )
    };
    check("short bitmap", 2, 1, || typed::alloc(40, short).cast());
    check("long bitmap", 67, 66, || typed::alloc(800, long).cast());
    check("behind the bitmap", 67, 90, || {
        typed::alloc(800, long).cast()
    });
    check("array, second element", 5, 4, || {
        typed::alloc_array(10, 24, short).cast()
    });
    check("large array, last element", 8997, 8998, || {
        typed::alloc_array(3000, 24, short).cast()
    });
}

#[test]
fn procedures_of_the_program() {
    alone("procedures");
}

/// Counts while the program runs.
static TICKS: AtomicUsize = AtomicUsize::new(0);
static RAN_BESIDE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Follows the word whose number the argument is; looks whether the program runs.
unsafe extern "C" fn follow(
    p: *mut usize,
    m: *mut c_void,
    _: *mut c_void,
    n: usize,
) -> *mut c_void {
    let before = TICKS.load(Relaxed);
    (0..2000).for_each(|_| std::hint::spin_loop());
    RAN_BESIDE.fetch_add(usize::from(TICKS.load(Relaxed) != before), Relaxed);
    CALLS.fetch_add(1, Relaxed);
    // SAFETY: the objects of this test are longer; the marker is the one that was passed.
    unsafe { kinds::reference(m, p.add(n).read()) };
    m
}

#[test]
#[ignore = "run in a child process by procedures_of_the_program"]
fn procedures() {
    let number = kinds::new_procedure(follow).unwrap();
    assert!(number >= kinds::RESERVED);
    let kind = kinds::new(kinds::procedure_descriptor(number, 3), false, true).unwrap();
    std::thread::spawn(|| {
        loop {
            TICKS.fetch_add(1, Relaxed);
        }
    });
    check("by a procedure", 3, 1, || made(kind, 6));
    assert!(CALLS.load(Relaxed) >= MANY);
    assert_eq!(
        RAN_BESIDE.load(Relaxed),
        0,
        "procedures run with the world stopped only"
    );
    let beside = std::env::var("DUNEGC_CONCURRENT").is_ok();
    assert_eq!(
        raw::begin_collection(),
        beside,
        "they keep no collection from running beside the program"
    );
}

#[test]
fn registered_displacements() {
    alone("exact");
}

#[test]
#[ignore = "run in a child process by registered_displacements"]
fn exact() {
    displacements::set_exact(true);
    assert!(displacements::register(8) && !displacements::register(displacements::LIMIT));
    static INSIDE: [Watch; 2] = [Watch::new(), Watch::new()];
    #[inline(never)]
    fn fill() {
        for i in 0..MANY {
            let holder = made(Kind::Uncollectable, 2);
            for (w, inner) in [8, 16].into_iter().enumerate() {
                let p = object();
                INSIDE[w].set(i, p, Link::Short);
                // SAFETY: the holder has two words.
                unsafe { holder.add(w).write(p as usize + inner) };
            }
        }
    }
    fill();
    collect();
    INSIDE[0].all_alive("8 bytes behind the start");
    INSIDE[1].most_gone("16 bytes behind the start");
}

static RAN: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn ran(_: *mut u8, _: *mut u8) {
    RAN.fetch_add(1, Relaxed);
}

fn finalize(p: *mut usize, order: Order) {
    let set = raw::set_ordered_finalizer(p.cast(), Some((ran, std::ptr::null_mut())), order);
    assert_eq!(set, Ok(None));
}

fn most(n: usize, of: usize, what: &str) {
    assert!(n >= of * 9 / 10 && n <= of, "{what}: {n} of {of}");
}

#[test]
fn orders_of_finalization() {
    alone("orders");
}

/// Pairs that refer to each other: in order none is finalized, without order both are at once. An object that is last of all waits for
/// one without order that reaches it.
#[test]
#[ignore = "run in a child process by orders_of_finalization"]
fn orders() {
    #[inline(never)]
    fn pairs(first: Order, second: Order, cycle: bool) {
        for _ in 0..MANY {
            let (a, b) = (object(), object());
            // SAFETY: objects of six words.
            unsafe {
                a.write(b as usize);
                if cycle {
                    b.write(a as usize);
                }
            }
            finalize(a, first);
            finalize(b, second);
        }
    }
    let round = || {
        collect_once();
        raw::run_finalizers();
        RAN.swap(0, Relaxed)
    };
    pairs(Order::AfterReferrers, Order::AfterReferrers, true);
    assert!(round() <= MANY / 10, "cycles in order");
    pairs(Order::Unordered, Order::Unordered, true);
    most(round(), 2 * MANY, "cycles without order");
    pairs(Order::Unordered, Order::LastOfAll, false);
    most(round(), MANY, "without order first");
    most(round(), MANY, "last of all");
}

#[inline(never)]
fn collect_once() {
    black_box([0u8; 32 << 10]);
    raw::collect().expect("nothing keeps the world from being stopped");
}

#[test]
fn long_links_outlast_finalizers() {
    alone("long_links");
}

#[test]
#[ignore = "run in a child process by long_links_outlast_finalizers"]
fn long_links() {
    #[inline(never)]
    fn fill() {
        for i in 0..MANY {
            let p = object();
            SEEN.set(i, p, Link::Long);
            UNSEEN.set(i, p, Link::Short);
            finalize(p, Order::AfterReferrers);
        }
    }
    fill();
    collect_once();
    SEEN.all_alive("long links of objects that are due");
    UNSEEN.most_gone("short links of objects that are due");
    raw::run_finalizers();
    collect_once();
    SEEN.most_gone("long links of finalized objects");
}

static STRONG: AtomicBool = AtomicBool::new(true);

fn status(_: usize) -> toggle::Status {
    if STRONG.load(Relaxed) {
        toggle::Status::Strong
    } else {
        toggle::Status::Weak
    }
}

#[test]
fn toggle_references() {
    alone("toggles");
}

#[test]
#[ignore = "run in a child process by toggle_references"]
fn toggles() {
    #[inline(never)]
    fn fill() {
        for i in 0..MANY {
            let p = object();
            SEEN.set(i, p, Link::Short);
            assert!(toggle::add(p as usize, true));
        }
    }
    toggle::set_function(Some(status));
    fill();
    collect();
    SEEN.all_alive("strong");
    STRONG.store(false, Relaxed);
    collect();
    SEEN.most_gone("weak");
}

static ASKED: AtomicUsize = AtomicUsize::new(0);
static CLAIM: AtomicBool = AtomicBool::new(true);

fn claim(_: Kind, object: usize) -> bool {
    ASKED.fetch_add(1, Relaxed);
    // What it refers to is there: the object was marked from.
    // SAFETY: made below.
    let to = unsafe { *(object as *const usize) };
    assert!(raw::find(to).is_some(), "{to:#x}");
    CLAIM.load(Relaxed)
}

#[test]
fn disclaimed_objects() {
    alone("disclaimed");
}

#[test]
#[ignore = "run in a child process by disclaimed_objects"]
fn disclaimed() {
    let kind = kinds::new(0, true, true).unwrap();
    disclaim::register(kind, claim, true);
    #[inline(never)]
    fn fill(kind: Kind) {
        for _ in 0..MANY {
            let (p, to) = (made(kind, 4), object());
            // SAFETY: an object of four words.
            unsafe { p.write(to as usize) };
        }
    }
    fill(kind);
    collect_once();
    most(ASKED.swap(0, Relaxed), MANY, "asked");
    CLAIM.store(false, Relaxed);
    collect_once();
    most(ASKED.swap(0, Relaxed), MANY, "kept, and asked again");
    collect_once();
    assert!(ASKED.load(Relaxed) <= MANY / 10, "freed");
}
