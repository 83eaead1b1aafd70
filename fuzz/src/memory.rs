//! Words outside the heap: roots, and links.

use core::ffi::c_void;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Once;

use crate::calls;

/// Root words in a data segment.
pub const STATIC: usize = 24;
/// Root words that count only while they are registered, in pairs.
pub const REGISTERED: usize = 8;
/// All of them.
pub const ROOTS: usize = STATIC + REGISTERED;
/// Words for links outside the heap.
pub const LINKS: usize = 8;

static STATIC_WORDS: [AtomicUsize; STATIC] = [const { AtomicUsize::new(0) }; STATIC];

#[repr(align(4096))]
struct Page([AtomicUsize; REGISTERED]);
static REGISTERED_WORDS: Page = Page([const { AtomicUsize::new(0) }; REGISTERED]);

static LINK_WORDS: [AtomicUsize; LINKS] = [const { AtomicUsize::new(0) }; LINKS];

/// Once: due finalizers wait until they are invoked, and the registered words are no roots by themselves.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        calls::GC_set_finalize_on_demand(1);
        let (lo, hi) = range(0, REGISTERED);
        calls::GC_exclude_static_roots(lo, hi);
    });
}

/// Sets a root word.
pub fn set_root(i: usize, value: usize) {
    // The compiler must not know that only the collector reads them.
    match black_box(&STATIC_WORDS).get(i) {
        Some(word) => word.store(value, Relaxed),
        None => black_box(&REGISTERED_WORDS).0[i - STATIC].store(value, Relaxed),
    }
}

/// Registers pair `i` of the words that need it, or takes it out again.
pub fn register_pair(i: usize, on: bool, boehm: bool) {
    let (lo, hi) = range(2 * i, 2 * i + 2);
    match (on, boehm) {
        (true, true) => calls::GC_add_roots(lo, hi),
        (true, false) => calls::dunegc_add_roots(lo, hi),
        (false, true) => calls::GC_remove_roots(lo, hi),
        (false, false) => calls::dunegc_remove_roots(lo, hi),
    }
}

fn range(from: usize, to: usize) -> (*mut c_void, *mut c_void) {
    let words = REGISTERED_WORDS.0.as_ptr_range();
    let start = words.start.cast_mut();
    (
        start.wrapping_add(from).cast(),
        start.wrapping_add(to).cast(),
    )
}

/// A link word outside the heap.
pub fn link(i: usize) -> *mut usize {
    LINK_WORDS[i].as_ptr()
}
