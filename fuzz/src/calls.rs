//! The C functions, and tables of those that allocate and free.

use core::ffi::{c_int, c_void};
use core::hint::black_box;
use core::ptr;

// The definitions lie there.
use dunegc_interface as _;

/// A finalizer as C sees it.
pub type Finalizer = extern "C" fn(*mut c_void, *mut c_void);

macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        mod c {
            use super::*;
            unsafe extern "C" { $(pub fn $name($($arg: $type),*) $(-> $result)?;)* }
        }
        $(
            #[doc = concat!("`", stringify!($name), "`.")]
            #[allow(non_snake_case, dead_code)]
            pub fn $name($($arg: $type),*) $(-> $result)? {
                // The compiler knows malloc, and would leave out a call whose result is only compared with null.
                // SAFETY: the steps pass only live objects, places that stay valid and ranges that are mapped; that the library
                // copes with any sequence of such calls is what is tested.
                black_box(unsafe { c::$name($($arg),*) })
            }
        )*
    };
}

functions! {
    malloc(size: usize) -> *mut c_void;
    calloc(count: usize, size: usize) -> *mut c_void;
    realloc(p: *mut c_void, size: usize) -> *mut c_void;
    reallocarray(p: *mut c_void, count: usize, size: usize) -> *mut c_void;
    memalign(align: usize, size: usize) -> *mut c_void;
    aligned_alloc(align: usize, size: usize) -> *mut c_void;
    posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    valloc(size: usize) -> *mut c_void;
    pvalloc(size: usize) -> *mut c_void;
    free(p: *mut c_void);
    cfree(p: *mut c_void);
    free_sized(p: *mut c_void, size: usize);
    free_aligned_sized(p: *mut c_void, align: usize, size: usize);
    malloc_usable_size(p: *mut c_void) -> usize;
    malloc_trim(keep: usize) -> c_int;
    _Znwm(size: usize) -> *mut c_void;
    _ZnwmSt11align_val_t(size: usize, align: usize) -> *mut c_void;
    _ZdlPv(p: *mut c_void);
    dunegc_alloc(size: usize) -> *mut c_void;
    dunegc_alloc_atomic(size: usize) -> *mut c_void;
    dunegc_alloc_uncollectable(size: usize) -> *mut c_void;
    dunegc_realloc(p: *mut c_void, size: usize) -> *mut c_void;
    dunegc_free(p: *mut c_void);
    dunegc_base(p: *const c_void) -> *mut c_void;
    dunegc_size(p: *const c_void) -> usize;
    dunegc_collect() -> c_int;
    dunegc_add_roots(lo: *const c_void, hi: *const c_void);
    dunegc_remove_roots(lo: *const c_void, hi: *const c_void);
    dunegc_pin(p: *const c_void) -> c_int;
    dunegc_unpin(p: *const c_void) -> c_int;
    dunegc_set_finalizer(p: *mut c_void, f: Option<Finalizer>, data: *mut c_void) -> c_int;
    GC_malloc(size: usize) -> *mut c_void;
    GC_malloc_atomic(size: usize) -> *mut c_void;
    GC_malloc_uncollectable(size: usize) -> *mut c_void;
    GC_malloc_atomic_uncollectable(size: usize) -> *mut c_void;
    GC_malloc_ignore_off_page(size: usize) -> *mut c_void;
    GC_realloc(p: *mut c_void, size: usize) -> *mut c_void;
    GC_free(p: *mut c_void);
    GC_memalign(align: usize, size: usize) -> *mut c_void;
    GC_posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    GC_base(p: *mut c_void) -> *mut c_void;
    GC_size(p: *const c_void) -> usize;
    GC_is_heap_ptr(p: *const c_void) -> c_int;
    GC_gcollect();
    GC_gcollect_and_unmap();
    GC_disable();
    GC_enable();
    GC_is_disabled() -> c_int;
    GC_get_heap_size() -> usize;
    GC_get_memory_use() -> usize;
    GC_get_gc_no() -> usize;
    GC_exclude_static_roots(lo: *mut c_void, hi: *mut c_void);
    GC_add_roots(lo: *mut c_void, hi: *mut c_void);
    GC_remove_roots(lo: *mut c_void, hi: *mut c_void);
    GC_set_finalize_on_demand(on: c_int);
    GC_invoke_finalizers() -> c_int;
    GC_register_finalizer(p: *mut c_void, f: Option<Finalizer>, data: *mut c_void, old: *mut Option<Finalizer>, old_data: *mut *mut c_void);
    GC_general_register_disappearing_link(link: *mut usize, object: *const c_void) -> c_int;
    GC_unregister_disappearing_link(link: *mut usize) -> c_int;
    GC_move_disappearing_link(link: *mut usize, to: *mut usize) -> c_int;
}

