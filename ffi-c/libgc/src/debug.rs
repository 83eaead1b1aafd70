//! Debug objects: with the place of their allocation, and words around them that show when they were written over.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::alloc::{GC_free, GC_realloc};
use crate::allocation::get;
use crate::kinds;
use crate::print::error;
use crate::warn;
use dunegc::displacements;
use dunegc::raw::{self, Kind, Object};

/// What lies before the program's part.
#[repr(C)]
struct Header {
    file: *const c_char,
    line: usize,
    /// What the program asked for.
    size: usize,
    /// `START` and the address of the program's part, if this is a debug object that lives.
    mark: usize,
}

/// Bytes before the program's part.
pub const HEADER: usize = size_of::<Header>();
const START: usize = 0xFEDC_EDCB_FEDC_EDCB;
const END: usize = 0xBCDE_CDEF_BCDE_CDEF;
/// In the header of an object that was freed.
const FREED: usize = 0xDEAD_FEED_DEAD_FEED;

static USED: AtomicBool = AtomicBool::new(false);

/// Some debug object was made.
pub fn is_used() -> bool {
    USED.load(Relaxed)
}

/// [`HEADER`] for programs.
#[unsafe(no_mangle)]
pub static GC_debug_header_size: usize = HEADER;

/// Bytes before the program's part of a debug object.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_debug_header_size() -> usize {
    HEADER
}

/// A debug object of a kind; the program's part.
///
/// # Safety
/// `file` is null or a C string that is never changed.
pub unsafe fn alloc(kind: Kind, size: usize, file: *const c_char, line: c_int) -> *mut c_void {
    if !USED.swap(true, Relaxed) {
        displacements::register(HEADER);
    }
    // The word behind the program's part also keeps pointers just behind that inside the object.
    let total = size.saturating_add(7) & !7;
    let p = get(kind, total.saturating_add(HEADER + 8));
    if p.is_null() {
        error(format_args!(
            "GC_debug_malloc({size}) returning NULL ({}:{line})\n",
            Text(file)
        ));
        return p;
    }
    let user = p as usize + HEADER;
    // SAFETY: the object has room for the header, the part of the program rounded up to a word, and the word behind it.
    unsafe {
        p.cast::<Header>().write(Header {
            file,
            line: line as usize,
            size,
            mark: START ^ user,
        });
        end_word(user, size).write(END ^ user);
    }
    user as *mut c_void
}

/// The word behind the program's part.
fn end_word(user: usize, size: usize) -> *mut usize {
    (user + (size.saturating_add(7) & !7)) as *mut usize
}

/// The header of a debug object, alive or freed, by the object around it.
fn header(o: &Object) -> Option<*mut Header> {
    (o.size >= HEADER + 8).then_some(o.base as *mut Header)
}

/// Whether a debug object lives there.
pub fn is_debug(o: &Object) -> bool {
    // SAFETY: every object of that size has these words, whatever they hold.
    header(o).is_some_and(|h| unsafe { (*h).mark } == START ^ (o.base + HEADER))
}

/// Whether a debug object lives there, one of its two marks written over at most.
fn was_debug(o: &Object) -> bool {
    is_debug(o)
        || header(o).is_some_and(|h| {
            // SAFETY: as in `is_debug`; the word behind is looked at only if it lies in the object.
            unsafe {
                let end = end_word(o.base + HEADER, (*h).size);
                (*h).mark != FREED
                    && (end as usize)
                        .checked_add(8)
                        .is_some_and(|e| e <= o.base + o.size)
                    && end.read() == END ^ (o.base + HEADER)
            }
        })
}

/// First address that was written over although it is not the program's part.
fn smashed(o: &Object) -> Option<usize> {
    let h = header(o)?;
    let user = o.base + HEADER;
    // SAFETY: as above; the word behind is looked at only if it lies in the object.
    unsafe {
        if (*h).mark != START ^ user {
            return Some(&raw const (*h).mark as usize);
        }
        let end = end_word(user, (*h).size);
        if end as usize + 8 > o.base + o.size {
            return Some(&raw const (*h).size as usize);
        }
        (end.read() != END ^ user).then_some(end as usize)
    }
}

