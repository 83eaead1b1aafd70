//! Finalizers and links through the untyped interface: order, cycles, what is seen by a finalizer, and what comes back.
//! One process per test: an object is found dead only if no stale pointer to it is anywhere.

use dunegc::raw::{self, Kind};
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Chains, or other shapes, of each sort: a few may be kept by words that look like pointers.
const MANY: usize = 200;

fn collect() {
    clear_stack();
    raw::collect().expect("nothing keeps the world from being stopped");
}

/// Overwrites dead stack frames, in which pointers may have stayed.
#[inline(never)]
fn clear_stack() {
    black_box([0u8; 32 << 10]);
}

/// Runs the ignored test `name` alone in a process, with no other thread that marks or sweeps.
fn alone(name: &str) {
    for markers in ["1", "2"] {
        let out = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--test-threads", "1"])
            .env("DUNEGC_MARKERS", markers)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && text.contains("1 passed"),
            "{name}, {markers} markers: {}\n{text}",
            out.status
        );
    }
}

/// A finalizer ran: the position in the order, counted from 1, by the object's number.
static RAN: [AtomicUsize; 4 * MANY] = [const { AtomicUsize::new(0) }; 4 * MANY];
static CLOCK: AtomicUsize = AtomicUsize::new(0);
/// Where finalizers put objects that come back.
static BACK: [AtomicUsize; MANY] = [const { AtomicUsize::new(0) }; MANY];

/// An object of four words: its number with the top bit set, and up to two pointers.
fn new(number: usize, to: [usize; 2]) -> *mut usize {
    let p = raw::alloc(Kind::Scan, 32).cast::<usize>();
    // SAFETY: the object is four words long.
    unsafe {
        p.write(number | 1 << 63);
        p.add(1).write(to[0]);
        p.add(2).write(to[1]);
    }
    p
}

fn number(p: *mut u8) -> usize {
    // SAFETY: made by `new`.
    unsafe { p.cast::<usize>().read() & !(1 << 63) }
}

fn word(p: *mut u8, i: usize) -> usize {
    // SAFETY: made by `new`.
    unsafe { p.cast::<usize>().add(i).read() }
}

unsafe extern "C" fn note(object: *mut u8, data: *mut u8) {
    let n = number(object);
    assert_eq!(
        RAN[n].swap(CLOCK.fetch_add(1, Relaxed) + 1, Relaxed),
        0,
        "object {n} was finalized before"
    );
    // What it points to is there and intact, of whichever object it is.
    for i in [1, 2] {
        let to = word(object, i);
        if to != 0 {
            let found = raw::find(to).unwrap_or_else(|| panic!("object {n} points to {to:#x}"));
            assert_eq!(word(found.base as *mut u8, 0) >> 63, 1);
        }
    }
    if !data.is_null() {
        assert!(raw::find(data as usize).is_some(), "data of object {n}");
        assert_eq!(number(data), n + 1);
    }
}

unsafe extern "C" fn bring_back(object: *mut u8, data: *mut u8) {
    // SAFETY: as this function.
    unsafe { note(object, data) };
    BACK[number(object)].store(object as usize, Relaxed);
}

fn finalize(p: *mut usize, f: raw::Finalizer, data: *mut usize) {
    assert_eq!(
        raw::set_finalizer(p.cast(), Some((f, data.cast()))),
        Ok(None)
    );
}

fn ran(n: usize) -> usize {
    RAN[n].load(Relaxed)
}

fn count(numbers: impl Iterator<Item = usize>) -> usize {
    numbers.filter(|&n| ran(n) != 0).count()
}

fn most(n: usize, what: &str) {
    assert!(n >= MANY * 9 / 10, "{n} of {MANY} {what}");
}

#[test]
fn who_reaches_comes_first() {
    alone("chains");
}

/// A → B → C, all with finalizers: each in a collection of its own.
#[test]
#[ignore = "run in a child process by who_reaches_comes_first"]
fn chains() {
    #[inline(never)]
    fn make() {
        for i in 0..MANY {
            let c = new(4 * i + 2, [0, 0]);
            let b = new(4 * i + 1, [c as usize, 0]);
            // Interior pointers count.
            let a = new(4 * i, [0, b as usize + 9]);
            for p in [b, c, a] {
                finalize(p, note, std::ptr::null_mut());
            }
        }
    }
    raw::disable();
    make();
    for (round, at) in [0, 1, 2].into_iter().enumerate() {
        collect();
        // Also if they are not run for a while.
        collect();
        assert_eq!(count((0..MANY).map(|i| 4 * i + at)), 0, "round {round}");
        raw::run_finalizers();
        clear_stack();
        most(count((0..MANY).map(|i| 4 * i + at)), "heads finalized");
        for i in 0..MANY {
            for later in at + 1..3 {
                assert_eq!(ran(4 * i + later), 0, "chain {i}, round {round}");
            }
        }
    }
}