/// What is done with memory of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stays until it is freed; scanned.
    Malloc,
    /// Collected and scanned.
    Scan,
    /// Collected, not scanned.
    Atomic,
    /// Stays until it is freed; scanned.
    Uncollectable,
    /// Stays until it is freed; not scanned.
    AtomicUncollectable,
}

impl Kind {
    /// Pointers in it count.
    pub fn is_scanned(self) -> bool {
        !matches!(self, Kind::Atomic | Kind::AtomicUncollectable)
    }

    /// The collector frees it.
    pub fn is_collected(self) -> bool {
        matches!(self, Kind::Scan | Kind::Atomic)
    }

    /// Whatever `realloc` adds to it is zero.
    pub fn is_zeroed(self) -> bool {
        matches!(self, Kind::Scan | Kind::Uncollectable)
    }
}

/// A function that allocates `size` bytes, at `align` if it takes an alignment.
pub struct Allocator {
    /// What it gives.
    pub kind: Kind,
    /// It takes an alignment.
    pub aligned: bool,
    /// The memory is zero.
    pub zeroed: bool,
    /// The call.
    pub call: fn(size: usize, align: usize) -> *mut c_void,
}

macro_rules! allocators {
    ($($kind:ident $aligned:literal $zeroed:literal $call:expr;)*) => {
        /// All functions that allocate.
        pub const ALLOCATORS: &[Allocator] = &[$(Allocator { kind: Kind::$kind, aligned: $aligned, zeroed: $zeroed, call: $call }),*];
    };
}

allocators! {
    Malloc false false |n, _| malloc(n);
    Malloc false true |n, _| calloc(1, n);
    Malloc false true |n, _| calloc(n, 1);
    Malloc false false |n, _| realloc(ptr::null_mut(), n);
    Malloc false false |n, _| reallocarray(ptr::null_mut(), n, 1);
    Malloc true false |n, a| memalign(a, n);
    Malloc true false |n, a| aligned_alloc(a, n);
    Malloc true false |n, a| by_place(|out| posix_memalign(out, a, n));
    Malloc false false |n, _| valloc(n);
    Malloc false false |n, _| pvalloc(n);
    Malloc false false |n, _| _Znwm(n);
    Malloc true false |n, a| _ZnwmSt11align_val_t(n, a);
    Scan false true |n, _| GC_malloc(n);
    Scan false true |n, _| GC_malloc_ignore_off_page(n);
    Scan false true |n, _| dunegc_alloc(n);
    Scan false true |n, _| dunegc_realloc(ptr::null_mut(), n);
    Scan false true |n, _| GC_realloc(ptr::null_mut(), n);
    Scan true true |n, a| GC_memalign(a, n);
    Scan true true |n, a| by_place(|out| GC_posix_memalign(out, a, n));
    Atomic false false |n, _| GC_malloc_atomic(n);
    Atomic false true |n, _| dunegc_alloc_atomic(n);
    Uncollectable false true |n, _| GC_malloc_uncollectable(n);
    Uncollectable false true |n, _| dunegc_alloc_uncollectable(n);
    AtomicUncollectable false false |n, _| GC_malloc_atomic_uncollectable(n);
}

fn by_place(call: impl FnOnce(*mut *mut c_void) -> c_int) -> *mut c_void {
    let mut p = ptr::null_mut();
    assert_eq!(call(&raw mut p), 0);
    p
}

/// Functions that free an object of any kind.
pub const FREES: &[fn(*mut c_void, usize)] = &[
    |p, _| free(p),
    |p, _| cfree(p),
    free_sized,
    |p, n| free_aligned_sized(p, 1, n),
    |p, _| GC_free(p),
    |p, _| dunegc_free(p),
    |p, _| _ZdlPv(p),
    |p, _| assert!(realloc(p, 0).is_null()),
    |p, _| assert!(GC_realloc(p, 0).is_null()),
    |p, _| assert!(dunegc_realloc(p, 0).is_null()),
];

/// Functions that resize an object of any kind.
pub const RESIZES: &[fn(*mut c_void, usize) -> *mut c_void] = &[
    |p, n| realloc(p, n),
    |p, n| reallocarray(p, 1, n),
    |p, n| GC_realloc(p, n),
    |p, n| dunegc_realloc(p, n),
];
