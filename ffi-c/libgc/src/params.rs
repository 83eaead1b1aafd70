//! Settings. Those that this collector has no use for are remembered.

use core::ffi::{c_int, c_uint, c_ulong};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{alloc, env, heap, startup, vars};
use dunegc::config::{self, Builder, Config};
use dunegc::mark::pool;
use dunegc::raw;
use dunegc::{message, pacer};

/// `(major << 16) | (minor << 8) | micro` of the release whose interface this is: 8.2.2.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_version() -> c_uint {
    8 << 16 | 2 << 8 | 2
}

/// Changes the configuration, or says that it stays.
fn configure(call: &str, f: impl FnOnce(Builder) -> Builder) -> bool {
    let done = f(Config::builder()).build().and_then(Config::install);
    if let Err(e) = &done {
        message!("{call}: {e}; it stays as it is");
    }
    done.is_ok()
}

/// Limits the heap to `bytes`; 0: no limit. Without effect if the heap has begun with another limit.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_max_heap_size(bytes: c_ulong) {
    let limit = (bytes != 0).then_some(bytes as usize);
    if config::get().max_heap != limit {
        configure("GC_set_max_heap_size", |b| b.max_heap(limit));
    }
}

/// Whether every address in an object keeps it, and the one behind it. To be set before the first allocation.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_all_interior_pointers(on: c_int) {
    vars::GC_all_interior_pointers.store((on != 0).into(), Relaxed);
    alloc::keep_past_the_end(on != 0);
}

/// What [`GC_set_all_interior_pointers`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_all_interior_pointers() -> c_int {
    vars::GC_all_interior_pointers.load(Relaxed)
}

/// Growth between collections in percent of the live bytes, for the divisor that is the default of the Boehm collector, 3: programs use about
/// as much memory as with that.
const GROWTH: usize = 70;

/// Growth between collections in percent of the live bytes, for a divisor.
pub fn growth(divisor: usize) -> u32 {
    (GROWTH * 3 / divisor.max(1)).clamp(1, 10_000) as u32
}

/// More means more collections and less memory: 3 is the default.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_free_space_divisor(divisor: c_ulong) {
    if divisor == 0 {
        crate::warn::abort(c"GC_set_free_space_divisor: bad argument");
    }
    let old = vars::GC_free_space_divisor.swap(divisor as usize, Relaxed);
    if old != divisor as usize {
        configure("GC_set_free_space_divisor", |b| {
            b.growth(growth(divisor as usize))
        });
    }
}

/// What [`GC_set_free_space_divisor`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_free_space_divisor() -> c_ulong {
    vars::GC_free_space_divisor.load(Relaxed) as c_ulong
}

/// Markers that work at the same time, the collecting thread included; 0: chosen by the library. Before the first use.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_markers_count(n: c_uint) {
    let markers = (n != 0).then_some(n.min(64) as u8);
    if config::get().markers != markers {
        configure("GC_set_markers_count", |b| b.markers(markers));
    }
}

/// Markers besides the collecting thread.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_parallel() -> c_int {
    pool::markers(pacer::live()) as c_int - 1
}

/// Nothing to do: markers start when they are needed, also in a fork child.
#[unsafe(no_mangle)]
pub extern "C" fn GC_start_mark_threads() {}

/// Signal that stops threads, a real-time one. Before the first use.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_suspend_signal(signal: c_int) {
    if config::get().stop_signal() != signal {
        configure("GC_set_suspend_signal", |b| b.signal(Some(signal)));
    }
}

/// Signal that stops threads.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_suspend_signal() -> c_int {
    config::get().stop_signal()
}

static RESTART: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Remembered: threads go on without a signal.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_thr_restart_signal(signal: c_int) {
    RESTART.store(signal as usize, Relaxed);
}

/// What [`GC_set_thr_restart_signal`] set; -1: threads go on without a signal.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_thr_restart_signal() -> c_int {
    RESTART.load(Relaxed) as c_int
}

/// Incremental collections are asked for: they run beside the program where that shortens its stops.
pub fn note_incremental() {
    if !env::is_concurrency_chosen() {
        pacer::collect_beside_if_it_pays();
    }
}

/// Has collections run beside the program, unless `GC_DISABLE_INCREMENTAL` is set or leaks are looked for.
#[unsafe(no_mangle)]
pub extern "C" fn GC_enable_incremental() {
    startup::first_use();
    let finds_leaks = vars::GC_find_leak.load(Relaxed) != 0;
    if !config::get().concurrent && !env::disables_incremental() && !finds_leaks {
        note_incremental();
        configure("GC_enable_incremental", |b| b.concurrent(true));
    }
}

/// 1 if collections run beside the program.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_incremental_mode() -> c_int {
    config::get().concurrent.into()
}

/// 0, none: the program need not care for protected memory.
#[unsafe(no_mangle)]
pub extern "C" fn GC_incremental_protection_needs() -> c_int {
    0
}

/// Nothing to do: heap memory cannot be executed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_pages_executable(on: c_int) {
    if on != 0 {
        crate::warn::warn(
            c"GC Warning: executable heap pages are not supported (%lu)\n",
            1,
        );
    }
}

/// 0: heap memory cannot be executed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_pages_executable() -> c_int {
    0
}

