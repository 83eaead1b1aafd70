//! Dumps of the collector's state, leak reports, and figures of the whole.

use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::debug::{self, Text};
use crate::print::{error, error_text, line};
use crate::vars::GC_find_leak;
use crate::{alloc, env, kinds, warn};
use dunegc::raw::{self, Kind, Object};
use dunegc::{disclaim, finalize, heap, pacer, stats};

/// Prints roots, heap and figures on standard output.
#[unsafe(no_mangle)]
pub extern "C" fn GC_dump() {
    // SAFETY: null stands for no name.
    unsafe { GC_dump_named(core::ptr::null()) };
}

/// As [`GC_dump`], with a name.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dump_named(name: *const c_char) {
    if name.is_null() {
        line(format_args!(
            "***GC Dump collection #{}",
            stats::collections()
        ));
    } else {
        line(format_args!("***GC Dump {}", Text(name)));
    }
    let f = crate::heap::figures();
    line(format_args!(
        "Total heap size: {} ({} unmapped)",
        f.heap, f.unmapped
    ));
    line(format_args!(
        "In use: {}, free: {}, allocated since the last collection: {}, reachable after it: {}",
        f.in_use, f.free, f.since_gc, f.live
    ));
    GC_dump_regions();
    GC_dump_finalization();
}

/// Prints the heap's address range.
#[unsafe(no_mangle)]
pub extern "C" fn GC_dump_regions() {
    let (lo, limit) = (heap::layout::base(), heap::layout::limit());
    line(format_args!("***Heap: from {lo:#x} to {:#x}", lo + limit));
}

/// Prints how many links and finalizers there are.
#[unsafe(no_mangle)]
pub extern "C" fn GC_dump_finalization() {
    let (short, long) = raw::links();
    line(format_args!(
        "***Disappearing links: {short}, long links: {long}, finalizers: {}, due: {}",
        finalize::registered(),
        raw::finalizers_pending().load(Relaxed)
    ));
}

/// Prints `/proc/self/maps` on standard error.
pub fn address_map() {
    error_text(b"---------- Begin address map ----------\n");
    // SAFETY: a C string; the buffer is as long as said; the descriptor is this function's own.
    unsafe {
        let fd = libc::open(
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        if fd >= 0 {
            let mut text = [0u8; 4096];
            loop {
                match libc::read(fd, text.as_mut_ptr().cast(), text.len()) {
                    n if n > 0 => error_text(&text[..n as usize]),
                    _ => break,
                }
            }
            libc::close(fd);
        }
    }
    error_text(b"---------- End address map ----------\n");
}

/// Has leaks looked for if the program's variable says so.
pub fn look_for_leaks() {
    disclaim::find_leaks((GC_find_leak.load(Relaxed) != 0).then_some(report as disclaim::Leaked));
}

/// Reports leaked objects, and frees them.
fn report(leaks: &[Object]) {
    error(format_args!("Found {} leaked objects:\n", leaks.len()));
    for o in leaks {
        let user = o.base + debug::HEADER;
        if debug::is_debug(o) {
            let kind = match o.kind {
                Kind::Atomic => "PTRFREE",
                Kind::Scan => "NORMAL",
                _ => "OTHER",
            };
            error(format_args!("{}\n", debug::WithKind(*o, kind)));
            // SAFETY: nothing refers to the object.
            unsafe { debug::GC_debug_free(user as *mut c_void) };
        } else {
            let sort = if o.kind.is_scanned() {
                "composite"
            } else {
                "atomic"
            };
            match kinds::describer(o.kind) {
                Some(f) => {
                    let mut text = [0 as c_char; 512];
                    // SAFETY: the program's function with an object of its kind and room for as much text as it may write.
                    unsafe { f(o.base as *mut c_void, text.as_mut_ptr()) };
                    error(format_args!(
                        "object at {:#x} of appr. {} bytes ({})\n",
                        o.base,
                        o.size,
                        Text(text.as_ptr())
                    ));
                }
                None => error(format_args!(
                    "object at {:#x} of appr. {} bytes ({sort})\n",
                    o.base, o.size
                )),
            }
            // SAFETY: nothing refers to the object.
            let _ = unsafe { raw::free(o.base as *mut u8) };
        }
    }
    if env::aborts_on_leak() {
        warn::abort(c"Leaked or smashed objects encountered");
    }
}

/// `struct GC_prof_stats_s`.
#[repr(C)]
#[derive(Default)]
pub struct Figures {
    heap_size: usize,
    free: usize,
    unmapped: usize,
    since_gc: usize,
    before_gc: usize,
    non_gc: usize,
    gc_no: usize,
    markers: usize,
    reclaimed_since_gc: usize,
    reclaimed_before_gc: usize,
    freed_since_gc: usize,
    from_system: usize,
}

/// Fills the first `size` bytes of `*out`; what is not known becomes -1. The number of bytes that are.
///
/// # Safety
/// `out` is writable for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_prof_stats(out: *mut Figures, size: usize) -> usize {
    let f = crate::heap::figures();
    let figures = Figures {
        heap_size: f.heap,
        free: f.free,
        unmapped: f.unmapped,
        since_gc: f.since_gc,
        before_gc: f.total.saturating_sub(f.since_gc),
        non_gc: crate::params::GC_get_non_gc_bytes() as usize,
        gc_no: stats::collections() as usize,
        markers: crate::params::GC_get_parallel() as usize,
        freed_since_gc: raw::freed_since_gc(),
        from_system: f.heap + f.unmapped,
        ..Figures::default()
    };
    let known = size.min(size_of::<Figures>());
    // SAFETY: at most `size` bytes, by the caller's contract.
    unsafe {
        core::ptr::copy_nonoverlapping((&raw const figures).cast::<u8>(), out.cast(), known);
        out.cast::<u8>().add(known).write_bytes(0xff, size - known);
    }
    known
}

/// As [`GC_get_prof_stats`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_prof_stats_unsafe(out: *mut Figures, size: usize) -> usize {
    // SAFETY: by the caller's contract.
    unsafe { GC_get_prof_stats(out, size) }
}

/// The size that objects of `i` bytes have; the largest number for what is not small.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_size_map_at(i: c_int) -> usize {
    match usize::try_from(i) {
        Ok(n) if n <= 2048 => {
            heap::class::SIZE[heap::class::of(alloc::padded(n)) as usize] as usize
        }
        _ => usize::MAX,
    }
}

/// Nanoseconds in pauses when the measurement began, plus one; 0: it has not.
static MEASURED_FROM: AtomicU64 = AtomicU64::new(0);

/// Begins to measure the time of collections.
#[unsafe(no_mangle)]
pub extern "C" fn GC_start_performance_measurement() {
    MEASURED_FROM.store(stats::snapshot().pause_total_ns + 1, Relaxed);
}

/// Milliseconds for which collections have stopped the world since the measurement began.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_full_gc_total_time() -> c_ulong {
    match MEASURED_FROM.load(Relaxed) {
        0 => 0,
        from => (stats::snapshot().pause_total_ns + 1).saturating_sub(from) as c_ulong / 1_000_000,
    }
}

/// `n` bytes that the program allocated elsewhere bring the next collection nearer.
#[unsafe(no_mangle)]
pub extern "C" fn GC_incr_bytes_allocd(n: usize) {
    pacer::allocated(n as isize);
}

/// `n` bytes that the program freed elsewhere put the next collection off.
#[unsafe(no_mangle)]
pub extern "C" fn GC_incr_bytes_freed(n: usize) {
    pacer::freed_large(n);
}