/// With the world stopped: says which debug objects were written over.
pub fn check_all() {
    let mut n = 0;
    dunegc::disclaim::each_object(&mut |o| {
        if was_debug(&o)
            && let Some(at) = smashed(&o)
        {
            if n == 0 {
                error(format_args!(
                    "GC_check_heap_block: found smashed heap objects:\n"
                ));
            }
            n += 1;
            error(format_args!(
                " {at:#x} in or near object at {}\n",
                Described(o)
            ));
        }
    });
}

/// An object as messages name it.
pub struct Described(pub Object);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = &self.0;
        let user = o.base + HEADER;
        match header(o) {
            // SAFETY: a debug object's header.
            Some(h) if was_debug(o) => unsafe {
                write!(
                    f,
                    "{user:#x} ({}:{}, sz= {})",
                    Text((*h).file),
                    (*h).line,
                    (*h).size
                )
            },
            _ => write!(
                f,
                "{user:#x}(<smashed>, appr. sz= {})",
                o.size.saturating_sub(HEADER)
            ),
        }
    }
}

/// A debug object with the name of its kind.
pub struct WithKind(pub Object, pub &'static str);

impl fmt::Display for WithKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = &self.0;
        let h = o.base as *const Header;
        // SAFETY: a debug object's header.
        let (file, line, size) = unsafe { ((*h).file, (*h).line, (*h).size) };
        let user = o.base + HEADER;
        write!(
            f,
            "{user:#x} ({}:{line}, sz= {size}, {})",
            Text(file),
            self.1
        )
    }
}

/// A C string.
pub struct Text(pub *const c_char);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_null() {
            return f.write_str("unknown");
        }
        // SAFETY: not null, so by the contract of who made this a C string.
        f.write_str(unsafe { CStr::from_ptr(self.0) }.to_str().unwrap_or("?"))
    }
}

/// The object around `p`, and whether `p` is the program's part of it.
fn find(p: *const c_void) -> Option<(Object, bool)> {
    let o = raw::find(p as usize)?;
    Some((o, p as usize == o.base + HEADER))
}

macro_rules! allocators {
    ($($name:ident $kind:expr;)*) => { $(
        /// A debug object of the kind of the function without `debug`.
        ///
        /// # Safety
        /// `file` is null or a C string that is never changed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(size: usize, file: *const c_char, line: c_int) -> *mut c_void {
            // SAFETY: by the caller's contract.
            unsafe { alloc($kind, size, file, line) }
        }
    )* };
}

allocators! {
    GC_debug_malloc Kind::Scan;
    GC_debug_malloc_atomic Kind::Atomic;
    GC_debug_malloc_uncollectable Kind::Uncollectable;
    GC_debug_malloc_atomic_uncollectable Kind::AtomicUncollectable;
    GC_debug_malloc_ignore_off_page Kind::Scan;
    GC_debug_malloc_atomic_ignore_off_page Kind::Atomic;
    GC_debug_malloc_stubborn Kind::Scan;
}

/// A debug object of a kind.
///
/// # Safety
/// `file` is null or a C string that is never changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_generic_or_special_malloc(
    size: usize,
    k: c_int,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { alloc(kinds::kind(k), size, file, line) }
}

/// A debug object from a place that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn GC_debug_malloc_replacement(size: usize) -> *mut c_void {
    // SAFETY: null stands for no file.
    unsafe { alloc(Kind::Scan, size, ptr::null(), 0) }
}

/// As [`GC_debug_realloc`], from a place that is not known.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_realloc_replacement(p: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { GC_debug_realloc(p, size, ptr::null(), 0) }
}

