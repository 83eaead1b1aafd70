//! The calling thread's stack as return addresses, by the unwinder of libgcc.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Most frames that are ever recorded.
pub const MAX_DEPTH: usize = 64;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

const NO_REASON: c_int = 0;
const NORMAL_STOP: c_int = 4;

/// This library's own code: its frames on top of a stack are left out. Empty if it is part of the program.
static OWN_LOW: AtomicUsize = AtomicUsize::new(0);
static OWN_HIGH: AtomicUsize = AtomicUsize::new(0);

/// Frames of a stack, innermost first.
pub struct Frames {
    /// Return addresses.
    pub addresses: [usize; MAX_DEPTH],
    /// How many there are.
    pub len: usize,
    limit: usize,
    inside: bool,
}

/// Finds this library's code.
pub fn start() {
    extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: dl_iterate_phdr passes a valid description.
        let info = unsafe { &*info };
        let here = start as *const () as usize;
        // SAFETY: the description's program headers are that many.
        let headers =
            unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        for h in headers
            .iter()
            .filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_X != 0)
        {
            let low = info.dlpi_addr as usize + h.p_vaddr as usize;
            let high = low + h.p_memsz as usize;
            if !(low..high).contains(&here) {
                continue;
            }
            // The program itself has no name there; then our code cannot be told from its code.
            // SAFETY: the name is null or a C string.
            if !info.dlpi_name.is_null() && unsafe { *info.dlpi_name } != 0 {
                OWN_LOW.store(low, Ordering::Relaxed);
                OWN_HIGH.store(high, Ordering::Relaxed);
            }
            return 1;
        }
        0
    }
    // SAFETY: the callback has the right type and only reads.
    unsafe { libc::dl_iterate_phdr(Some(look), core::ptr::null_mut()) };
}

/// `address` lies in this library's code, if that is known.
pub fn is_own(address: usize) -> bool {
    (OWN_LOW.load(Ordering::Relaxed)..OWN_HIGH.load(Ordering::Relaxed)).contains(&address)
}

/// At most `limit` frames of the caller's stack, without those of this library on top.
pub fn frames(limit: usize) -> Frames {
    let mut frames = Frames {
        addresses: [0; MAX_DEPTH],
        len: 0,
        limit: limit.min(MAX_DEPTH),
        inside: true,
    };
    // SAFETY: the callback gets the frames back as its argument, which lives through the call.
    unsafe { _Unwind_Backtrace(add, (&raw mut frames).cast()) };
    frames
}

extern "C" fn add(context: *mut c_void, frames: *mut c_void) -> c_int {
    // SAFETY: the argument that `frames` passed.
    let frames = unsafe { &mut *frames.cast::<Frames>() };
    // SAFETY: the unwinder's own context.
    let address = unsafe { _Unwind_GetIP(context) };
    if frames.inside && is_own(address) {
        return NO_REASON;
    }
    frames.inside = false;
    if address == 0 || frames.len == frames.limit {
        return NORMAL_STOP;
    }
    frames.addresses[frames.len] = address;
    frames.len += 1;
    NO_REASON
}
