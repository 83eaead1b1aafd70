//! Object kinds, mark procedures, and allocation by kind.

use core::ffi::{c_int, c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::alloc::{padded, pin};
use crate::allocation::get;
use crate::{startup, warn};
use dunegc::kinds::{self, Procedure};
use dunegc::raw::{self, Kind};

/// Objects without references.
const PTRFREE: c_int = 0;
/// Objects that are scanned conservatively.
const NORMAL: c_int = 1;
/// Objects that only `GC_free` ends.
const UNCOLLECTABLE: c_int = 2;
/// As above, without references.
const AUNCOLLECTABLE: c_int = 3;
/// Kinds above are the collector's kinds from number 5 on.
const DIFFERENCE: usize = 1;

/// The collector's kind for a number of the interface.
#[inline]
pub fn kind(number: c_int) -> Kind {
    match number {
        PTRFREE => Kind::Atomic,
        NORMAL => Kind::Scan,
        UNCOLLECTABLE => Kind::Uncollectable,
        AUNCOLLECTABLE => Kind::AtomicUncollectable,
        n => {
            let i = n as usize + DIFFERENCE;
            if n < 0 || i >= kinds::count() {
                warn::abort(c"Bad object kind");
            }
            Kind::from_index(i)
        }
    }
}

/// The number of the interface for a kind of the collector.
pub fn number(kind: Kind) -> c_int {
    match kind {
        Kind::Atomic => PTRFREE,
        Kind::Scan => NORMAL,
        Kind::Uncollectable | Kind::Malloc => UNCOLLECTABLE,
        Kind::AtomicUncollectable => AUNCOLLECTABLE,
        k => (k.index() - DIFFERENCE) as c_int,
    }
}

/// An array for the free lists of a kind. This collector keeps none in it: they stay empty.
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_free_list() -> *mut *mut c_void {
    const LISTS: usize = 129;
    let p = get(Kind::Uncollectable, LISTS * size_of::<*mut c_void>());
    if p.is_null() {
        warn::abort(c"Failed to allocate free list for new kind");
    }
    p.cast()
}

/// As [`GC_new_free_list`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_free_list_inner() -> *mut *mut c_void {
    GC_new_free_list()
}

/// A new kind of objects, scanned by `descriptor`; if `add_size` the object's size is added to it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_kind(
    _free_list: *mut *mut c_void,
    descriptor: usize,
    add_size: c_int,
    clear: c_int,
) -> c_uint {
    startup::first_use();
    match kinds::new(descriptor, add_size != 0, clear != 0) {
        Some(k) => number(k) as c_uint,
        None => warn::abort(c"Too many kinds"),
    }
}

/// As [`GC_new_kind`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_kind_inner(
    free_list: *mut *mut c_void,
    descriptor: usize,
    add_size: c_int,
    clear: c_int,
) -> c_uint {
    GC_new_kind(free_list, descriptor, add_size, clear)
}

/// Registers a mark procedure; its number for `GC_MAKE_PROC`. From here on marking happens with the world stopped.
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_proc(f: Procedure) -> c_uint {
    startup::first_use();
    match kinds::new_procedure(f) {
        Some(n) => n as c_uint,
        None => warn::abort(c"Too many mark procedures"),
    }
}

/// As [`GC_new_proc`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_new_proc_inner(f: Procedure) -> c_uint {
    GC_new_proc(f)
}

/// `size` with the extra byte of collected kinds.
#[inline]
fn for_kind(kind: Kind, size: usize) -> usize {
    match kind {
        Kind::Uncollectable | Kind::AtomicUncollectable => size,
        _ => padded(size),
    }
}

/// An object of a kind.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_kind(size: usize, k: c_int) -> *mut c_void {
    let kind = kind(k);
    get(kind, for_kind(kind, size))
}

/// As [`GC_malloc_kind`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_kind_global(size: usize, k: c_int) -> *mut c_void {
    GC_malloc_kind(size, k)
}

/// As [`GC_malloc_kind`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_generic_malloc(size: usize, k: c_int) -> *mut c_void {
    GC_malloc_kind(size, k)
}

/// As [`GC_malloc_kind`]; the program keeps a pointer near the object's start. Other pointers keep it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_generic_malloc_ignore_off_page(size: usize, k: c_int) -> *mut c_void {
    GC_malloc_kind(size, k)
}

/// An object of a kind that only `GC_free` ends.
#[unsafe(no_mangle)]
pub extern "C" fn GC_generic_malloc_uncollectable(size: usize, k: c_int) -> *mut c_void {
    let p = GC_malloc_kind(size, k);
    if !p.is_null() && k != UNCOLLECTABLE && k != AUNCOLLECTABLE && !pin(p) {
        return warn::out_of_memory(size);
    }
    p
}

