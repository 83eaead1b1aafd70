//! Reading and asking about files.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use libc::{off_t, size_t, ssize_t};

use super::{missing, with};
use crate::next::Next;

super::writes! {
    read(fd: c_int, to: *mut c_void, size: size_t) -> ssize_t, [to];
    __read(fd: c_int, to: *mut c_void, size: size_t) -> ssize_t, [to];
    __read_chk(fd: c_int, to: *mut c_void, size: size_t, room: size_t) -> ssize_t, [to];
    pread(fd: c_int, to: *mut c_void, size: size_t, at: off_t) -> ssize_t, [to];
    pread64(fd: c_int, to: *mut c_void, size: size_t, at: off_t) -> ssize_t, [to];
    __pread64(fd: c_int, to: *mut c_void, size: size_t, at: off_t) -> ssize_t, [to];
    __pread_chk(fd: c_int, to: *mut c_void, size: size_t, at: off_t, room: size_t) -> ssize_t, [to];
    __pread64_chk(fd: c_int, to: *mut c_void, size: size_t, at: off_t, room: size_t) -> ssize_t, [to];
    fread(to: *mut c_void, size: size_t, count: size_t, file: *mut c_void) -> size_t, [to];
    fread_unlocked(to: *mut c_void, size: size_t, count: size_t, file: *mut c_void) -> size_t, [to];
    __fread_chk(to: *mut c_void, room: size_t, size: size_t, count: size_t, file: *mut c_void) -> size_t, [to];
    __fread_unlocked_chk(to: *mut c_void, room: size_t, size: size_t, count: size_t, file: *mut c_void) -> size_t, [to];
    getdents64(fd: c_int, to: *mut c_void, size: size_t) -> ssize_t, [to];
    ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int, [argument];
    fcntl(fd: c_int, command: c_int, argument: usize) -> c_int, [argument];
    fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int, [argument];
    __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int, [argument];
    stat(path: *const c_char, to: *mut c_void) -> c_int, [to];
    stat64(path: *const c_char, to: *mut c_void) -> c_int, [to];
    lstat(path: *const c_char, to: *mut c_void) -> c_int, [to];
    lstat64(path: *const c_char, to: *mut c_void) -> c_int, [to];
    fstat(fd: c_int, to: *mut c_void) -> c_int, [to];
    fstat64(fd: c_int, to: *mut c_void) -> c_int, [to];
    fstatat(fd: c_int, path: *const c_char, to: *mut c_void, flags: c_int) -> c_int, [to];
    fstatat64(fd: c_int, path: *const c_char, to: *mut c_void, flags: c_int) -> c_int, [to];
    __xstat(version: c_int, path: *const c_char, to: *mut c_void) -> c_int, [to];
    __xstat64(version: c_int, path: *const c_char, to: *mut c_void) -> c_int, [to];
    __lxstat(version: c_int, path: *const c_char, to: *mut c_void) -> c_int, [to];
    __lxstat64(version: c_int, path: *const c_char, to: *mut c_void) -> c_int, [to];
    __fxstat(version: c_int, fd: c_int, to: *mut c_void) -> c_int, [to];
    __fxstat64(version: c_int, fd: c_int, to: *mut c_void) -> c_int, [to];
    __fxstatat(version: c_int, fd: c_int, path: *const c_char, to: *mut c_void, flags: c_int) -> c_int, [to];
    __fxstatat64(version: c_int, fd: c_int, path: *const c_char, to: *mut c_void, flags: c_int) -> c_int, [to];
    statfs(path: *const c_char, to: *mut c_void) -> c_int, [to];
    statfs64(path: *const c_char, to: *mut c_void) -> c_int, [to];
    fstatfs(fd: c_int, to: *mut c_void) -> c_int, [to];
    fstatfs64(fd: c_int, to: *mut c_void) -> c_int, [to];
    readlink(path: *const c_char, to: *mut c_char, size: size_t) -> ssize_t, [to];
    readlinkat(fd: c_int, path: *const c_char, to: *mut c_char, size: size_t) -> ssize_t, [to];
    __readlink_chk(path: *const c_char, to: *mut c_char, size: size_t, room: size_t) -> ssize_t, [to];
    __readlinkat_chk(fd: c_int, path: *const c_char, to: *mut c_char, size: size_t, room: size_t) -> ssize_t, [to];
    getcwd(to: *mut c_char, size: size_t) -> *mut c_char, [to];
    __getcwd_chk(to: *mut c_char, size: size_t, room: size_t) -> *mut c_char, [to];
    getxattr(path: *const c_char, name: *const c_char, to: *mut c_void, size: size_t) -> ssize_t, [to];
    lgetxattr(path: *const c_char, name: *const c_char, to: *mut c_void, size: size_t) -> ssize_t, [to];
    fgetxattr(fd: c_int, name: *const c_char, to: *mut c_void, size: size_t) -> ssize_t, [to];
    listxattr(path: *const c_char, to: *mut c_char, size: size_t) -> ssize_t, [to];
    llistxattr(path: *const c_char, to: *mut c_char, size: size_t) -> ssize_t, [to];
    flistxattr(fd: c_int, to: *mut c_char, size: size_t) -> ssize_t, [to];
    pipe(to: *mut c_int) -> c_int, [to];
    __pipe(to: *mut c_int) -> c_int, [to];
    pipe2(to: *mut c_int, flags: c_int) -> c_int, [to];
    sendfile(to: c_int, from: c_int, at: *mut off_t, size: size_t) -> ssize_t, [at];
    sendfile64(to: c_int, from: c_int, at: *mut off_t, size: size_t) -> ssize_t, [at];
    copy_file_range(from: c_int, at: *mut off_t, to: c_int, to_at: *mut off_t, size: size_t, flags: c_uint) -> ssize_t, [at, to_at];
    splice(from: c_int, at: *mut off_t, to: c_int, to_at: *mut off_t, size: size_t, flags: c_uint) -> ssize_t, [at, to_at];
}

// SAFETY: the type is that of the function.
static NEXT_STATX: Next<
    unsafe extern "C" fn(c_int, *const c_char, c_int, c_uint, *mut c_void) -> c_int,
> = unsafe { Next::new(c"statx") };

/// `statx`. Not as the others, because std refers to it weakly.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn statx(
    fd: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    to: *mut c_void,
) -> c_int {
    let Some(next) = NEXT_STATX.get() else {
        return missing() as _;
    };
    // SAFETY: the caller's arguments.
    with(&[to as usize], || unsafe {
        next(fd, path, flags, mask, to)
    })
}
