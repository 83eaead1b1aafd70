//! One step of a program: a call, what the model makes of it, and a comparison.

use core::ffi::c_void;
use core::hint::black_box;

use crate::calls::{self, ALLOCATORS, FREES, RESIZES};
use crate::helper::elsewhere;
use crate::input::Input;
use crate::links::Place;
use crate::memory::{self, LINKS, REGISTERED, ROOTS};
use crate::model::{Id, Model};

/// More objects, or bytes, are not held at a time.
const MOST: usize = 160;
const MOST_BYTES: usize = 4 << 20;

/// Does step `code`, with operands from `input`.
pub fn step(m: &mut Model, code: u8, input: &mut Input) {
    match code % 32 {
        0..7 => allocate(m, input, false),
        7 => allocate(m, input, true),
        8 | 9 => free(m, input, false),
        10 => free(m, input, true),
        11 | 12 => resize(m, input),
        13..16 => edge(m, input),
        16 => remove_edge(m, input),
        17 => root(m, input),
        18 | 19 => {
            m.set_root(input.below(ROOTS), None);
            m.settle();
        }
        20 => register(m, input),
        21 => pin(m, input),
        22 => unpin(m, input),
        23 => finalizer(m, input),
        24 => with(m, input, |m, id, _| m.drop_finalizer(id)),
        25 => link(m, input),
        26 => unlink(m, input),
        27 | 28 => collect(m, input),
        29 => _ = m.invoke(),
        30 => rest(m, input),
        _ => with(m, input, |m, id, _| m.check(id)),
    }
}

/// Takes everything back that the program did, so that the next one starts with nothing.
pub fn finish(m: &mut Model) {
    m.check_all();
    (0..m.disabled).for_each(|_| calls::GC_enable());
    m.disabled = 0;
    while m.invoke() > 0 {}
    // What is lost waits for a collection; without its finalizer nobody keeps it.
    let all: Vec<Id> = m.objects.keys().copied().collect();
    for id in all {
        if m.objects.contains_key(&id) {
            let held = hold(m, id);
            m.detach(id);
            m.check(id);
            let o = m.objects.remove(&id).expect("looked up above");
            if !o.kind.is_collected() || id % 2 == 0 {
                calls::free(o.pointer());
            }
            black_box(held);
            m.settle();
        }
    }
    for pair in 0..REGISTERED / 2 {
        memory::register_pair(pair, false, false);
    }
    while !m.links.is_empty() {
        m.drop_link(0);
    }
}

/// A pointer for the stack, to keep an object whose last root goes: pass it to `black_box` when that may be collected.
fn hold(m: &Model, id: Id) -> *mut c_void {
    black_box(m.objects[&id].pointer())
}

fn with(m: &mut Model, input: &mut Input, f: impl FnOnce(&mut Model, Id, &mut Input)) {
    if let Some(id) = m.choose(input.byte()) {
        f(m, id, input);
        m.settle();
    }
}

fn allocate(m: &mut Model, input: &mut Input, there: bool) {
    let a = &ALLOCATORS[input.below(ALLOCATORS.len())];
    let (size, bits) = (input.size(), input.byte());
    let align = if a.aligned { 8 << (bits % 15) } else { 1 };
    let root = input.below(ROOTS);
    let held: usize = m.objects.values().map(|o| o.usable).sum();
    if m.objects.len() >= MOST || held + size + align > MOST_BYTES {
        return;
    }
    let call = a.call;
    let p = if there {
        !elsewhere(move || !(call(size, align) as usize)) as *mut c_void
    } else {
        call(size, align)
    };
    assert!(!p.is_null(), "no memory for {size} bytes");
    let id = m.enter(p, size, a.kind, align, a.zeroed);
    m.set_root(root, Some((id, bits % m.objects[&id].usable)));
    black_box(p);
    m.settle();
}

