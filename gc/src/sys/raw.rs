//! System calls by instruction: no errno, no libc state, usable in a thread that has no TLS at all.
use core::arch::asm;

pub use super::file::Errno;

/// Splits the kernel's return value into a result.
pub fn check(ret: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&ret) {
        Err(Errno(-ret as i32))
    } else {
        Ok(ret as usize)
    }
}

/// A system call with up to six arguments; unused ones are ignored by the kernel.
///
/// # Safety
/// The arguments must be right for the call: pointers valid for what the kernel reads and writes.
#[inline]
pub unsafe fn syscall6(n: libc::c_long, a: [usize; 6]) -> isize {
    let ret: isize;
    // SAFETY: the kernel clobbers rax, rcx and r11 only; memory effects are the caller's promise and asm! without
    // `nomem` tells the compiler that memory may change.
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => ret,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

/// `syscall!(NUMBER, args…)` as `Result<usize, Errno>`; must be used in an unsafe block.
macro_rules! syscall {
    (@pad $n:expr; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr $(, $z:expr)*) => {
        $crate::sys::raw::check($crate::sys::raw::syscall6($n,
            [$a as usize, $b as usize, $c as usize, $d as usize, $e as usize, $f as usize]))
    };
    ($n:expr $(, $a:expr)*) => { $crate::sys::raw::syscall!(@pad $n; $($a,)* 0usize, 0usize, 0usize, 0usize, 0usize, 0usize) };
}
pub(crate) use syscall;

/// This process' id as the kernel sees it at this moment.
pub fn getpid() -> i32 {
    // SAFETY: no arguments.
    unsafe { syscall6(libc::SYS_getpid, [0; 6]) as i32 }
}

/// This thread's id.
pub fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { syscall6(libc::SYS_gettid, [0; 6]) as i32 }
}

/// Monotonic time in nanoseconds.
pub fn now_ns() -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid out pointer; CLOCK_MONOTONIC cannot fail, and the vDSO neither locks nor allocates.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// An open file descriptor, closed on drop.
pub struct Fd(i32);

impl Fd {
    /// Opens `path`, which ends in a NUL byte, with `flags | O_CLOEXEC`. Where the program has used up its soft limit of
    /// descriptors, the limit is raised to the hard one for the moment of the call.
    pub fn open(path: &[u8], flags: i32) -> Result<Fd, Errno> {
        Fd::make(|| Fd::try_open(path, flags))
    }

    /// Calls `f`, which makes a descriptor; once more with the soft limit raised to the hard one if the program has used it up.
    pub fn make(f: impl Fn() -> Result<Fd, Errno>) -> Result<Fd, Errno> {
        match f() {
            Err(Errno(libc::EMFILE)) => {
                let mut old = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                limit(None, Some(&mut old))?;
                limit(
                    Some(&libc::rlimit {
                        rlim_cur: old.rlim_max,
                        rlim_max: old.rlim_max,
                    }),
                    None,
                )?;
                let fd = f();
                limit(Some(&old), None)?;
                fd
            }
            r => r,
        }
    }

    fn try_open(path: &[u8], flags: i32) -> Result<Fd, Errno> {
        assert!(path.last() == Some(&0), "path without NUL");
        // SAFETY: `path` is a NUL-terminated string that outlives the call.
        unsafe {
            syscall!(
                libc::SYS_openat,
                libc::AT_FDCWD,
                path.as_ptr(),
                flags | libc::O_CLOEXEC,
                0
            )
        }
        .map(|fd| Fd(fd as i32))
    }

    /// An open descriptor that the caller owns.
    pub fn from_number(fd: i32) -> Fd {
        Fd(fd)
    }

    /// Leaves the number alone: it is not this file any more. Dropping does nothing then.
    pub fn disown(&mut self) {
        self.0 = -1;
    }

    /// The number.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// Reads into `buf`; retries when interrupted.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        loop {
            // SAFETY: `buf` is writable for its length.
            match unsafe { syscall!(libc::SYS_read, self.0, buf.as_mut_ptr(), buf.len()) } {
                Err(Errno(libc::EINTR)) => {}
                r => return r,
            }
        }
    }
}

/// Sets or reads the limit of open descriptors.
fn limit(new: Option<&libc::rlimit>, old: Option<&mut libc::rlimit>) -> Result<(), Errno> {
    let new = new.map_or(core::ptr::null(), |n| n as *const libc::rlimit);
    let old = old.map_or(core::ptr::null_mut(), |o| o as *mut libc::rlimit);
    // SAFETY: null or valid pointers to limits, as the call expects.
    unsafe { syscall!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, new, old) }.map(drop)
}

impl Fd {
    /// Closes it now.
    pub fn close(&mut self) {
        if self.0 >= 0 {
            // SAFETY: the descriptor is ours and is not used afterwards.
            let _ = unsafe { syscall!(libc::SYS_close, self.0) };
        }
        self.disown();
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.close();
    }
}