/// As [`GC_malloc_kind`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_generic_or_special_malloc(size: usize, k: c_int) -> *mut c_void {
    GC_malloc_kind(size, k)
}

/// Kind and, if the place is not null, size of an object.
///
/// # Safety
/// `size` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_kind_and_size(p: *const c_void, size: *mut usize) -> c_int {
    let Some(o) = raw::find(p as usize) else {
        warn::abort(c"GC_get_kind_and_size: not an object of the heap");
    };
    if !size.is_null() {
        // SAFETY: by the caller's contract.
        unsafe { size.write(o.size) };
    }
    number(o.kind)
}

/// Bytes of objects in one list.
const BATCH: usize = 4096;

/// Sets `*result` to a list of objects, linked through their first words; otherwise zeroed if the kind is. One object if they
/// are large. Null without memory.
///
/// # Safety
/// `result` is writable. The program keeps the list alive: the links of objects without references are not followed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_malloc_many(size: usize, k: c_int, result: *mut *mut c_void) {
    let kind = kind(k);
    let size = for_kind(kind, size).max(16);
    let n = (BATCH / size).clamp(1, 64);
    // The head of the list stays in this frame: so all of it is found while it grows, whatever the kind.
    let mut objects = [ptr::null_mut::<c_void>(); 64];
    for place in &mut objects[..n] {
        *place = get(kind, size);
        if place.is_null() {
            break;
        }
    }
    let objects = core::hint::black_box(&objects);
    let mut head = ptr::null_mut::<c_void>();
    for &p in objects.iter().take(n).filter(|p| !p.is_null()) {
        // SAFETY: a fresh object of at least a word.
        unsafe { p.cast::<*mut c_void>().write(head) };
        head = p;
    }
    // SAFETY: by the caller's contract.
    unsafe { result.write(head) };
    core::hint::black_box(objects);
}

/// A list of objects as from [`GC_malloc`](crate::allocation::GC_malloc), linked through their first words; otherwise zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_many(size: usize) -> *mut c_void {
    let mut result = ptr::null_mut();
    // SAFETY: a place on this stack.
    unsafe { GC_generic_malloc_many(size, NORMAL, &mut result) };
    result
}

type DescribeType = unsafe extern "C" fn(*mut c_void, *mut core::ffi::c_char);

static DESCRIBE: [AtomicUsize; 32] = [const { AtomicUsize::new(0) }; 32];

/// The function that describes objects of a kind where they are printed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_describe_type_fn(k: c_int, f: Option<DescribeType>) {
    DESCRIBE[kind(k).index()].store(f.map_or(0, |f| f as usize), Relaxed);
}

/// What describes objects of this kind.
pub fn describer(kind: Kind) -> Option<DescribeType> {
    // SAFETY: null or a function of this type, stored above.
    unsafe {
        core::mem::transmute::<usize, Option<DescribeType>>(DESCRIBE[kind.index()].load(Relaxed))
    }
}

/// Free lists of the interface's inlined allocators. This collector keeps none: they stay empty.
macro_rules! free_lists {
    ($($name:ident $lists:ident)*) => { $(
        static $lists: [AtomicUsize; 129] = [const { AtomicUsize::new(0) }; 129];
        /// Empty free lists.
        #[unsafe(no_mangle)]
        pub static $name: FreeLists = FreeLists(&raw const $lists);
    )* };
}

/// Pointer to an array of list heads.
#[repr(transparent)]
pub struct FreeLists(*const [AtomicUsize; 129]);
// SAFETY: the array consists of atomics.
unsafe impl Sync for FreeLists {}

free_lists! {
    GC_objfreelist_ptr OBJECTS
    GC_aobjfreelist_ptr ATOMIC_OBJECTS
    GC_uobjfreelist_ptr UNCOLLECTABLE_OBJECTS
    GC_auobjfreelist_ptr ATOMIC_UNCOLLECTABLE_OBJECTS
}

/// Nothing to print: there are no free lists per kind and size.
#[unsafe(no_mangle)]
pub extern "C" fn GC_print_free_list(k: c_int, granules: usize) {
    crate::print::line(format_args!(
        "Free list of kind {k}, size {}: empty",
        granules * 16
    ));
}

/// State of other implementations that no header declares. Zero.
#[unsafe(no_mangle)]
pub static GC_arrays: AtomicU32 = AtomicU32::new(0);

/// The end of the library's data, which other implementations export.
#[unsafe(no_mangle)]
pub static _end: AtomicU32 = AtomicU32::new(0);
