//! Whether this is still the process that it was: a page that `fork` and every call like it clears in the child.
//!
//! A process id would not do: a child in another pid namespace may have its parent's.

use crate::sys::mem::{self, PAGE};
use crate::sys::raw::{Errno, syscall};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

const MADV_WIPEONFORK: i32 = 18;

/// Set in the process that made it and in threads and `vfork` children, which share its memory; not set in copies.
pub struct ForkMark(usize);

impl ForkMark {
    /// A mark of this process. EINVAL before Linux 4.14.
    pub fn new() -> Result<ForkMark, Errno> {
        let page = mem::map(PAGE);
        if page.is_null() {
            return Err(Errno(libc::ENOMEM));
        }
        let mark = ForkMark(page as usize);
        // SAFETY: our own fresh page; the advice says what its content is in a child.
        unsafe { syscall!(libc::SYS_madvise, mark.0, PAGE, MADV_WIPEONFORK) }?;
        mark.word().store(1, Relaxed);
        Ok(mark)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped, zeroed and ours until drop.
        unsafe { &*(self.0 as *const AtomicU32) }
    }

    /// This process made the mark.
    pub fn holds(&self) -> bool {
        self.word().load(Relaxed) == 1
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        mem::unmap(self.0, PAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_no_mark() {
        let mark = ForkMark::new().unwrap();
        assert!(mark.holds());
        // SAFETY: the child only reads a word and exits.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(mark.holds())) };
        }
        let mut status = -1;
        // SAFETY: waits for our child; `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0);
        assert!(mark.holds());
    }
}
