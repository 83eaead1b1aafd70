//! Allocation: the inlined fast path and what it falls back on.

use super::class::{self, DIRECT_MAX, SMALL_MAX};
use super::thread::{Cache, ThreadHeap};
use super::{critical, large, refill, registry};
use crate::kind::Kind;
use crate::sys::tls;
use core::arch::x86_64::{__m128i, _mm_setzero_si128};
use core::ptr;
use core::sync::atomic::{Ordering::Relaxed, compiler_fence};

/// Largest request; as in other allocators, so that pointer differences fit `isize`.
pub const MAX_SIZE: usize = isize::MAX as usize - (1 << 20);

/// The check of the paranoid build takes old content of an object that the program has not written yet for references; a
/// collection beside the program does not, nor need it. So there an object is cleared before a stop can see it.
pub const ALWAYS_CLEAR: bool = cfg!(feature = "paranoid");

/// The calling thread's heap, or the shared empty one.
#[inline(always)]
pub fn current() -> &'static ThreadHeap {
    // SAFETY: the thread-local leads to the empty heap or one in the arena; both live for ever.
    unsafe { &*tls::get() }
}

/// Takes a slot from the cache.
#[inline(always)]
fn pop(cache: &Cache) -> Option<usize> {
    let bits = cache.bits.load(Relaxed);
    if bits == 0 {
        return None;
    }
    let mut p = cache.base.load(Relaxed)
        + bits.trailing_zeros() as usize * cache.size.load(Relaxed) as usize;
    // The address must exist before the slot leaves the cache: a stop in between then finds the slot in the cache or its
    // address in a register. Left alone, the compiler may compute it afterwards.
    // SAFETY: no instruction; the value passes through unchanged, its origin hidden from the compiler.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) p, options(nomem, nostack, preserves_flags))
    };
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    cache.bits.store(bits & (bits - 1), Relaxed);
    Some(p)
}

/// Allocates; see `crate::raw::alloc`. `zero` asks for zeroed memory.
#[inline(always)]
pub fn alloc(kind: Kind, size: usize, zero: bool) -> *mut u8 {
    match alloc_fast(kind, size, zero) {
        Some(p) => p,
        None => alloc_slow(kind, size, zero),
    }
}

/// What the calling thread's caches hold; `None` means that [`alloc`] has to be called.
#[inline(always)]
pub fn alloc_fast(kind: Kind, size: usize, zero: bool) -> Option<*mut u8> {
    if size > DIRECT_MAX || kind.is_described() || ALWAYS_CLEAR {
        return None;
    }
    let cache = current().cache(kind, class::of(size));
    let p = pop(cache)? as *mut u8;
    if zero && cache.dirty.load(Relaxed) != 0 {
        // SAFETY: the slot was just taken, so it is `cache.size` bytes of this thread's own.
        unsafe { clear(p, cache.size.load(Relaxed) as usize) };
    }
    Some(p)
}

/// Zeroes a slot; sizes are multiples of 16.
///
/// # Safety
/// `p` is 16-byte aligned and `size` bytes long, exclusively the caller's.
#[inline(always)]
unsafe fn clear(p: *mut u8, size: usize) {
    if size <= 64 {
        // Volatile, or the compiler makes a call to memset of it.
        let q = p.cast::<__m128i>();
        // SAFETY: sizes are multiples of 16, so each unit that is written lies in the slot; SSE2 is part of x86_64.
        unsafe {
            let zero = _mm_setzero_si128();
            q.write_volatile(zero);
            if size > 16 {
                q.add(1).write_volatile(zero);
            }
            if size > 32 {
                q.add(2).write_volatile(zero);
            }
            if size > 48 {
                q.add(3).write_volatile(zero);
            }
        }
    } else {
        // SAFETY: by this function's contract.
        unsafe { ptr::write_bytes(p, 0, size) };
    }
}

crate::registers_aside! {
    fn alloc_slow(kind: Kind, size: usize, zero: bool) -> *mut u8 = alloc_here
}

