//! Objects whose first word leads to a table with their descriptor in its second word, as GNU Java made them.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use crate::alloc::padded;
use crate::kinds::{kind, number};
use crate::{debug, startup, warn};
use dunegc::kinds::{self, Procedure};
use dunegc::raw::{self, Kind};

/// Number of the kind; 0 before [`GC_init_gcj_malloc`].
#[unsafe(no_mangle)]
pub static GC_gcj_kind: AtomicI32 = AtomicI32::new(0);
/// Number of the kind of debug objects.
#[unsafe(no_mangle)]
pub static GC_gcj_debug_kind: AtomicI32 = AtomicI32::new(0);

/// The descriptor lies 8 bytes behind where the first word leads to.
const BY_TABLE: usize = (-(8 + 0x10_isize)) as usize | kinds::PER_OBJECT;

/// Prepares the kinds; `f` gets the mark procedure number `index`, below 8.
#[unsafe(no_mangle)]
pub extern "C" fn GC_init_gcj_malloc(index: c_int, f: Option<Procedure>) {
    startup::first_use();
    if GC_gcj_kind.load(Relaxed) != 0 {
        return;
    }
    let index = index as usize;
    if let Some(f) = f
        && !kinds::set_procedure(index, f)
    {
        warn::abort(c"GC_init_gcj_malloc: bad index");
    }
    // SAFETY: a C string.
    let ignore = unsafe { !libc::getenv(c"GC_IGNORE_GCJ_INFO".as_ptr()).is_null() };
    let made = if ignore {
        kinds::new(0, true, true)
    } else {
        kinds::new(BY_TABLE, false, true)
    };
    // Debug objects: the procedure finds the references behind the header, told so by its argument.
    let debug = if ignore || f.is_none() {
        kinds::new(0, true, true)
    } else {
        kinds::new(kinds::procedure_descriptor(index, 1), false, true)
    };
    let (Some(made), Some(debug)) = (made, debug) else {
        warn::abort(c"Too many kinds");
    };
    GC_gcj_debug_kind.store(number(debug), Relaxed);
    GC_gcj_kind.store(number(made), Relaxed);
}

fn gcj_kind(cell: &AtomicI32) -> Kind {
    match cell.load(Relaxed) {
        0 => warn::abort(c"GC_gcj_malloc without GC_init_gcj_malloc"),
        n => kind(n),
    }
}

/// A zeroed object with `table` in its first word.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcj_malloc(size: usize, table: *mut c_void) -> *mut c_void {
    let p = raw::alloc(gcj_kind(&GC_gcj_kind), padded(size.max(8)));
    if p.is_null() {
        return warn::out_of_memory(size);
    }
    // SAFETY: a fresh object of at least a word.
    unsafe { p.cast::<*mut c_void>().write(table) };
    p.cast()
}

/// As [`GC_gcj_malloc`]; the program keeps a pointer near the object's start. Other pointers keep it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcj_malloc_ignore_off_page(size: usize, table: *mut c_void) -> *mut c_void {
    GC_gcj_malloc(size, table)
}

/// As [`GC_gcj_malloc`], a debug object.
///
/// # Safety
/// `file` is null or a C string that is never changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_gcj_malloc(
    size: usize,
    table: *mut c_void,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    let p = unsafe { debug::alloc(gcj_kind(&GC_gcj_debug_kind), size.max(8), file, line) };
    if !p.is_null() {
        // SAFETY: a fresh object of at least a word.
        unsafe { p.cast::<*mut c_void>().write(table) };
    }
    p
}
