//! System calls that write to memory of the program. With `DUNEGC_DIRTY=mprotect` they are announced to the collector, which keeps the objects
//! writable meanwhile: the kernel would answer a write to a protected page with `EFAULT`. Without it each function is one jump to the next
//! definition ([`way`]).
//!
//! The kernel can write as far as the object goes that a pointer leads into; so it is not necessary to know how much a call writes.

mod files;
mod sockets;
mod system;
mod vectors;
mod waits;
mod way;

use core::ffi::{c_long, c_void};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use gc::dirty::{self, in_kernel};
use gc::raw::{self, Kind};

use crate::errno;

/// As many places of one call are announced each; the others as one range.
const PLACES: usize = 6;

/// Runs `call`, in which the kernel may write to objects that `places` lead into. Other values are ignored.
#[inline]
pub fn with<R>(places: &[usize], call: impl FnOnce() -> R) -> R {
    if in_kernel::is_needed() {
        announced(places.iter().copied(), call)
    } else {
        call()
    }
}

#[cold]
fn announced<R>(places: impl Iterator<Item = usize>, call: impl FnOnce() -> R) -> R {
    let mut calls: [Option<in_kernel::Call>; PLACES + 1] = [const { None }; PLACES + 1];
    let mut used = 0;
    let mut rest: Option<dirty::Range> = None;
    for start in places {
        // malloc'ed memory is never protected.
        let Some(object) = raw::find(start).filter(|o| o.kind != Kind::Malloc) else {
            continue;
        };
        let end = object.base + object.size;
        if used < PLACES {
            calls[used] = Some(dirty::announce(dirty::Range { start, end }));
            used += 1;
        } else {
            let r = rest.get_or_insert(dirty::Range { start, end });
            *r = dirty::Range {
                start: r.start.min(start),
                end: r.end.max(end),
            };
        }
    }
    calls[PLACES] = rest.map(dirty::announce);
    let result = call();
    drop(calls);
    result
}

/// Not 0: calls of `syscall` are announced too.
pub static ANNOUNCED: AtomicU8 = AtomicU8::new(0);

/// When the library starts.
pub fn start() {
    ANNOUNCED.store(u8::from(in_kernel::is_needed()), Ordering::Relaxed);
}

/// Before the process has a second thread: finds the next definitions. Later the first call of a function could come where `dlsym` waits for
/// a thread that is loading a library, for ever if this is the child of a fork.
pub fn before_threads() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    let all = [
        files::WAYS,
        sockets::WAYS,
        system::WAYS,
        vectors::WAYS,
        waits::WAYS,
    ];
    way::decide_all(all.iter().flat_map(|ways| ways.iter()));
}

/// As [`with`], for the system call `number`, any of whose arguments may be the address of what it writes, or of a vector or a message.
pub fn with_arguments<R>(number: c_long, arguments: &[usize; 6], call: impl FnOnce() -> R) -> R {
    if !in_kernel::is_needed() {
        return call();
    }
    let mut places = vectors::Places::new();
    arguments.iter().for_each(|&a| places.add(a));
    let &[_, second, third, ..] = arguments;
    match number {
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 | libc::SYS_process_vm_readv => {
            parts(second, third, |place| places.add(place));
        }
        libc::SYS_recvmsg => places.add_message(second),
        libc::SYS_recvmmsg => places.add_messages(second, third),
        _ => {}
    }
    places.run(call)
}

#[cold]
extern "C" fn missing() -> isize {
    errno::set(libc::ENOSYS);
    -1
}

/// Defines functions whose pointer arguments in brackets lead to what the kernel writes.
macro_rules! writes {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty, [$($place:ident),*];)*) => {
        $crate::kernel_writes::functions! { $(
            $name($($arg: $type),*) -> $result, |call| {
                $crate::kernel_writes::with(&[$($place as usize),*], call)
            };
        )* }
    };
}

/// Defines functions that call the next definition through an expression, and `WAYS`, the list of them.
macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty, |$call:ident| $how:expr;)*) => {
        pub(super) static WAYS: &[&$crate::kernel_writes::way::Way] = &[$(&$name::WAY),*];
        $(
            mod $name {
                use super::*;
                use $crate::kernel_writes::way::{self, Way};

                // SAFETY: `announced` is a function of this type that may stand for the one of that name; the bytes end in the only NUL.
                pub(super) static WAY: Way = unsafe {
                    Way::new(
                        core::ffi::CStr::from_bytes_with_nul_unchecked(
                            concat!(stringify!($name), "\0").as_bytes(),
                        ),
                        undecided as *const (),
                        announced as *const (),
                    )
                };

                #[doc = concat!("`", stringify!($name), "`.")]
                ///
                /// # Safety
                /// As for the function.
                #[unsafe(no_mangle)]
                #[unsafe(naked)]
                pub unsafe extern "C" fn $name($(_: $type),*) -> $result {
                    core::arch::naked_asm!("jmp qword ptr [rip + {way}]", way = sym WAY)
                }

                #[unsafe(naked)]
                unsafe extern "C" fn undecided() {
                    core::arch::naked_asm!(
                        "lea r11, [rip + {way}]",
                        "jmp {decide}",
                        way = sym WAY,
                        decide = sym way::decide,
                    )
                }

                unsafe extern "C" fn announced($($arg: $type),*) -> $result {
                    // SAFETY: the next definition of the function, which has this type.
                    let next = unsafe {
                        core::mem::transmute::<*const (), unsafe extern "C" fn($($type),*) -> $result>(WAY.next())
                    };
                    // SAFETY: the caller's arguments.
                    let $call = || unsafe { next($($arg),*) };
                    $how
                }
            }
        )*
    };
}

use functions;
use writes;

/// Copies `to.len()` elements from an address that may be wrong; false then.
fn copy<T: Copy>(from: usize, to: &mut [T]) -> bool {
    let bytes = size_of_val(to);
    gc::sys::pagemap::copy(from, to.as_mut_ptr().cast(), bytes) == Ok(bytes)
}

/// Where the parts of an I/O vector lie, as one array of places.
fn parts(vector: usize, count: usize, mut f: impl FnMut(usize)) {
    const AT_A_TIME: usize = 32;
    let mut some = [libc::iovec {
        iov_base: core::ptr::null_mut::<c_void>(),
        iov_len: 0,
    }; AT_A_TIME];
    let count = count.min(libc::UIO_MAXIOV as usize);
    for first in (0..count).step_by(AT_A_TIME) {
        let some = &mut some[..(count - first).min(AT_A_TIME)];
        // What cannot be read the kernel refuses too.
        if !copy(vector + first * size_of::<libc::iovec>(), some) {
            return;
        }
        some.iter().for_each(|part| f(part.iov_base as usize));
    }
}
