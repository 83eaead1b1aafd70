//! Objects whose words are described one by one. The last word of such an object is its descriptor.

use crate::heap::{self, find};
use crate::kind::Kind;
use crate::kinds;
use crate::mark::marker::Marker;
use crate::raw;
use crate::sys::lock::Lock;
use crate::sys::mem;
use core::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// Words that a descriptor can describe without a table.
const SHORT: usize = 62;
/// Index of the kind of typed objects; 0: not made yet.
static KIND: AtomicUsize = AtomicUsize::new(0);
static MAKING: Lock<()> = Lock::new(());

/// A bitmap that does not fit into a word; never freed.
struct Long {
    words: usize,
    /// Number of bits.
    bits: usize,
}

/// Most long bitmaps.
const LONGS: usize = 1 << 12;
static LONG: [AtomicUsize; LONGS] = [const { AtomicUsize::new(0) }; LONGS];
static LONG_COUNT: Lock<usize> = Lock::new(0);

/// Words behind an array: element size, number of elements, element descriptor; then the object's descriptor.
const TRAILER: usize = 4;

/// The kind of typed objects. `None` if there are too many kinds.
pub fn kind() -> Option<Kind> {
    let k = KIND.load(Acquire);
    if k != 0 {
        return Some(Kind::from_index(k));
    }
    let _m = MAKING.lock();
    if KIND.load(Relaxed) == 0 {
        // Typed objects keep their descriptor in the last word: `scan` looks there, the kind's own descriptor is not used.
        KIND.store(kinds::new(0, false, true)?.index(), Release);
    }
    Some(Kind::from_index(KIND.load(Relaxed)))
}

/// Objects of this kind have their descriptor in their last word.
#[inline]
pub(crate) fn is_typed(kind: Kind) -> bool {
    kind.index() == KIND.load(Relaxed)
}

/// The descriptor of an object in whose first `bits` words a bit of `bitmap` says whether the word may be a reference; behind them
/// there are none. If that cannot be noted, every word counts.
///
/// # Safety
/// `bitmap` has `bits` bits, in words.
pub unsafe fn descriptor(bitmap: *const usize, bits: usize) -> usize {
    // SAFETY: by the contract.
    let bit = |i: usize| unsafe { *bitmap.add(i / 64) } >> (i % 64) & 1 != 0;
    let Some(last) = (0..bits).rev().find(|&i| bit(i)) else {
        return 0;
    };
    if (0..=last).all(bit) {
        return (last + 1) * 8;
    }
    if last < SHORT {
        let map = (0..=last)
            .filter(|&i| bit(i))
            .fold(0, |map, i| map | 1usize << (63 - i));
        return map | kinds::BITMAP;
    }
    match note_long(last + 1, bit) {
        Some(i) => kinds::procedure_descriptor(kinds::LONG_BITMAP, i),
        None => (last + 1) * 8,
    }
}

fn note_long(bits: usize, bit: impl Fn(usize) -> bool) -> Option<usize> {
    let n = bits.div_ceil(64);
    let mut count = LONG_COUNT.lock();
    let same = |l: &Long| {
        l.bits == bits
            && (0..bits).all(|i| {
                // SAFETY: entries of the table have as many bits as they say, and are never freed.
                let w = unsafe { *((l.words + i / 64 * 8) as *const usize) };
                (w >> (i % 64) & 1 != 0) == bit(i)
            })
    };
    if let Some(i) = (0..*count).find(|&i| long(i).is_some_and(same)) {
        return Some(i);
    }
    if *count == LONGS {
        return None;
    }
    let size = mem::round_up(size_of::<Long>() + n * 8, mem::PAGE);
    let p = mem::map(size) as usize;
    if p == 0 {
        return None;
    }
    heap::own::add(p, size);
    let words = p + size_of::<Long>();
    for i in (0..bits).filter(|&i| bit(i)) {
        // SAFETY: a fresh mapping of zeroes, long enough for the header and `n` words.
        unsafe { *((words + i / 64 * 8) as *mut usize) |= 1 << (i % 64) };
    }
    // SAFETY: as above.
    unsafe { (p as *mut Long).write(Long { words, bits }) };
    LONG[*count].store(p, Release);
    *count += 1;
    Some(*count - 1)
}