/// Frees a debug object, and says so if it was written over, freed before, or none.
///
/// # Safety
/// `p` is null or a live object, and nobody uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_free(p: *mut c_void) {
    if p.is_null() {
        return;
    }
    let Some((o, at_start)) = find(p) else {
        error(format_args!(
            "Invalid pointer passed to free(): {:#x}\n",
            p as usize
        ));
        warn::abort(c"Invalid pointer passed to free()");
    };
    if p as usize == o.base {
        error(format_args!(
            "GC_debug_free called on pointer {:#x} w/o debugging info\n",
            p as usize
        ));
    } else if at_start && !was_debug(&o) {
        // SAFETY: the object has a header, as it is longer than one.
        let freed = unsafe { (*(o.base as *const Header)).mark } == FREED;
        error(format_args!(
            "GC_debug_free: found {} object at {:#x} in or near object at {}\n",
            if freed {
                "previously deallocated (?)"
            } else {
                "smashed"
            },
            p as usize,
            Described(o)
        ));
    } else if at_start && let Some(at) = smashed(&o) {
        error(format_args!(
            "GC_debug_free: found smashed location at {at:#x} in or near object at {}\n",
            Described(o)
        ));
    }
    if at_start && o.size >= HEADER {
        // SAFETY: the object is given up by the caller.
        unsafe { (*(o.base as *mut Header)).mark = FREED };
    }
    // SAFETY: by the caller's contract.
    unsafe { GC_free(o.base as *mut c_void) };
}

/// Resizes a debug object, keeping its kind.
///
/// # Safety
/// `p` is null or a live object; if the result is not null, nobody uses `p` afterwards. `file` is null or a C string that is never
/// changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_realloc(
    p: *mut c_void,
    size: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    if p.is_null() {
        // SAFETY: by the caller's contract.
        return unsafe { alloc(Kind::Scan, size, file, line) };
    }
    if size == 0 {
        // SAFETY: by the caller's contract.
        unsafe { GC_debug_free(p) };
        return ptr::null_mut();
    }
    let Some((o, _)) = find(p) else {
        error(format_args!(
            "Invalid pointer passed to realloc(): {:#x}\n",
            p as usize
        ));
        warn::abort(c"Invalid pointer passed to realloc()");
    };
    if !is_debug(&o) {
        error(format_args!(
            "GC_debug_realloc called on pointer {:#x} w/o debugging info\n",
            p as usize
        ));
        // SAFETY: by the caller's contract.
        return unsafe { GC_realloc(p, size) };
    }
    // SAFETY: by the caller's contract; both parts are as long as the headers say.
    unsafe {
        let new = alloc(o.kind, size, file, line);
        if !new.is_null() {
            let n = (*(o.base as *const Header)).size.min(size);
            ptr::copy_nonoverlapping(p.cast::<u8>(), new.cast::<u8>(), n);
            GC_debug_free(p);
        }
        new
    }
}

/// A debug copy of a string; null for null.
///
/// # Safety
/// `s` is null or a C string; `file` is null or a C string that is never changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_strdup(
    s: *const c_char,
    file: *const c_char,
    line: c_int,
) -> *mut c_char {
    // SAFETY: no bound: the string's end decides.
    unsafe { GC_debug_strndup(s, usize::MAX, file, line) }
}

/// A debug copy of at most `max` bytes of a string; null for null.
///
/// # Safety
/// `s` is null, a C string, or `max` readable bytes; `file` is null or a C string that is never changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_strndup(
    s: *const c_char,
    max: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_char {
    if s.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by the caller's contract.
    unsafe {
        let len = libc::strnlen(s, max);
        let copy = alloc(Kind::Atomic, len + 1, file, line).cast::<c_char>();
        if !copy.is_null() {
            ptr::copy_nonoverlapping(s, copy, len);
            copy.add(len).write(0);
        }
        copy
    }
}

/// Says so if `p` is no object's start.
#[unsafe(no_mangle)]
pub extern "C" fn GC_debug_end_stubborn_change(p: *const c_void) {
    if raw::find(p as usize).is_none() {
        error(format_args!(
            "Bad argument: {:#x} to GC_debug_end_stubborn_change\n",
            p as usize
        ));
        warn::abort(c"GC_debug_end_stubborn_change: bad arg");
    }
}

/// Nothing to do: objects are not write-protected.
#[unsafe(no_mangle)]
pub extern "C" fn GC_debug_change_stubborn(_p: *const c_void) {}

/// `*p = q`.
///
/// # Safety
/// `p` is a writable word.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_ptr_store_and_dirty(p: *mut *const c_void, q: *const c_void) {
    // SAFETY: by the caller's contract.
    unsafe { p.write(q) };
}

/// Pointers to byte `n` of a debug object's part keep it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_debug_register_displacement(n: usize) {
    crate::check::GC_register_displacement(n);
    crate::check::GC_register_displacement(n.saturating_add(HEADER));
}
