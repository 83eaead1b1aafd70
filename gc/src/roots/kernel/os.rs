//! What the passes over descriptors share: descriptors that always close, room for them, scratch memory, system calls.
//!
//! Everything here keeps `errno` and libc's locks out of it and leaves the process as it found it.

use crate::sys::file::{self, Errno};
use crate::sys::raw;
use core::ffi::CStr;

/// A system call; the kernel's result or its error number.
///
/// # Safety
/// The call must not violate memory safety with these arguments.
#[inline]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    raw::check(unsafe { raw::syscall6(number, arguments) })
}

/// A descriptor of the collector's own, closed on drop.
pub(super) struct Fd(pub i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // The descriptor was only read from or is a drained pipe: closing it has nothing to report.
        let _ = file::close(self.0);
    }
}

/// Opens descriptors even when the program has used up its soft limit, as long as the hard limit leaves room.
///
/// The soft limit is put back on drop. With the world stopped no thread of the program can see the difference.
#[derive(Default)]
pub(super) struct Room {
    saved: Option<libc::rlimit64>,
}

impl Room {
    /// Runs `open`, and once more with the soft limit raised if there was no descriptor left.
    fn retry<T>(&mut self, mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        match open() {
            Err(Errno(libc::EMFILE)) if self.raise() => open(),
            r => r,
        }
    }

    /// Opens `path` for reading.
    pub(super) fn open(&mut self, path: &CStr, flags: i32) -> Result<Fd, Errno> {
        self.retry(|| file::open(path, libc::O_RDONLY | flags, 0))
            .map(Fd)
    }

    /// A pipe of which neither end ever blocks: (read end, write end).
    pub(super) fn pipe(&mut self) -> Result<(Fd, Fd), Errno> {
        self.retry(|| {
            let mut ends = [0i32; 2];
            let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
            // SAFETY: `ends` has room for the two descriptors that the kernel writes.
            unsafe {
                call(
                    libc::SYS_pipe2,
                    [ends.as_mut_ptr() as usize, flags as usize, 0, 0, 0, 0],
                )
            }?;
            Ok((Fd(ends[0]), Fd(ends[1])))
        })
    }

    /// Raises the soft limit to the hard one; false if that was done before or gains nothing.
    fn raise(&mut self) -> bool {
        if self.saved.is_some() {
            return false;
        }
        let Ok(old) = limit(None) else { return false };
        let all = libc::rlimit64 {
            rlim_cur: old.rlim_max,
            ..old
        };
        if old.rlim_cur >= old.rlim_max || limit(Some(&all)).is_err() {
            return false;
        }
        self.saved = Some(old);
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(old) = &self.saved {
            // Lowering a soft limit is always permitted.
            let _ = limit(Some(old));
        }
    }
}

/// Sets the limit on descriptors of this process, if one is given; the one before.
fn limit(new: Option<&libc::rlimit64>) -> Result<libc::rlimit64, Errno> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    let args = [
        0,
        libc::RLIMIT_NOFILE as usize,
        new as usize,
        &raw mut old as usize,
        0,
        0,
    ];
    // SAFETY: `new` is null or a limit that outlives the call, `old` is writable.
    unsafe { call(libc::SYS_prlimit64, args) }?;
    Ok(old)
}

/// Zeroed memory of its own mapping, unmapped on drop: copies of pointers do not stay behind for a root scan to find.
pub(super) struct Scratch {
    at: *mut u8,
    len: usize,
}

impl Scratch {
    /// Maps `len` bytes.
    pub(super) fn map(len: usize) -> Result<Self, Errno> {
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a fresh private mapping at an address of the kernel's choice overlaps nothing.
        let at = unsafe {
            call(
                libc::SYS_mmap,
                [0, len, prot as usize, flags as usize, usize::MAX, 0],
            )
        }?;
        Ok(Scratch {
            at: at as *mut u8,
            len,
        })
    }

    /// The memory.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is ours, `len` bytes long and readable and writable until drop; `self` is borrowed
        // mutably, so this is the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        let _ = unsafe { call(libc::SYS_munmap, [self.at as usize, self.len, 0, 0, 0, 0]) };
    }
}

/// Status of `fd` as far as it is known without asking a server or a process.
pub(super) fn status(fd: i32) -> Result<libc::statx, Errno> {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut status: libc::statx = unsafe { core::mem::zeroed() };
    let flags = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC) as usize;
    let mask = (libc::STATX_TYPE | libc::STATX_SIZE | libc::STATX_INO) as usize;
    let args = [
        fd as usize,
        c"".as_ptr() as usize,
        flags,
        mask,
        &raw mut status as usize,
        0,
    ];
    // SAFETY: the path is an empty string and `status` is writable.
    unsafe { call(libc::SYS_statx, args) }?;
    Ok(status)
}