#[test]
fn cycles_are_left_alone() {
    alone("cycles");
}

/// Two objects with finalizers that reach each other, directly or through one without, are never finalized; one that points
/// to itself is, unless its finalizer is strict.
#[test]
#[ignore = "run in a child process by cycles_are_left_alone"]
fn cycles() {
    #[inline(never)]
    fn make() {
        for i in 0..MANY {
            let between = new(0, [0, 0]);
            let a = new(4 * i, [between as usize, 0]);
            let b = new(4 * i + 1, [a as usize, 0]);
            // SAFETY: made by `new`.
            unsafe { between.add(1).write(b as usize) };
            let (own, strict) = (new(4 * i + 2, [0, 0]), new(4 * i + 3, [0, 0]));
            for p in [own, strict] {
                // SAFETY: made by `new`.
                unsafe { p.add(2).write(p as usize + 8) };
            }
            for p in [a, b, own] {
                finalize(p, note, std::ptr::null_mut());
            }
            let f = Some((note as raw::Finalizer, std::ptr::null_mut()));
            assert_eq!(raw::set_finalizer_strict(strict.cast(), f), Ok(None));
        }
    }
    raw::disable();
    make();
    for _ in 0..3 {
        collect();
        raw::run_finalizers();
    }
    for i in 0..MANY {
        for at in [0, 1, 3] {
            assert_eq!(ran(4 * i + at), 0, "object {at} of shape {i}");
        }
    }
    most(
        count((0..MANY).map(|i| 4 * i + 2)),
        "that point to themselves finalized",
    );
}

#[test]
fn finalizers_may_bring_objects_back() {
    alone("resurrection");
}

/// An object that its finalizer makes reachable again lives on, with what it reaches; its finalizer is gone, its links are
/// cleared, and it can have a new one.
#[test]
#[ignore = "run in a child process by finalizers_may_bring_objects_back"]
fn resurrection() {
    static LINKS: [AtomicUsize; 2 * MANY] = [const { AtomicUsize::new(0) }; 2 * MANY];
    #[inline(never)]
    fn make() {
        for i in 0..MANY {
            let to = new(2 * MANY + i, [0, 0]);
            let p = new(i, [to as usize, 0]);
            finalize(p, bring_back, std::ptr::null_mut());
            for (at, object) in [(i, p), (MANY + i, to)] {
                LINKS[at].store(!(object as usize), Relaxed);
                assert!(raw::register_link(LINKS[at].as_ptr(), object.cast()));
            }
        }
    }
    raw::disable();
    make();
    collect();
    // Links are cleared before the finalizer runs, also those to what it reaches.
    let cleared = (0..MANY).filter(|&i| [i, MANY + i].map(|at| LINKS[at].load(Relaxed)) == [0, 0]);
    most(cleared.count(), "pairs of links cleared");
    raw::run_finalizers();
    most(count(0..MANY), "finalized");
    for _ in 0..2 {
        collect();
        assert_eq!(raw::run_finalizers(), 0, "what came back has no finalizer");
    }
    for i in (0..MANY).filter(|&i| ran(i) != 0) {
        let p = BACK[i].load(Relaxed) as *mut u8;
        assert_eq!(number(p), i);
        let to = word(p, 1);
        assert!(raw::find(p as usize).is_some() && raw::find(to).is_some());
        assert_eq!(number(to as *mut u8), 2 * MANY + i);
        assert!(
            !raw::unregister_link(LINKS[i].as_ptr()),
            "a cleared link is forgotten"
        );
        RAN[i].store(0, Relaxed);
        finalize(p.cast(), note, std::ptr::null_mut());
        BACK[i].store(0, Relaxed);
    }
    collect();
    raw::run_finalizers();
    most(count(0..MANY), "finalized again");
}

#[test]
fn links_follow_their_objects() {
    alone("links");
}

