//! File system calls made directly: no `errno`, no cancellation point, no allocation, usable while the world is stopped.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

/// An error number of the kernel (positive, as in `errno.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            libc::EPERM => f.write_str("EPERM: not permitted"),
            libc::ENOENT => f.write_str("ENOENT: no such file or directory"),
            libc::EINTR => f.write_str("EINTR: interrupted"),
            libc::EIO => f.write_str("EIO: input/output error"),
            libc::EBADF => f.write_str("EBADF: bad file descriptor"),
            libc::EAGAIN => f.write_str("EAGAIN: try again"),
            libc::ENOMEM => f.write_str("ENOMEM: out of memory"),
            libc::EACCES => f.write_str("EACCES: permission denied"),
            libc::EEXIST => f.write_str("EEXIST: file exists"),
            libc::ENOTDIR => f.write_str("ENOTDIR: not a directory"),
            libc::EISDIR => f.write_str("EISDIR: is a directory"),
            libc::EINVAL => f.write_str("EINVAL: invalid argument"),
            libc::ENFILE => f.write_str("ENFILE: too many open files in the system"),
            libc::EMFILE => f.write_str("EMFILE: too many open files"),
            libc::ENXIO => f.write_str("ENXIO: no such device or no reader"),
            libc::EFBIG => f.write_str("EFBIG: file too large"),
            libc::ENOSPC => f.write_str("ENOSPC: no space left on device"),
            libc::EROFS => f.write_str("EROFS: read-only file system"),
            libc::ENAMETOOLONG => f.write_str("ENAMETOOLONG: file name too long"),
            libc::ELOOP => f.write_str("ELOOP: too many symbolic links"),
            libc::EDQUOT => f.write_str("EDQUOT: disk quota exceeded"),
            n => write!(f, "errno {n}"),
        }
    }
}

/// A system call with up to three arguments; the kernel's result, `-errno` on failure.
///
/// # Safety
/// The call must not violate memory safety with these arguments.
#[inline]
unsafe fn syscall3(number: libc::c_long, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the x86_64 Linux calling convention; rcx and r11 are the only registers the kernel destroys.
    // What the call does to memory is the caller's obligation.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[inline]
fn check(result: isize) -> Result<usize, Errno> {
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// `write(2)`, repeated when interrupted. May write less than everything.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the kernel only reads `bytes`, which is valid for its length.
        let r = check(unsafe {
            syscall3(
                libc::SYS_write,
                fd as usize,
                bytes.as_ptr() as usize,
                bytes.len(),
            )
        });
        if r != Err(Errno(libc::EINTR)) {
            return r;
        }
    }
}

/// Writes all of `bytes`.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes)? {
            0 => return Err(Errno(libc::EIO)),
            n => bytes = &bytes[n..],
        }
    }
    Ok(())
}

/// `read(2)`, repeated when interrupted. 0 at the end of the file.
pub fn read(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the kernel writes at most `into.len()` bytes into `into`, which is exclusively borrowed.
        let r = check(unsafe {
            syscall3(
                libc::SYS_read,
                fd as usize,
                into.as_mut_ptr() as usize,
                into.len(),
            )
        });
        if r != Err(Errno(libc::EINTR)) {
            return r;
        }
    }
}

/// `open(2)` with `O_CLOEXEC` added; `mode` is the permission bits of a file that is created.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32, Errno> {
    loop {
        // SAFETY: `path` is NUL-terminated and only read by the kernel.
        let r = check(unsafe {
            syscall3(
                libc::SYS_open,
                path.as_ptr() as usize,
                (flags | libc::O_CLOEXEC) as usize,
                mode as usize,
            )
        });
        if r != Err(Errno(libc::EINTR)) {
            return r.map(|fd| fd as i32);
        }
    }
}

/// `close(2)`. Errors are returned but the descriptor is gone in any case.
pub fn close(fd: i32) -> Result<(), Errno> {
    // SAFETY: closing a descriptor touches no memory; the caller owns the descriptor.
    check(unsafe { syscall3(libc::SYS_close, fd as usize, 0, 0) }).map(drop)
}

/// What tells an open file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Number on it.
    pub ino: u64,
}

/// Identity, type and permissions (`st_mode`), and size of an open file: `fstat(2)`.
pub fn identity(fd: i32) -> Result<(Identity, u32, u64), Errno> {
    // SAFETY: all-zero bytes are a valid stat.
    let mut s: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: the kernel fills the one stat that it is given; on x86_64 libc's is the kernel's.
    check(unsafe { syscall3(libc::SYS_fstat, fd as usize, &raw mut s as usize, 0) })?;
    let id = Identity {
        dev: s.st_dev,
        ino: s.st_ino,
    };
    Ok((id, s.st_mode, s.st_size as u64))
}

/// Descriptors below are the program's as long as there are any, so that it gets the numbers that it would get without us.
const LOWEST: i32 = 200;