/// Calls `line` for every line of a text file from its current position on, without the newline. What is longer than
/// `buffer` is cut there.
pub(super) fn lines(fd: &Fd, buffer: &mut [u8], mut line: impl FnMut(&[u8])) -> Result<(), Errno> {
    let (mut held, mut rest_of_cut) = (0, false);
    loop {
        let n = file::read(fd.0, &mut buffer[held..])?;
        let filled = held + n;
        let mut at = 0;
        while let Some(len) = buffer[at..filled].iter().position(|b| *b == b'\n') {
            if !core::mem::take(&mut rest_of_cut) {
                line(&buffer[at..at + len]);
            }
            at += len + 1;
        }
        if n == 0 || (at == 0 && filled == buffer.len()) {
            // The last line without a newline, or one that does not fit.
            if filled > at && !core::mem::replace(&mut rest_of_cut, true) {
                line(&buffer[at..filled]);
            }
            at = filled;
        }
        if n == 0 {
            return Ok(());
        }
        buffer.copy_within(at..filled, 0);
        held = filled - at;
    }
}

/// The text after the first `key` in `line`, without leading blanks.
pub(super) fn after<'l>(line: &'l [u8], key: &[u8]) -> Option<&'l [u8]> {
    let at = line.windows(key.len()).position(|w| w == key)?;
    Some(line[at + key.len()..].trim_ascii_start())
}

/// The number that `text` starts with, in `radix` 10 or 16 with or without `0x`; what does not fit is cut at the top.
pub(super) fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = if radix == 16 {
        text.strip_prefix(b"0x").unwrap_or(text)
    } else {
        text
    };
    let mut digits = text
        .iter()
        .map_while(|b| char::from(*b).to_digit(radix))
        .peekable();
    digits.peek()?;
    Some(digits.fold(0u64, |n, d| {
        n.wrapping_mul(u64::from(radix)).wrapping_add(u64::from(d))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::testing::in_own_process;
    use std::{format, string::String, vec, vec::Vec};

    // Beside other tests a child process of one may hold the writing end of the pipe for a moment, and the pipe is then not at its end.
    #[test]
    fn lines_at_every_buffer_size() {
        let path = concat!(module_path!(), "::lines_at_every_buffer_size");
        in_own_process(path, read_lines);
    }

    fn read_lines() {
        let text = "a\n\nlonger line: 0x10\nno newline at the end";
        for size in 24..64 {
            let (r, w) = Room::default().pipe().unwrap();
            file::write_all(w.0, text.as_bytes()).unwrap();
            drop(w);
            let mut got: Vec<String> = vec![];
            lines(&r, &mut vec![0; size], |l| {
                got.push(String::from_utf8(l.to_vec()).unwrap())
            })
            .unwrap();
            assert_eq!(
                got,
                text.split('\n').collect::<Vec<_>>(),
                "buffer of {size}"
            );
        }
    }

    #[test]
    fn a_long_line_is_cut_once() {
        let path = concat!(module_path!(), "::a_long_line_is_cut_once");
        in_own_process(path, cut_a_line);
    }

    fn cut_a_line() {
        let (r, w) = Room::default().pipe().unwrap();
        file::write_all(w.0, format!("{}\nshort\n", "x".repeat(100)).as_bytes()).unwrap();
        drop(w);
        let mut got = vec![];
        lines(&r, &mut [0; 16], |l| got.push(l.len())).unwrap();
        assert_eq!(got, [16, 5]);
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"12 x", 10), Some(12));
        assert_eq!(number(b"0x7fFF/3", 16), Some(0x7fff));
        assert_eq!(number(b"ffffffffffffffff", 16), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551615", 10), Some(u64::MAX));
        assert_eq!(number(b"x", 10), None);
        assert_eq!(after(b"tfd: 4 data:   2a ", b"data:"), Some(&b"2a "[..]));
        assert_eq!(after(b"tfd: 4", b"data:"), None);
    }

    // Beside other tests something may be mapped at the same place at once.
    #[test]
    fn scratch_is_unmapped() {
        let path = concat!(module_path!(), "::scratch_is_unmapped");
        in_own_process(path, map_and_unmap);
    }

    fn map_and_unmap() {
        let mut s = Scratch::map(8192).unwrap();
        s.bytes()[8191] = 1;
        let at = s.at as usize;
        drop(s);
        let mut resident = 0u8;
        // SAFETY: mincore only reports on an address range; the vector byte is writable.
        let r = unsafe {
            call(
                libc::SYS_mincore,
                [at, 4096, &raw mut resident as usize, 0, 0, 0],
            )
        };
        assert_eq!(r, Err(Errno(libc::ENOMEM)));
    }
}
