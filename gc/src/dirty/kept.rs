//! A descriptor that stays open among those of a program which may close or replace it at any time.

use crate::sys::raw::{Errno, Fd, syscall};

/// Numbers that programs reach last. Not higher: the kernel's table of descriptors grows with the highest number, and `select`
/// knows only 1024.
const LOWEST: [i32; 3] = [960, 200, 3];

/// An open file at a high number, with what it takes to recognise it.
pub struct Kept {
    fd: Fd,
    identity: (u64, u64),
}

impl Kept {
    /// Moves `fd` up and remembers which file it is.
    pub fn new(fd: Fd) -> Result<Kept, Errno> {
        let identity = identify(fd.number())?;
        for lowest in LOWEST {
            // SAFETY: makes a descriptor, touches no memory.
            let moved =
                unsafe { syscall!(libc::SYS_fcntl, fd.number(), libc::F_DUPFD_CLOEXEC, lowest) };
            if let Ok(n) = moved {
                return Ok(Kept {
                    fd: Fd::from_number(n as i32),
                    identity,
                });
            }
        }
        Ok(Kept { fd, identity })
    }

    /// The file is still open there.
    pub fn is_open(&self) -> bool {
        identify(self.fd.number()) == Ok(self.identity)
    }

    /// The number; whether it is still ours, [`Self::is_open`] tells.
    pub fn number(&self) -> i32 {
        self.fd.number()
    }

    /// Closes the file if it is still ours. To be done before the same file is opened again: that may get the same number, and
    /// could not be told from this one.
    pub fn close(&mut self) {
        if self.is_open() {
            self.fd.close();
        }
        // Otherwise the number is the program's now.
        self.fd.disown();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close();
    }
}

/// Device and inode: every userfaultfd has an inode of its own.
fn identify(fd: i32) -> Result<(u64, u64), Errno> {
    let mut st = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `st` is valid for writing, and all-zero is a valid stat.
    let st = unsafe {
        syscall!(libc::SYS_fstat, fd, st.as_mut_ptr())?;
        st.assume_init()
    };
    Ok((st.st_dev, st.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with an inode of its own.
    fn open() -> Kept {
        // SAFETY: a constant string.
        let n = unsafe { libc::memfd_create(c"kept".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(n >= 0);
        Kept::new(Fd::from_number(n)).unwrap()
    }

    #[test]
    fn a_replaced_descriptor_is_noticed_and_left_alone() {
        let kept = open();
        let n = kept.number();
        assert!(kept.is_open());
        assert!(n >= 200, "{n}");
        // SAFETY: plain descriptors of this test.
        unsafe {
            let other = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert_eq!(libc::dup2(other, n), n);
            libc::close(other);
        }
        assert!(!kept.is_open());
        drop(kept);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::close(n) }, 0, "it was still open");
    }

    #[test]
    fn a_closed_descriptor_is_noticed_and_an_open_one_closed() {
        let kept = open();
        let n = kept.number();
        assert!(kept.is_open());
        let identity = kept.identity;
        drop(kept);
        // Another test may have its file there by now.
        assert_ne!(identify(n), Ok(identity), "it is still open");
    }
}