/// Links to what is reachable stay; links in objects that die are forgotten; one that was unregistered is not touched.
#[test]
#[ignore = "run in a child process by links_follow_their_objects"]
fn links() {
    static LINKS: [AtomicUsize; 3 * MANY] = [const { AtomicUsize::new(0) }; 3 * MANY];
    static KEPT: [AtomicUsize; MANY] = [const { AtomicUsize::new(0) }; MANY];
    #[inline(never)]
    fn make() {
        for i in 0..MANY {
            let (kept, lost, free) = (new(i, [0, 0]), new(i, [0, 0]), new(i, [0, 0]));
            KEPT[i].store(kept as usize, Relaxed);
            for (at, p) in [(i, kept), (MANY + i, lost), (2 * MANY + i, free)] {
                LINKS[at].store(!(p as usize), Relaxed);
                assert!(raw::register_link(LINKS[at].as_ptr(), p.cast()));
            }
            // A link in a word of an object that dies, to one that stays: nobody may write there when the memory is another's.
            // SAFETY: made by `new`.
            let inside = unsafe { lost.add(3) };
            // SAFETY: as above.
            unsafe { inside.write(!(kept as usize)) };
            assert!(raw::register_link(inside, kept.cast()));
            assert!(raw::unregister_link(LINKS[2 * MANY + i].as_ptr()));
        }
    }
    raw::disable();
    make();
    collect();
    for i in 0..MANY {
        let kept = KEPT[i].load(Relaxed);
        assert_eq!(
            LINKS[i].load(Relaxed),
            !kept,
            "link {i} to a reachable object"
        );
        assert_ne!(
            LINKS[2 * MANY + i].load(Relaxed),
            0,
            "link {i} was unregistered"
        );
    }
    most(
        (0..MANY)
            .filter(|&i| LINKS[MANY + i].load(Relaxed) == 0)
            .count(),
        "links cleared",
    );
    // The memory is used again, and its new owner keeps the old bits; then the objects that stayed go.
    let again: Vec<*mut usize> = (0..4 * MANY).map(|_| new(7, [0, 0])).collect();
    for &p in &again {
        // SAFETY: made by `new`.
        unsafe { p.add(3).write(usize::MAX) };
    }
    KEPT.iter().for_each(|k| k.store(0, Relaxed));
    collect();
    for &p in &again {
        assert_eq!(
            word(p.cast(), 3),
            usize::MAX,
            "a forgotten link was written to"
        );
    }
    most(
        (0..MANY).filter(|&i| LINKS[i].load(Relaxed) == 0).count(),
        "links cleared later",
    );
}

#[test]
fn data_and_freed_objects() {
    alone("data");
}

/// The data of a finalizer is kept until it has run; an object that is freed, or loses its finalizer, is not finalized.
#[test]
#[ignore = "run in a child process by data_and_freed_objects"]
fn data() {
    #[inline(never)]
    fn make() {
        for i in 0..MANY {
            finalize(new(4 * i, [0, 0]), note, new(4 * i + 1, [0, 0]));
            let (freed, removed) = (new(4 * i + 2, [0, 0]), new(4 * i + 3, [0, 0]));
            finalize(freed, note, std::ptr::null_mut());
            // SAFETY: the test's own object, not used again.
            unsafe { raw::free(freed.cast()) }.unwrap();
            finalize(removed, note, std::ptr::null_mut());
            let old = raw::set_finalizer(removed.cast(), None);
            assert!(old.is_ok_and(|old| {
                old.is_some_and(|(f, _)| std::ptr::fn_addr_eq(f, note as raw::Finalizer))
            }));
        }
    }
    raw::disable();
    make();
    for _ in 0..2 {
        collect();
        // Whatever takes the memory of the data, if it was freed, overwrites it.
        (0..MANY).for_each(|_| _ = black_box(new(0, [0, 0])));
    }
    raw::run_finalizers();
    most(count((0..MANY).map(|i| 4 * i)), "finalized with their data");
    assert_eq!(count((0..MANY).flat_map(|i| [4 * i + 2, 4 * i + 3])), 0);
    let explicit = raw::alloc(Kind::Uncollectable, 32);
    let f = Some((note as raw::Finalizer, std::ptr::null_mut()));
    assert_eq!(raw::set_finalizer(explicit, f), Err(()), "never collected");
    let inside = new(0, [0, 0]).wrapping_add(1);
    assert_eq!(
        raw::set_finalizer(inside.cast(), f),
        Err(()),
        "no object starts there"
    );
}
