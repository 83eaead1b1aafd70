//! Roots that the program adds and leaves out.

use core::ffi::{c_char, c_int, c_void};
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::vars::{GC_all_interior_pointers, GC_no_dls};
use crate::{startup, threads};
use dunegc::displacements;
use dunegc::roots::{self, Mappings};

type HasRoots = unsafe extern "C" fn(*const c_char, *mut c_void, usize) -> c_int;

/// Adds `[lo, hi)` to the roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_add_roots(lo: *mut c_void, hi: *mut c_void) {
    startup::first_use();
    // Ends that are not aligned are cut off.
    let (lo, hi) = (((lo as usize) + 7) & !7, hi as usize & !7);
    if lo < hi && roots::add(lo, hi).is_err() {
        crate::warn::abort(c"Too many root sets");
    }
}

/// Removes `[lo, hi)` from the added roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_remove_roots(lo: *mut c_void, hi: *mut c_void) {
    if lo < hi {
        // Without memory for the note the range stays, which is safe.
        let _ = roots::remove(lo as usize, hi as usize);
    }
}

/// Removes all added roots. Data segments are found anew in each collection.
#[unsafe(no_mangle)]
pub extern "C" fn GC_clear_roots() {
    startup::first_use();
    let _ = roots::remove(0, usize::MAX);
}

/// Keeps `[lo, hi)` from being scanned as a part of a data segment.
#[unsafe(no_mangle)]
pub extern "C" fn GC_exclude_static_roots(lo: *mut c_void, hi: *mut c_void) {
    // A word is left out only if all of it is.
    let (lo, hi) = (((lo as usize) + 7) & !7, hi as usize & !7);
    if lo < hi {
        // Without memory for the note the range is scanned, which is safe.
        let _ = roots::exclude(lo, hi);
    }
}

/// Forgets what was excluded.
#[unsafe(no_mangle)]
pub extern "C" fn GC_clear_exclusion_table() {
    let _ = roots::include(0, usize::MAX);
}

/// 1 if `p` lies in a data segment, which is looked for anew in each collection.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_tmp_root(p: *mut c_void) -> c_int {
    roots::is_in_segment(p as usize).into()
}

/// `p` lies in a root, or on the calling thread's stack.
pub fn is_root(p: usize) -> bool {
    let stack = threads::stack().is_some_and(|(lo, hi)| (lo..hi).contains(&p));
    stack || roots::is_registered(p) || roots::is_in_segment(p)
}

/// glibc's `struct dl_find_object`.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    map: *mut c_void,
    unwind: *mut c_void,
    reserved: [u64; 7],
}
type FindObject = unsafe extern "C" fn(*mut c_void, *mut Found) -> c_int;

/// glibc's `_dl_find_object`, since 2.35. It takes no lock.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);

/// Once, with the world running.
pub fn start() {
    exclude_own_data();
    // SAFETY: a C string.
    let f = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    if !f.is_null() {
        FIND_OBJECT.store(f as usize, Relaxed);
        roots::set_object_end(object_end);
    }
}

/// Leaves this library's own data out: what it keeps for the program it says so itself. What it notes in a collection, registers for
/// example, would keep objects in the next one.
fn exclude_own_data() {
    // SAFETY: the function has the right type and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(exclude_if_own), core::ptr::null_mut()) };
}

unsafe extern "C" fn exclude_if_own(
    info: *mut libc::dl_phdr_info,
    _: usize,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid description.
    let info = unsafe { &*info };
    let own = &raw const REFUSED as usize;
    let headers = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: the loader says how many headers there are.
        unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
    };
    let range = |h: &libc::Elf64_Phdr| {
        let start = (info.dlpi_addr + h.p_vaddr) as usize;
        start..start + h.p_memsz as usize
    };
    let is_data = |h: &&libc::Elf64_Phdr| {
        h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W != 0 && range(h).contains(&own)
    };
    if let Some(h) = headers.iter().find(is_data) {
        let data = range(h);
        // Without memory for the note the data is scanned, which is safe.
        let _ = roots::exclude(data.start.next_multiple_of(8), data.end & !7);
    }
    0
}

fn object_end(address: usize) -> Option<usize> {
    let mut found = MaybeUninit::<Found>::uninit();
    // SAFETY: stored above before this function was; any address may be asked for. The place is as large as the structure.
    let known = unsafe {
        let find = transmute::<usize, FindObject>(FIND_OBJECT.load(Relaxed));
        find(address as *mut c_void, found.as_mut_ptr()) == 0
    };
    // SAFETY: filled if the result was 0.
    known.then(|| unsafe { (*found.as_ptr()).end })
}

static HAS_ROOTS: AtomicUsize = AtomicUsize::new(0);
/// Segments that the program's function has refused.
static REFUSED: Mutex<[(usize, usize); 256]> = Mutex::new([(0, 0); 256]);

/// The function that is asked in each collection about each writable segment of a loaded object: 0 leaves it out.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_has_static_roots_callback(f: Option<HasRoots>) {
    startup::first_use();
    HAS_ROOTS.store(f.map_or(0, |f| f as usize), Relaxed);
}

/// Before a collection, with the world running and no lock held.
pub fn prepare() {
    displacements::set_exact(GC_all_interior_pointers.load(Relaxed) == 0);
    roots::set_mappings(if GC_no_dls.load(Relaxed) != 0 {
        Mappings::RegisteredOnly
    } else {
        Mappings::SegmentsOnly
    });
    if HAS_ROOTS.load(Relaxed) != 0 {
        // SAFETY: the function has the right type and takes no data.
        unsafe { libc::dl_iterate_phdr(Some(ask), core::ptr::null_mut()) };
    }
}

unsafe extern "C" fn ask(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: null or a function of this type.
    let f = unsafe { transmute::<usize, Option<HasRoots>>(HAS_ROOTS.load(Relaxed)) };
    let Some(f) = f.filter(|_| !info.dlpi_phdr.is_null()) else {
        return 0;
    };
    // SAFETY: the loader says how many headers there are.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for h in headers {
        if h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W != 0 {
            let start = (info.dlpi_addr + h.p_vaddr) as usize;
            let size = h.p_memsz as usize;
            // SAFETY: the program's function, called as it asked.
            let wanted = unsafe { f(info.dlpi_name, start as *mut c_void, size) } != 0;
            decide(start, start + size, wanted);
        }
    }
    0
}

fn decide(lo: usize, hi: usize, wanted: bool) {
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = refused.iter().position(|r| *r == (lo, hi));
    match (known, wanted) {
        (Some(i), true) => {
            refused[i] = (0, 0);
            let _ = roots::include(lo, hi);
        }
        (None, false) => {
            if let Some(free) = refused.iter_mut().find(|r| **r == (0, 0))
                && roots::exclude(lo, hi).is_ok()
            {
                *free = (lo, hi);
            }
        }
        _ => {}
    }
}

/// `dlopen`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dlopen(path: *const c_char, mode: c_int) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { libc::dlopen(path, mode) }
}