fn free(m: &mut Model, input: &mut Input, there: bool) {
    with(m, input, |m, id, input| {
        let call = FREES[input.below(FREES.len())];
        let held = hold(m, id);
        m.detach(id);
        m.check(id);
        let o = m.objects.remove(&id).expect("chosen");
        let (hidden, size) = (o.hidden(), o.size);
        if there {
            elsewhere(move || {
                call(!hidden as *mut c_void, size);
                0
            });
        } else {
            call(o.pointer(), size);
        }
        black_box(held);
    });
}

fn resize(m: &mut Model, input: &mut Input) {
    with(m, input, |m, id, input| {
        let call = RESIZES[input.below(RESIZES.len())];
        let (size, root) = (input.size().max(1), input.below(ROOTS));
        let own: Vec<(usize, (Id, usize))> = m.objects[&id].edges.clone().into_iter().collect();
        let held = hold(m, id);
        m.detach(id);
        let old = &m.objects[&id];
        let (old_size, old_usable, kind) = (old.size, old.usable, old.kind);
        let p = call(old.pointer(), size);
        assert!(!p.is_null(), "no memory for {size} bytes");
        // Words beyond the new end are gone, and a word that the end now cuts is no pointer any more.
        let o = m.objects.get_mut(&id).expect("chosen");
        o.edges.retain(|&i, _| (i + 1) * 8 <= size);
        m.moved(id, p, size);
        let both = size.min(old_size);
        let o = &m.objects[&id];
        for (i, (to, delta)) in own {
            if to != id && o.edges.contains_key(&i) {
                assert_eq!(
                    o.read(i),
                    m.objects[&to].address() + delta,
                    "word {i} of {o:?}, resized"
                );
            }
        }
        if kind.is_zeroed() {
            // SAFETY: the object is `size` bytes long.
            let bytes = unsafe { core::slice::from_raw_parts(p.cast::<u8>(), size) };
            assert!(
                bytes.iter().skip(old_usable).all(|&b| b == 0),
                "what {o:?} gained is not zero"
            );
        }
        check_prefix(m, id, both);
        m.objects[&id].fill();
        let edges: Vec<_> = m.objects[&id].edges.iter().map(|(&i, &e)| (i, e)).collect();
        for (i, (to, delta)) in edges {
            m.set_edge(id, i, to, delta);
        }
        m.set_root(root, Some((id, 0)));
        black_box((held, p));
    });
}

/// The first `n` bytes of a resized object are what they were.
fn check_prefix(m: &Model, id: Id, n: usize) {
    let o = &m.objects[&id];
    for i in (0..n / 8).filter(|i| !o.edges.contains_key(i)) {
        let got = o.read(i);
        o.reset(i);
        assert_eq!(got, o.read(i), "word {i} of {o:?}, resized");
    }
}

fn edge(m: &mut Model, input: &mut Input) {
    with(m, input, |m, from, input| {
        let (word, delta) = (input.byte(), input.byte());
        let to = m.choose(input.byte()).expect("there is one");
        let o = &m.objects[&from];
        if o.words() > 0 && o.kind.is_scanned() {
            m.set_edge(
                from,
                word % o.words(),
                to,
                delta * 97 % m.objects[&to].usable,
            );
        }
    });
}

fn remove_edge(m: &mut Model, input: &mut Input) {
    with(m, input, |m, from, input| {
        let n = input.byte();
        let edges = &m.objects[&from].edges;
        let at = edges.keys().nth(n % edges.len().max(1)).copied();
        if let Some(i) = at {
            m.remove_edge(from, i);
        }
    });
}

fn root(m: &mut Model, input: &mut Input) {
    with(m, input, |m, id, input| {
        let (i, delta) = (input.below(ROOTS), input.byte());
        m.set_root(i, Some((id, delta * 97 % m.objects[&id].usable)));
    });
}

fn register(m: &mut Model, input: &mut Input) {
    let n = input.byte();
    let pair = n % (REGISTERED / 2);
    m.registered[pair] = !m.registered[pair];
    memory::register_pair(pair, m.registered[pair], n & 16 != 0);
    m.settle();
}

