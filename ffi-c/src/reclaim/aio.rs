//! Linux AIO (libaio): the control block and its data stay known to the kernel until the request is complete.

use core::ffi::{c_int, c_long, c_void};

use super::{shadow, uring};
use crate::next::Next;

type Submit = unsafe extern "C" fn(*mut c_void, c_long, *const *const usize) -> c_int;

/// Words of a `struct iocb`.
const CONTROL_WORDS: usize = 8;

// SAFETY: the type is that of the function in <libaio.h>.
static NEXT: Next<Submit> = unsafe { Next::new(c"io_submit") };

/// libaio's `io_submit`; the control blocks and what they point to stay.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_submit(
    context: *mut c_void,
    count: c_long,
    controls: *const *const usize,
) -> c_int {
    let Some(next) = NEXT.get() else {
        return -libc::ENOSYS;
    };
    // SAFETY: by the caller's contract.
    unsafe { note(count, controls) };
    // SAFETY: the caller's arguments.
    unsafe { next(context, count, controls) }
}

/// # Safety
/// `controls` are `count` pointers to control blocks.
pub(super) unsafe fn note(count: c_long, controls: *const *const usize) {
    if !shadow::is_on() || controls.is_null() {
        return;
    }
    for i in 0..count.max(0) as usize {
        // SAFETY: by the contract.
        let control = unsafe { *controls.add(i) };
        shadow::note(control as usize);
        if !control.is_null() {
            // SAFETY: by the contract.
            unsafe { uring::note_words(control, CONTROL_WORDS) };
        }
    }
}
