//! Unread bytes of pipes and FIFOs: `tee(2)` copies them into a pipe of the collector's own, where they can be read
//! without being taken from the program.
//!
//! Only descriptors that can be read from matter. A process that holds nothing but the write end cannot get a pointer back from
//! the pipe; and opening the read end to look would make the pipe one that has readers, which writers notice.

use super::os::{Fd, call};
use super::window::Window;
use super::{Pass, Unseen};
use crate::sys::file::{self, Errno};

/// A pipe of the collector's own, made when the first pipe with unread data turns up.
#[derive(Default)]
pub(super) struct Copy {
    ends: Option<(Fd, Fd)>,
    /// Capacity in bytes.
    size: usize,
}

/// Reads pipe `fd`.
pub(super) fn read(pass: &mut Pass<'_>, copy: &mut Copy, fd: i32, scratch: &mut [u8]) {
    let mut unread = 0i32;
    // SAFETY: FIONREAD on a pipe writes one int.
    let asked = unsafe {
        call(
            libc::SYS_ioctl,
            [
                fd as usize,
                libc::FIONREAD as usize,
                &raw mut unread as usize,
                0,
                0,
                0,
            ],
        )
    };
    match asked {
        Ok(_) if unread <= 0 => return,
        Ok(_) => {}
        Err(e) => return pass.missed(Unseen::PIPE, e),
    }
    match can_read(fd) {
        Ok(true) => {}
        Ok(false) => return,
        Err(e) => return pass.missed(Unseen::PIPE, e),
    }
    match copy.take(pass, fd, scratch) {
        Ok(n) if n >= unread as usize => {}
        // The copy holds fewer buffers than the pipe.
        Ok(_) => pass.found.unseen |= Unseen::PIPE,
        // A pipe of kernel notifications, which no program writes to.
        Err(Errno(libc::EINVAL)) => {}
        Err(e) => pass.missed(Unseen::PIPE, e),
    }
}

/// The descriptor is open for reading.
fn can_read(fd: i32) -> Result<bool, Errno> {
    Ok(control(fd, libc::F_GETFL, 0)? as i32 & libc::O_ACCMODE != libc::O_WRONLY)
}

/// `fcntl(2)` with a number.
fn control(fd: i32, command: i32, number: usize) -> Result<usize, Errno> {
    // SAFETY: the commands used here touch no memory of the process.
    unsafe {
        call(
            libc::SYS_fcntl,
            [fd as usize, command as usize, number, 0, 0, 0],
        )
    }
}

impl Copy {
    /// Copies what `fd` holds and hands out its words; how many bytes there were.
    fn take(&mut self, pass: &mut Pass<'_>, fd: i32, scratch: &mut [u8]) -> Result<usize, Errno> {
        if self.ends.is_none() {
            self.ends = Some(pass.room.pipe()?);
        }
        let Some((read_end, write_end)) = &self.ends else {
            return Err(Errno(libc::EBADF));
        };
        let size = control(fd, libc::F_GETPIPE_SZ, 0)?;
        if size > self.size {
            // Where it is refused, a smaller copy may still do.
            self.size = control(write_end.0, libc::F_SETPIPE_SZ, size).unwrap_or(self.size);
        }
        let tee = [
            fd as usize,
            write_end.0 as usize,
            i32::MAX as usize,
            libc::SPLICE_F_NONBLOCK as usize,
            0,
            0,
        ];
        // SAFETY: tee moves references between pipes and touches no memory of the process.
        let copied = match unsafe { call(libc::SYS_tee, tee) } {
            // Another process has just emptied it.
            Err(Errno(libc::EAGAIN)) => return Ok(usize::MAX),
            r => r?,
        };
        let mut window = Window::new(scratch);
        let mut left = copied;
        while left > 0 {
            // A packet is at most a page, and the scratch memory always holds more: no packet is cut by a short read.
            match file::read(read_end.0, window.room())? {
                0 => break,
                n => {
                    window.filled(n, pass.emit);
                    left = left.saturating_sub(n);
                }
            }
        }
        Ok(copied)
    }
}
