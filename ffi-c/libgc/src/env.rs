//! The `GC_*` variables of the environment, read once.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::{alloc, params, print, vars};
use dunegc::config::Config;
use dunegc::{message, pacer};

static DUMP: AtomicBool = AtomicBool::new(false);
static ADDRESS_MAP: AtomicBool = AtomicBool::new(false);
static ABORT_ON_LEAK: AtomicBool = AtomicBool::new(false);
static LOOP_ON_ABORT: AtomicBool = AtomicBool::new(false);

static INITIAL: AtomicUsize = AtomicUsize::new(0);

/// Bytes by which the heap is to grow at the beginning.
pub fn initial_heap() -> usize {
    INITIAL.load(Relaxed)
}

/// A dump is wanted after each collection.
pub fn dumps_regularly() -> bool {
    DUMP.load(Relaxed)
}

/// The process's mappings are to be printed after each collection.
pub fn prints_address_map() -> bool {
    ADDRESS_MAP.load(Relaxed)
}

/// The program is to be ended when a leak is found.
pub fn aborts_on_leak() -> bool {
    ABORT_ON_LEAK.load(Relaxed)
}

/// The program is to wait for a debugger instead of being aborted.
pub fn loops_on_abort() -> bool {
    LOOP_ON_ABORT.load(Relaxed)
}

fn text(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: a C string; called when the library is first used, as other libraries read the environment.
    let p = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: not null, so a C string in the environment.
    (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) })
}

fn is_set(name: &CStr) -> bool {
    text(name).is_some()
}

/// Set, and not to 0.
fn is_on(name: &CStr) -> bool {
    text(name).is_some_and(|t| t.to_bytes() != b"0")
}

/// A number, with k, M or G behind it if `suffix`. Other text is named in a line and counts as not set.
fn number(name: &CStr, suffix: bool) -> Option<usize> {
    let t = text(name)?.to_str().ok()?.trim();
    let digits = t.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let shift = match &t.as_bytes()[digits.len()..] {
        [] => Some(0),
        [b'k' | b'K'] if suffix => Some(10),
        [b'm' | b'M'] if suffix => Some(20),
        [b'g' | b'G'] if suffix => Some(30),
        _ => None,
    };
    let n = digits.parse::<usize>().ok();
    let value = n.zip(shift).and_then(|(n, s)| n.checked_mul(1 << s));
    if value.is_none() {
        let name = name.to_str().unwrap_or("");
        message!("{name}={t}: expected a number; ignored");
    }
    value
}

/// Least allocation between two collections unless `DUNEGC_MIN_HEAP` says otherwise.
const LEAST: usize = 512 << 10;

/// Reachable bytes from which on collections run beside the program though it does not ask for them: marking them with the program stopped takes
/// about a millisecond.
const LARGE: usize = 5 << 20;

/// Reads them all.
pub fn read() {
    log_file();
    configure();
    if !is_concurrency_chosen() && !disables_incremental() {
        pacer::collect_beside_from(LARGE);
    }
    if !is_set(c"DUNEGC_MIN_HEAP") {
        pacer::save_memory(LEAST);
    }
    let set = |cell: &core::sync::atomic::AtomicI32, name: &CStr| {
        if is_on(name) {
            cell.store(1, Relaxed);
        }
    };
    set(&vars::GC_find_leak, c"GC_FIND_LEAK");
    set(&vars::GC_use_entire_heap, c"GC_USE_ENTIRE_HEAP");
    if is_set(c"GC_DONT_GC") {
        vars::GC_dont_gc.store(1, Relaxed);
    }
    if is_set(c"GC_ALL_INTERIOR_POINTERS") {
        vars::GC_all_interior_pointers.store(1, Relaxed);
    }
    alloc::keep_past_the_end(vars::GC_all_interior_pointers.load(Relaxed) != 0);
    if is_set(c"GC_FORCE_UNMAP_ON_GCOLLECT") {
        params::GC_set_force_unmap_on_gcollect(is_on(c"GC_FORCE_UNMAP_ON_GCOLLECT").into());
    }
    if let Some(n) = number(c"GC_INITIAL_HEAP_SIZE", true) {
        INITIAL.store(n, Relaxed);
    }
    if let Some(n) = number(c"GC_PAUSE_TIME_TARGET", false) {
        vars::GC_time_limit.store(n, Relaxed);
    }
    if let Some(n) = number(c"GC_FULL_FREQUENCY", false) {
        vars::GC_full_freq.store(n as i32, Relaxed);
    }
    DUMP.store(is_set(c"GC_DUMP_REGULARLY"), Relaxed);
    ADDRESS_MAP.store(is_set(c"GC_PRINT_ADDRESS_MAP"), Relaxed);
    ABORT_ON_LEAK.store(is_set(c"GC_ABORT_ON_LEAK"), Relaxed);
    LOOP_ON_ABORT.store(is_set(c"GC_LOOP_ON_ABORT"), Relaxed);
}

/// What goes into the collector's configuration.
fn configure() {
    let mut b = Config::builder();
    let mut changed = false;
    let mut change = |f: &dyn Fn(dunegc::config::Builder) -> dunegc::config::Builder| {
        let next = f(b);
        match next.build() {
            Ok(_) => {
                b = next;
                changed = true;
            }
            Err(e) => message!("{e}; ignored"),
        }
    };
    if let Some(n) = number(c"GC_MAXIMUM_HEAP_SIZE", true) {
        change(&|b| b.max_heap(Some(n)));
    }
    let markers = number(c"GC_MARKERS", false).or_else(|| number(c"GC_NPROCS", false));
    if let Some(n) = markers.filter(|n| *n > 0) {
        change(&|b| b.markers(Some(n.min(64) as u8)));
    }
    let divisor = number(c"GC_FREE_SPACE_DIVISOR", false).filter(|n| *n > 0);
    if let Some(n) = divisor {
        vars::GC_free_space_divisor.store(n, Relaxed);
    }
    if divisor.is_some() || !is_set(c"DUNEGC_GROWTH") {
        let divisor = vars::GC_free_space_divisor.load(Relaxed);
        change(&|b| b.growth(params::growth(divisor)));
    }
    let quiet = text(c"GC_PRINT_STATS").is_some_and(|t| t.to_bytes() == b"0");
    if is_set(c"GC_PRINT_VERBOSE_STATS") {
        change(&|b| b.log(2));
    } else if is_set(c"GC_PRINT_STATS") && !quiet {
        change(&|b| b.log(1));
    }
    if is_set(c"GC_ENABLE_INCREMENTAL") && !is_set(c"GC_DISABLE_INCREMENTAL") {
        change(&|b| b.concurrent(true));
        params::note_incremental();
    }
    if changed && let Err(e) = b.build().and_then(Config::install) {
        message!("{e}; the GC_* variables are ignored");
    }
}

/// `DUNEGC_CONCURRENT` says whether collections run beside the program.
pub fn is_concurrency_chosen() -> bool {
    is_set(c"DUNEGC_CONCURRENT")
}

/// Requests for incremental collections are to be ignored.
pub fn disables_incremental() -> bool {
    is_set(c"GC_DISABLE_INCREMENTAL")
}

fn log_file() {
    let Some(path) = text(c"GC_LOG_FILE") else {
        return;
    };
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o644) };
    if fd < 0 {
        let path = path.to_str().unwrap_or("?");
        message!("GC_LOG_FILE={path}: cannot be opened; ignored");
        return;
    }
    print::redirect(fd, is_on(c"GC_ONLY_LOG_TO_FILE"));
}
