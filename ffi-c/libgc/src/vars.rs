//! Variables of the interface. Programs read and write them directly, also through copies that the linker makes in the
//! program itself: every use goes through the symbol.

use core::sync::atomic::{AtomicI32, AtomicUsize};

macro_rules! variables {
    ($($(#[$doc:meta])* $name:ident: $type:ident = $value:expr;)*) => { $(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub static $name: $type = $type::new($value);
    )* };
}

variables! {
    /// Number of collections, not counting one that is under way.
    GC_gc_no: AtomicUsize = 0;
    /// Not 0: no collections.
    GC_dont_gc: AtomicI32 = 0;
    /// Number of helping markers is not 0.
    GC_parallel: AtomicI32 = 0;
    /// Not 0: finalizers run in `GC_invoke_finalizers` only.
    GC_finalize_on_demand: AtomicI32 = 0;
    /// Not 0: finalization may be without order.
    GC_java_finalization: AtomicI32 = 1;
    /// Called when finalizers are due.
    GC_finalizer_notifier: AtomicUsize = 0;
    /// Not 0: what is not freed is reported.
    GC_find_leak: AtomicI32 = 0;
    /// Not 0: every address in an object keeps it.
    GC_all_interior_pointers: AtomicI32 = 1;
    /// Called when the heap grows.
    GC_on_heap_resize: AtomicUsize = 0;
    /// Not 0: the heap does not grow unless told so.
    GC_dont_expand: AtomicI32 = 0;
    /// Not 0: what was given back to the system is used again before other memory.
    GC_use_entire_heap: AtomicI32 = 0;
    /// Partial collections between two full ones.
    GC_full_freq: AtomicI32 = 19;
    /// Bytes that are no candidates for collection.
    GC_non_gc_bytes: AtomicUsize = 0;
    /// Not 0: the data of loaded libraries are not roots.
    GC_no_dls: AtomicI32 = 0;
    /// How often the heap is collected: more means more often.
    GC_free_space_divisor: AtomicUsize = 3;
    /// Collections in a row without memory before giving up.
    GC_max_retries: AtomicUsize = 0;
    /// End of the main thread's stack.
    GC_stackbottom: AtomicUsize = 0;
    /// Not 0: no collection before the heap grows for the first time.
    GC_dont_precollect: AtomicI32 = 0;
    /// Milliseconds for an incremental step.
    GC_time_limit: AtomicUsize = 999_999;
    /// Lower than every object.
    GC_least_plausible_heap_addr: AtomicUsize = usize::MAX;
    /// Higher than every object.
    GC_greatest_plausible_heap_addr: AtomicUsize = 0;
}