fn pin(m: &mut Model, input: &mut Input) {
    with(m, input, |m, id, input| {
        let delta = input.byte();
        let o = m.objects.get_mut(&id).expect("chosen");
        let p = o.pointer().wrapping_byte_add(delta % o.usable);
        assert_eq!(calls::dunegc_pin(p), 0, "pin of {o:?}");
        o.pins += 1;
    });
}

fn unpin(m: &mut Model, input: &mut Input) {
    with(m, input, |m, id, _| m.unpin(id));
}

fn finalizer(m: &mut Model, input: &mut Input) {
    with(m, input, |m, id, input| {
        let n = input.byte();
        let data = if n & 1 != 0 {
            m.choose(input.byte())
        } else {
            None
        };
        let back = (n & 6 == 0).then(|| input.below(ROOTS));
        m.set_finalizer(id, data, back, n & 8 != 0);
    });
}

fn link(m: &mut Model, input: &mut Input) {
    with(m, input, |m, to, input| {
        let n = input.byte();
        if n & 1 == 0 {
            return m.set_link(Place::Word(n / 2 % LINKS), to);
        }
        let holder = m.choose(input.byte()).expect("there is one");
        let o = &m.objects[&holder];
        if o.words() > 0 && o.kind.is_collected() {
            m.set_link(Place::Inside(holder, n / 2 % o.words()), to);
        }
    });
}

fn unlink(m: &mut Model, input: &mut Input) {
    let n = input.byte();
    let reachable = |p| !matches!(p, Place::Inside(id, _) if m.objects[&id].lost);
    let usable: Vec<usize> = (0..m.links.len())
        .filter(|&at| reachable(m.links[at].place))
        .collect();
    let Some(&at) = usable.get(n % usable.len().max(1)) else {
        return;
    };
    if n & 128 == 0 {
        m.drop_link(at);
    } else {
        m.move_link(at, input.below(LINKS));
    }
}

fn collect(m: &mut Model, input: &mut Input) {
    let before = calls::GC_get_gc_no();
    match input.byte() % 4 {
        0 => calls::GC_gcollect_and_unmap(),
        1 => calls::GC_gcollect(),
        _ => assert_eq!(calls::dunegc_collect(), 0),
    }
    assert!(calls::GC_get_gc_no() > before, "no collection took place");
    m.check_all();
}

fn rest(m: &mut Model, input: &mut Input) {
    let n = input.byte();
    match n % 8 {
        0 => _ = calls::malloc_trim(n * 1000),
        1 if m.disabled < 4 => {
            calls::GC_disable();
            m.disabled += 1;
            assert_ne!(calls::GC_is_disabled(), 0);
        }
        2 if m.disabled > 0 => {
            calls::GC_enable();
            m.disabled -= 1;
            assert_eq!(calls::GC_is_disabled() != 0, m.disabled > 0);
        }
        3 => {
            let held: usize = m.objects.values().map(|o| o.usable).sum();
            let (used, heap) = (calls::GC_get_memory_use(), calls::GC_get_heap_size());
            assert!(
                held <= used && used <= heap,
                "{held} bytes are held, {used} in use, {heap} in the heap"
            );
        }
        4 => refused(n),
        5 => m.check_all(),
        _ => {}
    }
}

/// Calls that must fail.
fn refused(n: usize) {
    let mut p = core::ptr::without_provenance_mut::<c_void>(n);
    assert_eq!(calls::posix_memalign(&raw mut p, 24, n), libc::EINVAL);
    assert_eq!(p as usize, n);
    assert!(calls::aligned_alloc(48, n).is_null());
    assert!(calls::calloc(usize::MAX / 2, 2 + n).is_null());
    assert!(calls::malloc(usize::MAX - n).is_null());
    assert!(calls::reallocarray(core::ptr::null_mut(), usize::MAX / 4, 8).is_null());
    assert!(calls::GC_base(p).is_null() && calls::dunegc_size(p) == 0);
    assert_eq!(calls::dunegc_pin(p), -1);
    assert_eq!(
        calls::dunegc_set_finalizer(p, None, core::ptr::null_mut()),
        -1
    );
}
