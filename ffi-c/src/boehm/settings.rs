//! Settings, most of which are only remembered: this collector paces itself.

use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::mem::transmute;

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::malloc::no_memory;
use gc::config::Config;
use gc::message;
use gc::raw::CollectError;

type OutOfMemory = unsafe extern "C" fn(usize) -> *mut c_void;
type Warn = unsafe extern "C" fn(*const c_char, usize);
type OnEvent = unsafe extern "C" fn(c_int);

static OOM: AtomicUsize = AtomicUsize::new(0);
static WARN: AtomicUsize = AtomicUsize::new(0);
static EVENT: AtomicUsize = AtomicUsize::new(0);
static DISABLED: AtomicI32 = AtomicI32::new(0);

/// Remembers one more (1) or one less (-1) `GC_disable`; false if there was none to undo.
pub(super) fn note_disabled(change: c_int) -> bool {
    DISABLED
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n + change >= 0).then_some(n + change)
        })
        .is_ok()
}

/// `GC_disable` is in force.
pub(super) fn is_disabled() -> bool {
    DISABLED.load(Ordering::Relaxed) != 0
}

/// What the out-of-memory function returns for a request of `size` bytes, or null and ENOMEM.
#[cold]
pub(super) fn out_of_memory(size: usize) -> *mut c_void {
    match GC_get_oom_fn() {
        // SAFETY: the program's function, called as it asked.
        Some(f) => unsafe { f(size) },
        None => no_memory(),
    }
}

/// Tells the warning function, or stderr, that a collection did not take place.
#[cold]
pub(super) fn collection_failed(error: CollectError) {
    match GC_get_warn_proc() {
        // SAFETY: the program's function with a format that takes one word.
        Some(f) => unsafe {
            f(
                c"GC Warning: collection did not take place (reason %lu)\n".as_ptr(),
                0,
            )
        },
        None => message!("GC_gcollect: the collection did not take place: {error:?}"),
    }
}

/// The function called when memory is exhausted; its result is returned to the program. Null: none.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_oom_fn(f: Option<OutOfMemory>) {
    OOM.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
}

/// What [`GC_set_oom_fn`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_oom_fn() -> Option<OutOfMemory> {
    // SAFETY: null or a function of this type, stored above.
    unsafe { transmute::<usize, Option<OutOfMemory>>(OOM.load(Ordering::Relaxed)) }
}

/// The function that gets warnings as a `printf` format with one word. Null: stderr.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_warn_proc(f: Option<Warn>) {
    WARN.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
}

/// What [`GC_set_warn_proc`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_warn_proc() -> Option<Warn> {
    // SAFETY: null or a function of this type, stored above.
    unsafe { transmute::<usize, Option<Warn>>(WARN.load(Ordering::Relaxed)) }
}

/// A warning function that ignores warnings.
#[unsafe(no_mangle)]
pub extern "C" fn GC_ignore_warn_proc(_format: *const c_char, _argument: usize) {}

/// Remembered, without effect.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_on_collection_event(f: Option<OnEvent>) {
    EVENT.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
}

/// What [`GC_set_on_collection_event`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_on_collection_event() -> Option<OnEvent> {
    // SAFETY: null or a function of this type, stored above.
    unsafe { transmute::<usize, Option<OnEvent>>(EVENT.load(Ordering::Relaxed)) }
}

/// `(major << 16) | (minor << 8) | micro` of the libgc release whose interface this is: 8.2.0.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_version() -> core::ffi::c_uint {
    8 << 16 | 2 << 8
}

/// Without effect: the heap grows when it needs to. 1, success.
#[unsafe(no_mangle)]
pub extern "C" fn GC_expand_hp(_bytes: usize) -> c_int {
    1
}

/// Limits the heap to `bytes`; 0: no limit. Without effect if the heap has begun with another limit.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_max_heap_size(bytes: c_ulong) {
    let limit = if bytes == 0 {
        None
    } else {
        Some(bytes as usize)
    };
    if let Err(e) = Config::builder()
        .max_heap(limit)
        .build()
        .and_then(Config::install)
    {
        message!("GC_set_max_heap_size({bytes}): {e}; the limit stays");
    }
}

/// Without effect: roots are found each time. Registration of libraries cannot be turned off.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_no_dls(_on: c_int) {}

/// Always 0: libraries are scanned.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_no_dls() -> c_int {
    0
}

/// Without effect: a filter for the data segments of libraries is not asked.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_has_static_roots_callback(_f: *mut c_void) {}

/// Without effect: collections are not incremental.
#[unsafe(no_mangle)]
pub extern "C" fn GC_enable_incremental() {}

/// Always 0.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_incremental_mode() -> c_int {
    0
}

/// Without effect: interior pointers always count.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_all_interior_pointers(_on: c_int) {}

/// Always 1.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_all_interior_pointers() -> c_int {
    1
}

/// Without effect: every displacement counts.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_displacement(_offset: usize) {}

/// Settings that are remembered and have no effect.
macro_rules! remembered {
    ($($set:ident $get:ident $type:ty, $default:literal;)*) => { $(
        #[doc = concat!("Remembered, without effect. See [`", stringify!($get), "`].")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $set(value: $type) {
            $get::CELL.store(value as usize, Ordering::Relaxed);
        }

        #[doc = concat!("What [`", stringify!($set), "`] set.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $get() -> $type {
            $get::CELL.load(Ordering::Relaxed) as $type
        }

        #[allow(non_snake_case)]
        mod $get {
            pub(super) static CELL: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new($default);
        }
    )* };
}

remembered! {
    GC_set_free_space_divisor GC_get_free_space_divisor c_ulong, 3;
    GC_set_time_limit GC_get_time_limit c_ulong, 999_999;
    GC_set_full_freq GC_get_full_freq c_int, 19;
    GC_set_non_gc_bytes GC_get_non_gc_bytes c_ulong, 0;
    GC_set_dont_expand GC_get_dont_expand c_int, 0;
    GC_set_dont_precollect GC_get_dont_precollect c_int, 0;
    GC_set_force_unmap_on_gcollect GC_get_force_unmap_on_gcollect c_int, 0;
    GC_set_pages_executable GC_get_pages_executable c_int, 0;
    GC_set_handle_fork GC_get_handle_fork c_int, 1;
    GC_set_markers_count GC_get_markers_count c_int, 0;
}