fn long(i: usize) -> Option<&'static Long> {
    // SAFETY: entries are null or lead to a `Long` that is never freed.
    unsafe { (LONG.get(i)?.load(Acquire) as *const Long).as_ref() }
}

/// An object of `size` bytes with `descriptor`, zeroed. Null without memory.
pub fn alloc(size: usize, descriptor: usize) -> *mut u8 {
    let Some(kind) = kind() else {
        return raw::alloc(Kind::Scan, size);
    };
    let Some(padded) = size.checked_add(8) else {
        return core::ptr::null_mut();
    };
    let p = raw::alloc(kind, padded);
    if !p.is_null() {
        describe(p as usize, &[descriptor]);
    }
    p
}

/// An array of `count` elements of `size` bytes with `descriptor` each, zeroed. Null without memory.
pub fn alloc_array(count: usize, size: usize, descriptor: usize) -> *mut u8 {
    let null = core::ptr::null_mut();
    let Some(total) = count.checked_mul(size) else {
        return null;
    };
    let Some(padded) = total.checked_add(TRAILER * 8) else {
        return null;
    };
    if descriptor == 0 {
        return raw::alloc_zeroed(Kind::Atomic, padded);
    }
    let Some(kind) = kind() else {
        return raw::alloc(Kind::Scan, padded);
    };
    let p = raw::alloc(kind, padded);
    if !p.is_null() {
        let array = kinds::procedure_descriptor(kinds::ARRAY, 0);
        describe(p as usize, &[size, count, descriptor, array]);
    }
    p
}

/// Writes the last words of a fresh object, the last one last: until then it refers to nothing.
fn describe(base: usize, words: &[usize]) {
    let Some(s) = find::slot(base) else {
        return;
    };
    let at = s.base + s.size - words.len() * 8;
    for (i, &w) in words.iter().enumerate() {
        // SAFETY: the object was allocated with room for these words.
        unsafe { ((at + i * 8) as *mut usize).write_volatile(w) };
        core::sync::atomic::compiler_fence(Release);
    }
}

/// Marks what a typed object refers to.
pub(crate) fn scan(m: &mut Marker, base: usize, size: usize) {
    // SAFETY: typed objects have a last word.
    let descriptor = unsafe { ((base + size - 8) as *const usize).read_volatile() };
    kinds::scan_part(m, base, size, descriptor);
}

/// Marks by the long bitmap number `i`.
pub(crate) fn scan_long(m: &mut Marker, base: usize, size: usize, i: usize) {
    let Some(l) = long(i) else {
        return m.range(base, base + size);
    };
    for i in 0..l.bits.min(size / 8) {
        // SAFETY: the bitmap has `bits` bits.
        let w = unsafe { *((l.words + i / 64 * 8) as *const usize) };
        if w >> (i % 64) & 1 != 0 {
            m.range(base + i * 8, base + i * 8 + 8);
        }
    }
}

/// Marks the elements of an array.
pub(crate) fn scan_array(m: &mut Marker, base: usize, size: usize) {
    let at = base + size - TRAILER * 8;
    // SAFETY: `alloc_array` made room for these words.
    let [element, count, descriptor] =
        [0, 1, 2].map(|i| unsafe { ((at + i * 8) as *const usize).read_volatile() });
    // Whatever the words say, only the object itself is read.
    if element == 0 || element.checked_mul(count).is_none_or(|n| n > at - base) {
        return;
    }
    if element % 8 != 0 {
        // Descriptors are for words, which do not lie at the same places in every element.
        return m.range(base, at);
    }
    for i in 0..count {
        kinds::scan_part(m, base + i * element, element, descriptor);
    }
}