/// `struct GC_timeval_s`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TimeLimit {
    ms: c_ulong,
    ns: c_ulong,
}

static LIMIT_NS: AtomicUsize = AtomicUsize::new(0);

/// Remembered, see [`GC_set_time_limit`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_time_limit_tv(limit: TimeLimit) {
    vars::GC_time_limit.store(limit.ms as usize, Relaxed);
    LIMIT_NS.store(limit.ns as usize, Relaxed);
}

/// What [`GC_set_time_limit_tv`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_time_limit_tv() -> TimeLimit {
    TimeLimit {
        ms: vars::GC_time_limit.load(Relaxed) as c_ulong,
        ns: LIMIT_NS.load(Relaxed) as c_ulong,
    }
}

macro_rules! cells {
    ($($cell:ident = $value:expr;)*) => { $(
        static $cell: AtomicUsize = AtomicUsize::new($value);
    )* };
}

cells! {
    BYTES_PER_FINALIZER = 10_000;
    FORCE_UNMAP = 0;
    RATE = 10;
    PRIOR_ATTEMPTS = 1;
    MIN_BYTES = 1;
    NO_AUTOMATIC = 0;
    MANUAL_VDB = 0;
    HANDLE_FORK = 1;
}

/// Settings that are stored, and read where they matter.
macro_rules! stored {
    ($($cell:expr, $type:ty: $(#[$doc:meta])* $set:ident $get:ident;)*) => { $(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $set(value: $type) {
            $cell.store(value as _, Relaxed);
        }

        #[doc = concat!("What [`", stringify!($set), "`] set.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $get() -> $type {
            $cell.load(Relaxed) as $type
        }
    )* };
}

stored! {
    vars::GC_time_limit, c_ulong:
        /// Remembered: how long threads are stopped follows from how much they write.
        GC_set_time_limit GC_get_time_limit;
    vars::GC_full_freq, c_int:
        /// Remembered: generational collections are chosen by what they find.
        GC_set_full_freq GC_get_full_freq;
    vars::GC_no_dls, c_int:
        /// Not 0: the data segments of loaded objects are no roots; the program registers its own.
        GC_set_no_dls GC_get_no_dls;
    vars::GC_max_retries, c_ulong:
        /// Remembered: two collections are tried without memory.
        GC_set_max_retries GC_get_max_retries;
    vars::GC_dont_precollect, c_int:
        /// Remembered: there is no collection before the heap begins.
        GC_set_dont_precollect GC_get_dont_precollect;
    vars::GC_find_leak, c_int:
        /// Not 0: unreachable objects are reported instead of being freed.
        GC_set_find_leak GC_get_find_leak;
    BYTES_PER_FINALIZER, c_ulong:
        /// Remembered.
        GC_set_allocd_bytes_per_finalizer GC_get_allocd_bytes_per_finalizer;
    FORCE_UNMAP, c_int:
        /// Not 0: `GC_gcollect` gives free memory back to the system at once.
        GC_set_force_unmap_on_gcollect GC_get_force_unmap_on_gcollect;
    RATE, c_int:
        /// Remembered: collections beside the program are paced by allocation.
        GC_set_rate GC_get_rate;
    PRIOR_ATTEMPTS, c_int:
        /// Remembered, as [`GC_set_rate`].
        GC_set_max_prior_attempts GC_get_max_prior_attempts;
    NO_AUTOMATIC, c_int:
        /// Not 0: collections only when the program asks for them.
        GC_set_disable_automatic_collection GC_get_disable_automatic_collection;
    MANUAL_VDB, c_int:
        /// Remembered: which pages were written is learnt from the system.
        GC_set_manual_vdb_allowed GC_get_manual_vdb_allowed;
}

/// Not 0: the heap is collected instead of growing, as long as that frees enough. `GC_expand_hp` lets it grow all the same.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_dont_expand(on: c_int) {
    vars::GC_dont_expand.store(on, Relaxed);
    heap::hold_size();
}

/// What [`GC_set_dont_expand`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_dont_expand() -> c_int {
    vars::GC_dont_expand.load(Relaxed)
}

/// Least allocation between two collections, from the next one on.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_min_bytes_allocd(bytes: usize) {
    MIN_BYTES.store(bytes, Relaxed);
    pacer::allocate_at_least(bytes);
}

/// What [`GC_set_min_bytes_allocd`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_min_bytes_allocd() -> usize {
    MIN_BYTES.load(Relaxed)
}

/// Counts `bytes` besides the uncollectable objects.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_non_gc_bytes(bytes: c_ulong) {
    let more = (bytes as usize).wrapping_sub(raw::uncollectable_bytes());
    vars::GC_non_gc_bytes.store(more, Relaxed);
}

/// Bytes of uncollectable objects, and what [`GC_set_non_gc_bytes`] said besides.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_non_gc_bytes() -> c_ulong {
    let more = vars::GC_non_gc_bytes.load(Relaxed);
    raw::uncollectable_bytes().wrapping_add(more) as c_ulong
}

/// Remembered: forks are always handled. With -1 the program calls `GC_atfork_prepare` and the others itself, which does no harm.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_handle_fork(value: c_int) {
    HANDLE_FORK.store(value as usize, Relaxed);
}