/// `fd` under a number that programs do not use, with close-on-exec; at least 3. `fd` itself stays open.
pub fn duplicate_high(fd: i32) -> Result<i32, Errno> {
    let duplicate = |lowest: i32| {
        // SAFETY: makes a descriptor, touches no memory.
        check(unsafe {
            syscall3(
                libc::SYS_fcntl,
                fd as usize,
                libc::F_DUPFD_CLOEXEC as usize,
                lowest as usize,
            )
        })
    };
    let r = duplicate(LOWEST).or_else(|_| duplicate(3));
    r.map(|fd| fd as i32)
}

/// Locks an open file for this process and those that inherit the descriptor, without waiting: `flock(2)`.
pub fn try_lock(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    check(unsafe {
        syscall3(
            libc::SYS_flock,
            fd as usize,
            (libc::LOCK_EX | libc::LOCK_NB) as usize,
            0,
        )
    })
    .map(drop)
}

/// Cuts an open file to `len` bytes.
pub fn truncate(fd: i32, len: u64) -> Result<(), Errno> {
    // SAFETY: touches no memory of this process.
    check(unsafe { syscall3(libc::SYS_ftruncate, fd as usize, len as usize, 0) }).map(drop)
}

/// The size up to which this process may write files (`RLIMIT_FSIZE`).
pub fn size_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: 0,
    };
    // SAFETY: getrlimit fills the one rlimit that it is given. Where it is refused, the value above stays.
    let _ = unsafe {
        syscall3(
            libc::SYS_getrlimit,
            libc::RLIMIT_FSIZE as usize,
            &raw mut limit as usize,
            0,
        )
    };
    limit.rlim_cur
}

/// `rename(2)`.
pub fn rename(from: &CStr, to: &CStr) -> Result<(), Errno> {
    // SAFETY: both paths are NUL-terminated and only read by the kernel.
    check(unsafe {
        syscall3(
            libc::SYS_rename,
            from.as_ptr() as usize,
            to.as_ptr() as usize,
            0,
        )
    })
    .map(drop)
}

/// `unlink(2)`.
pub fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated and only read by the kernel.
    check(unsafe { syscall3(libc::SYS_unlink, path.as_ptr() as usize, 0, 0) }).map(drop)
}

/// `getpid(2)`, never cached (right after `fork` and `vfork` too).
pub fn getpid() -> i32 {
    // SAFETY: takes no arguments, touches no memory, cannot fail.
    (unsafe { syscall3(libc::SYS_getpid, 0, 0, 0) }) as i32
}

/// Reads the start of a file, at most `into.len()` bytes; what was read.
pub fn read_start<'b>(path: &CStr, into: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = open(path, libc::O_RDONLY, 0)?;
    let mut n = 0;
    let result = loop {
        if n == into.len() {
            break Ok(());
        }
        match read(fd, &mut into[n..]) {
            Ok(0) => break Ok(()),
            Ok(k) => n += k,
            Err(e) => break Err(e),
        }
    };
    // A descriptor that was only read has nothing to report at close.
    let _ = close(fd);
    result.map(|()| &into[..n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::format;

    #[test]
    fn file_round_trip_and_errors() {
        let dir = std::env::temp_dir();
        let a = CString::new(format!(
            "{}/dunegc-file-{}-a",
            dir.display(),
            std::process::id()
        ))
        .unwrap();
        let b = CString::new(format!(
            "{}/dunegc-file-{}-b",
            dir.display(),
            std::process::id()
        ))
        .unwrap();
        let fd = open(&a, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o600).unwrap();
        write_all(fd, b"hello world").unwrap();
        close(fd).unwrap();
        rename(&a, &b).unwrap();
        let mut buf = [0; 5];
        assert_eq!(read_start(&b, &mut buf).unwrap(), b"hello");
        let mut buf = [0; 64];
        assert_eq!(read_start(&b, &mut buf).unwrap(), b"hello world");
        let fd = open(&b, libc::O_RDWR, 0).unwrap();
        let high = duplicate_high(fd).unwrap();
        assert!(high >= 3 && high != fd);
        let (id, mode, size) = identity(fd).unwrap();
        assert_eq!((mode & libc::S_IFMT, size), (libc::S_IFREG, 11));
        truncate(high, 4).unwrap();
        assert_eq!(identity(high).unwrap(), (id, mode, 4));
        try_lock(fd).unwrap();
        let other = open(&b, libc::O_RDWR, 0).unwrap();
        assert_eq!(try_lock(other), Err(Errno(libc::EAGAIN)));
        for fd in [fd, high, other] {
            close(fd).unwrap();
        }
        assert!(size_limit() > 11);
        unlink(&b).unwrap();
        assert_eq!(read_start(&b, &mut buf), Err(Errno(libc::ENOENT)));
        // A number that no test opens meanwhile.
        assert_eq!(close(i32::MAX), Err(Errno(libc::EBADF)));
        assert_eq!(getpid() as u32, std::process::id());
    }
}
