//! Roots that lie at unusual places.

use dunegc::heap::layout;
use dunegc::raw::{self, Kind};
use std::hint::black_box;

/// An object that nothing on this thread's stack refers to; its address inverted.
#[inline(never)]
fn hidden_object() -> usize {
    let p = raw::alloc(Kind::Scan, 64);
    assert!(!p.is_null());
    !(p as usize)
}

/// Whether the object at the inverted address exists. Out of line, so that no register keeps the address.
#[inline(never)]
fn is_alive(hidden: usize) -> bool {
    raw::find(!black_box(hidden)).is_some()
}

#[inline(never)]
fn store(root: *mut usize, hidden: usize) {
    // SAFETY: the caller passes a valid place.
    unsafe { root.write(!black_box(hidden)) };
}

/// Overwrites dead stack frames, in which a pointer may have stayed.
#[inline(never)]
fn clear_stack() {
    black_box([0u8; 16 << 10]);
}

/// The address slice that the heap may grow into is not reserved: what the program maps there is scanned like any other memory.
#[test]
fn memory_in_the_unused_part_of_the_slice_is_a_root() {
    let hidden = hidden_object();
    let at = layout::base() + layout::HEAP_SPAN / 2;
    assert!(at - layout::base() > layout::limit());
    // SAFETY: a fresh anonymous mapping that replaces none.
    let root = unsafe {
        let p = libc::mmap(
            at as *mut libc::c_void,
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        );
        assert_eq!(p as usize, at);
        p.cast::<usize>()
    };
    store(root, hidden);
    clear_stack();
    for _ in 0..2 {
        raw::collect().expect("nothing keeps the world from being stopped");
        assert!(
            is_alive(hidden),
            "the object died although a root refers to it"
        );
    }
    store(root, !0);
    clear_stack();
    for _ in 0..2 {
        raw::collect().expect("nothing keeps the world from being stopped");
    }
    assert!(
        !is_alive(hidden),
        "the object lives although nothing refers to it"
    );
}
