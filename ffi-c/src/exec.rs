//! The exec family: no collection may be stopping threads while the process image is replaced.
//!
//! A stop signal that is pending for the thread which calls exec survives into the new image and would kill it. So a
//! collection is waited for and none starts until the call has failed. A vfork child shares the parent's memory and must not
//! take the parent's locks; it has no other threads of its own that a collection could be stopping.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicI32, Ordering};

use crate::errno;
use crate::next::Next;
use gc::raw;
use gc::sys::signal;

type Strings = *const *const c_char;

/// The process whose threads the collector knows.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// At start and in a fork child.
pub fn note_process() {
    PROCESS.store(gc::sys::file::getpid(), Ordering::Relaxed);
}

/// Runs `exec`, which returns only if it fails, while no collection runs. Takes no lock but the collection's, so that exec
/// can be called from a signal handler that interrupted an allocation, as POSIX allows.
fn without_collections(exec: impl Fn() -> c_int) -> c_int {
    if gc::sys::file::getpid() != PROCESS.load(Ordering::Relaxed) {
        return exec();
    }
    // The collection's lock blocks signals, and the new image inherits the mask: it must be the program's.
    let mask = signal::mask();
    let unblocked = || {
        let locked = signal::set_mask(mask);
        let failed = exec();
        signal::set_mask(locked);
        failed
    };
    // An error means that the calling thread is inside a collection: no other one runs.
    raw::without_collections(unblocked).unwrap_or_else(|_| exec())
}

macro_rules! exec {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => { $(
        #[doc = concat!("`", stringify!($name), "`.")]
        ///
        /// # Safety
        /// As for the function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> c_int {
            // SAFETY: the type is that of the function; the bytes end in the only NUL.
            static NEXT: Next<unsafe extern "C" fn($($type),*) -> c_int> = unsafe {
                Next::new(core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()))
            };
            let Some(next) = NEXT.get() else {
                errno::set(libc::ENOSYS);
                return -1;
            };
            // SAFETY: the caller's arguments.
            without_collections(|| unsafe { next($($arg),*) })
        }
    )* };
}

exec! {
    execve(path: *const c_char, arguments: Strings, environment: Strings);
    execv(path: *const c_char, arguments: Strings);
    execvp(file: *const c_char, arguments: Strings);
    execvpe(file: *const c_char, arguments: Strings, environment: Strings);
    fexecve(fd: c_int, arguments: Strings, environment: Strings);
    execveat(folder: c_int, path: *const c_char, arguments: Strings, environment: Strings, flags: c_int);
}

/// Defines a function with a variable number of strings: lays those from the registers in front of those on the
/// stack, where the return address was, and calls `$target(path, strings)`.
macro_rules! exec_list {
    ($($name:ident => $target:ident;)*) => { $(
        #[doc = concat!("`", stringify!($name), "`.")]
        ///
        /// # Safety
        /// As for the function.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name(_path: *const c_char, _first: *const c_char) -> c_int {
            naked_asm!(
                "mov r11, [rsp]",
                "mov [rsp], r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push r11",
                "call {target}",
                "pop r11",
                "add rsp, 32",
                "mov [rsp], r11",
                "ret",
                target = sym $target,
            )
        }
    )* };
}

exec_list! {
    execl => execv;
    execlp => execvp;
    execle => list_with_environment;
}

/// `execle`: the environment follows the null pointer that ends the arguments.
unsafe extern "C" fn list_with_environment(path: *const c_char, arguments: Strings) -> c_int {
    let mut end = arguments;
    // SAFETY: the caller's list ends in a null pointer, behind which the environment is passed.
    unsafe {
        while !(*end).is_null() {
            end = end.add(1);
        }
        execve(path, arguments, end.add(1).cast::<Strings>().read())
    }
}
