//! DUNEGC_RECLAIM_ONLY: blocks allocated by other modules than those named are not reclaimed.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;

use crate::next::Next;
use gc::config;
use gc::raw::Kind;

/// glibc's `struct dl_find_object` on x86_64.
#[repr(C)]
struct Found {
    flags: u64,
    map_start: *const c_void,
    map_end: *const c_void,
    link_map: *const LinkMap,
    eh_frame: *const c_void,
    reserved: [u64; 7],
}

/// The public part of the loader's `struct link_map`.
#[repr(C)]
struct LinkMap {
    addr: usize,
    name: *const c_char,
}

// SAFETY: the type is that of the function in <dlfcn.h> (glibc 2.35 and later).
static FIND_OBJECT: Next<unsafe extern "C" fn(usize, *mut Found) -> c_int> =
    unsafe { Next::new(c"_dl_find_object") };

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
}

/// The kind of a block that code at `caller` allocates. If `caller` lies in this library, the real one is looked up on the stack.
pub fn kind_for(caller: usize) -> Kind {
    if is_listed(caller) || (is_own(caller) && is_listed(crate::leaks::caller())) {
        Kind::Malloc
    } else {
        Kind::Uncollectable
    }
}

fn is_own(address: usize) -> bool {
    crate::leaks::is_own_code(address)
}

/// The module that holds `address` is named in the list. Code outside of modules (generated at run time) is not.
fn is_listed(address: usize) -> bool {
    let mut listed = false;
    with_name(address, &mut |name| {
        listed = config::get()
            .reclaim_only_modules()
            .any(|entry| is_named(name, entry))
    });
    listed
}

/// The name without folder is `entry`, or one of them is the other with more version numbers behind it.
fn is_named(name: &[u8], entry: &[u8]) -> bool {
    let short = |p: &[u8]| p.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    let (name, entry) = (&name[short(name)..], &entry[short(entry)..]);
    let extends = |long: &[u8], base: &[u8]| {
        long.strip_prefix(base)
            .is_some_and(|rest| rest.starts_with(b"."))
    };
    name == entry || extends(name, entry) || extends(entry, name)
}

/// Calls `f` with the name of the module that holds `address`, while the loader keeps it.
fn with_name(address: usize, f: &mut dyn FnMut(&[u8])) {
    let Some(find) = FIND_OBJECT.get() else {
        return with_name_by_walk(address, f);
    };
    let mut found = MaybeUninit::<Found>::uninit();
    // SAFETY: the function only looks the address up and fills `found`.
    if unsafe { find(address, found.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: filled on success. The module's code is running (it is calling us), so it stays loaded.
    let name = unsafe { (*found.assume_init().link_map).name };
    // SAFETY: as above.
    unsafe { give(name, f) }
}

/// # Safety
/// `name` is null or a C string.
unsafe fn give(name: *const c_char, f: &mut dyn FnMut(&[u8])) {
    // SAFETY: by the contract; the program itself has an empty name, libc knows it.
    let name = unsafe {
        if name.is_null() || *name == 0 {
            CStr::from_ptr(program_invocation_short_name)
        } else {
            CStr::from_ptr(name)
        }
    };
    f(name.to_bytes());
}

/// For a libc without `_dl_find_object`.
fn with_name_by_walk(address: usize, f: &mut dyn FnMut(&[u8])) {
    struct Walk<'a>(usize, &'a mut dyn FnMut(&[u8]));
    extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, walk: *mut c_void) -> c_int {
        // SAFETY: the argument passed below, and a valid description from dl_iterate_phdr.
        let (walk, info) = unsafe { (&mut *walk.cast::<Walk<'_>>(), &*info) };
        // SAFETY: the description's program headers are that many.
        let headers =
            unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let inside = headers.iter().any(|h| {
            let low = info.dlpi_addr as usize + h.p_vaddr as usize;
            h.p_type == libc::PT_LOAD && (low..low + h.p_memsz as usize).contains(&walk.0)
        });
        if inside {
            // SAFETY: null or a C string.
            unsafe { give(info.dlpi_name, walk.1) };
        }
        inside.into()
    }
    let mut walk = Walk(address, f);
    // SAFETY: the callback gets `walk` back, which lives through the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut walk).cast()) };
}