#[cold]
extern "C" fn alloc_here(kind: Kind, size: usize, zero: bool) -> *mut u8 {
    if size > MAX_SIZE {
        return ptr::null_mut();
    }
    let mut heap = current();
    if heap.is_empty_heap() {
        match registry::register() {
            Some(h) => heap = h,
            None => return ptr::null_mut(),
        }
    }
    if super::is_collected(kind) {
        crate::pacer::before_slow_path(heap);
    }
    for attempt in 0..3 {
        if let Some(p) = try_alloc(heap, kind, size, 1, zero) {
            crate::hooks::tell_growth();
            return p;
        }
        if attempt == 0 && !crate::pacer::emergency(size) {
            break;
        }
        if attempt == 1 && !crate::pacer::last_resort(size) {
            break;
        }
    }
    ptr::null_mut()
}

fn try_alloc(
    heap: &ThreadHeap,
    kind: Kind,
    size: usize,
    align: usize,
    zero: bool,
) -> Option<*mut u8> {
    if size > SMALL_MAX || align > SMALL_MAX {
        critical::enter(heap);
        let p = large::allocate(kind, size.max(1), align, zero);
        // The pointer is in this frame while a stop that was put off happens in `leave`.
        critical::leave(heap);
        return p;
    }
    let class = if align <= 16 {
        class::of(size)
    } else {
        aligned_class(size, align)?
    };
    let cache = heap.cache(kind, class);
    // Whoever scans an object by its descriptor must not find old content in it.
    let whole = kind.is_described() || ALWAYS_CLEAR;
    loop {
        if whole {
            critical::enter(heap);
            let p = pop(cache).map(|p| p as *mut u8);
            if let Some(p) = p
                && (zero || ALWAYS_CLEAR)
                && cache.dirty.load(Relaxed) != 0
            {
                // SAFETY: as below.
                unsafe { ptr::write_bytes(p, 0, cache.size.load(Relaxed) as usize) };
            }
            critical::leave(heap);
            if p.is_some() {
                return p;
            }
        } else if let Some(p) = pop(cache) {
            let p = p as *mut u8;
            if zero && cache.dirty.load(Relaxed) != 0 {
                // SAFETY: the slot was just taken, so it is `cache.size` bytes of this thread's own.
                unsafe { ptr::write_bytes(p, 0, cache.size.load(Relaxed) as usize) };
            }
            return Some(p);
        }
        critical::enter(heap);
        let ok = refill::refill(heap, kind, class);
        critical::leave(heap);
        if !ok {
            return None;
        }
    }
}

/// The smallest class that holds `size` and whose objects all lie at multiples of `align`.
fn aligned_class(size: usize, align: usize) -> Option<u8> {
    let first = class::of(size.max(align));
    (first as usize..class::CLASSES)
        .find(|&c| (class::SIZE[c] as usize).is_multiple_of(align))
        .map(|c| c as u8)
}

/// Allocates with an alignment above 16 (a power of two).
pub fn alloc_aligned(kind: Kind, size: usize, align: usize, zero: bool) -> *mut u8 {
    if align <= 16 {
        return alloc(kind, size, zero);
    }
    if size > MAX_SIZE || align > MAX_SIZE / 2 {
        return ptr::null_mut();
    }
    let mut heap = current();
    if heap.is_empty_heap() {
        match registry::register() {
            Some(h) => heap = h,
            None => return ptr::null_mut(),
        }
    }
    if super::is_collected(kind) {
        crate::pacer::before_slow_path(heap);
    }
    // A size that no aligned class holds gets whole blocks, which any alignment up to a block divides.
    let whole = size <= SMALL_MAX && align <= SMALL_MAX && aligned_class(size, align).is_none();
    let size_for_class = if whole { SMALL_MAX + 1 } else { size };
    for attempt in 0..3 {
        if let Some(p) = try_alloc(heap, kind, size_for_class, align, zero) {
            return p;
        }
        if attempt == 0 && !crate::pacer::emergency(size)
            || attempt == 1 && !crate::pacer::last_resort(size)
        {
            break;
        }
    }
    ptr::null_mut()
}
