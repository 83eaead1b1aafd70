//! Blocks of other allocators in the process that come to our `free`, `realloc` or `malloc_usable_size`.
//!
//! glibc's own malloc serves libraries loaded with RTLD_DEEPBIND and what was allocated before this library was there; a
//! second malloc library behind this one hands out blocks through its own entry points. Such a pointer is given to its
//! owner; one that nobody owns is the caller's mistake.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::next::{Next, lookup, module_of};
use crate::{errno, fault};
use gc::raw::FreeError;

type Free = unsafe extern "C" fn(*mut c_void);
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> usize;

// SAFETY: the types are those of the functions in <malloc.h>.
static NEXT_FREE: Next<Free> = unsafe { Next::new(c"free") };
// SAFETY: as above.
static NEXT_REALLOC: Next<Realloc> = unsafe { Next::new(c"realloc") };
// SAFETY: as above.
static NEXT_USABLE_SIZE: Next<UsableSize> = unsafe { Next::new(c"malloc_usable_size") };

/// Where the program break was at the first allocation of the process: the start of glibc's main heap.
static INITIAL_BREAK: AtomicUsize = AtomicUsize::new(0);

/// Called at the first allocation.
pub fn note_initial_break() {
    INITIAL_BREAK.store(current_break(), Ordering::Relaxed);
}

fn current_break() -> usize {
    // SAFETY: brk(0) never succeeds in moving the break; the kernel returns the current one.
    unsafe { libc::syscall(libc::SYS_brk, 0) as usize }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Glibc,
    /// The malloc library behind this one.
    Next,
    Nobody,
}

/// Frees `p` by its owner; false if nobody owns it.
pub fn free(p: *mut c_void) -> bool {
    let f: Option<Free> = match owner(p as usize) {
        // SAFETY: the type is that of `free`.
        Owner::Glibc => unsafe { libc_function(c"free") },
        Owner::Next => NEXT_FREE.get(),
        Owner::Nobody => None,
    };
    // SAFETY: the function belongs to the allocator that owns the block; the caller gives the block up.
    f.map(|f| unsafe { f(p) }).is_some()
}

/// Reallocates `p` by its owner, with the owner's errors; `None` if nobody owns it.
pub fn realloc(p: *mut c_void, size: usize) -> Option<*mut c_void> {
    let f: Option<Realloc> = match owner(p as usize) {
        // SAFETY: the type is that of `realloc`.
        Owner::Glibc => unsafe { libc_function(c"realloc") },
        Owner::Next => NEXT_REALLOC.get(),
        Owner::Nobody => None,
    };
    // SAFETY: the function belongs to the allocator that owns the block.
    f.map(|f| unsafe { f(p, size) })
}

/// The usable size of another allocator's block; 0 for null. A pointer that nobody owns is reported.
///
/// # Safety
/// `p` is null or a live block of some allocator.
#[cold]
pub unsafe fn usable_size(p: *mut c_void) -> usize {
    if p.is_null() {
        return 0;
    }
    let f: Option<UsableSize> = match owner(p as usize) {
        // SAFETY: the type is that of `malloc_usable_size`.
        Owner::Glibc => unsafe { libc_function(c"malloc_usable_size") },
        Owner::Next => NEXT_USABLE_SIZE.get(),
        Owner::Nobody => {
            errno::preserve(|| fault::report("malloc_usable_size", p as usize, FreeError::Foreign));
            None
        }
    };
    // SAFETY: the function belongs to the allocator that owns the block.
    f.map_or(0, |f| unsafe { f(p) })
}

/// libc's own definition of `name`, whatever else is loaded.
///
/// # Safety
/// `F` is the function's pointer type.
unsafe fn libc_function<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: the name of the C library; nothing is loaded anew.
    let libc = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if libc.is_null() {
        return None;
    }
    let f = lookup(libc, name);
    // SAFETY: the handle from above, not used afterwards; libc stays loaded.
    unsafe { libc::dlclose(libc) };
    // SAFETY: a non-null address is that of the named function, whose type is `F` by the contract.
    (!f.is_null()).then(|| unsafe { core::mem::transmute_copy(&f) })
}

fn owner(p: usize) -> Owner {
    if !p.is_multiple_of(16) {
        return Owner::Nobody;
    }
    let start = INITIAL_BREAK.load(Ordering::Relaxed);
    if (start != 0 && p >= start && p < current_break()) || is_glibc_chunk(p) {
        return Owner::Glibc;
    }
    if another_malloc_is_loaded() {
        Owner::Next
    } else {
        Owner::Nobody
    }
}

/// The header in front of `p` is that of a chunk that glibc mapped alone, or that lies in one of its thread arenas.
fn is_glibc_chunk(p: usize) -> bool {
    const IS_MAPPED: usize = 2;
    const NON_MAIN_ARENA: usize = 4;
    const PAGE: usize = 4096;
    const ARENA_HEAP: usize = 64 << 20;
    let Some([previous_size, head]) = read_words(p.wrapping_sub(16)) else {
        return false;
    };
    let size = head & !7;
    if head & IS_MAPPED != 0 {
        let start = p.wrapping_sub(16).wrapping_sub(previous_size);
        return start.is_multiple_of(PAGE)
            && previous_size.wrapping_add(size).is_multiple_of(PAGE)
            && (PAGE..1 << 47).contains(&size)
            && read_words::<1>(p - 16 + size - 8).is_some();
    }
    if head & NON_MAIN_ARENA != 0 && size >= 32 && size.is_multiple_of(16) {
        // struct heap_info: arena, previous heap, size of this heap, size of what is writable.
        let heap = p & !(ARENA_HEAP - 1);
        let Some([arena, previous, bytes, writable]) = read_words(heap) else {
            return false;
        };
        return arena.is_multiple_of(16)
            && previous.is_multiple_of(ARENA_HEAP)
            && bytes <= ARENA_HEAP
            && writable <= ARENA_HEAP
            && p + size - 16 <= heap + bytes
            && read_words::<1>(arena).is_some();
    }
    false
}

/// Reads memory that may not be mapped.
fn read_words<const N: usize>(address: usize) -> Option<[usize; N]> {
    let mut words = [0usize; N];
    let local = libc::iovec {
        iov_base: words.as_mut_ptr().cast(),
        iov_len: size_of_val(&words),
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: size_of_val(&words),
    };
    // SAFETY: the kernel checks the remote range; the local one is the array above.
    let n = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    (n == size_of_val(&words) as isize).then_some(words)
}

/// The `free` behind ours is not libc's.
fn another_malloc_is_loaded() -> bool {
    let Some(next) = NEXT_FREE.get() else {
        return false;
    };
    let libc = lookup(libc::RTLD_DEFAULT, c"gnu_get_libc_version") as usize;
    module_of(next as usize) != module_of(libc)
}
