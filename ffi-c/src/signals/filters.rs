//! `prctl`: a seccomp filter that kills must not meet the collector in the middle of what it forbids. (`seccomp` has no function in libc; it is
//! called by `syscall`.)

use core::ffi::c_int;

use super::missing;
use crate::next::Next;
use gc::raw;

// SAFETY: the type fits the function, which takes its further arguments as these: integers, in the same registers.
static NEXT_PRCTL: Next<unsafe extern "C" fn(c_int, usize, usize, usize, usize) -> c_int> =
    unsafe { Next::new(c"prctl") };

/// `prctl`.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    let Some(next) = NEXT_PRCTL.get() else {
        return missing();
    };
    // SAFETY: the caller's arguments.
    let call = || unsafe { next(option, a, b, c, d) };
    if option == libc::PR_SET_SECCOMP {
        raw::while_filters_change(call)
    } else {
        crate::kernel_writes::with(&[a, b, c, d], call)
    }
}
