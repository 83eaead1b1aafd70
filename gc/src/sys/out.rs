//! Text for people and machines without allocation: one line on stderr ([`message!`](crate::message)), and a buffered
//! writer to a file descriptor ([`FdWriter`]).

use super::file::{self, Errno};
use core::fmt::{self, Write};

/// Longest line that [`message!`](crate::message) writes, in bytes with the newline; longer text is cut and ends in `...`.
pub const LINE: usize = 1024;

/// A text buffer of fixed size; what does not fit is dropped and remembered.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

impl<const N: usize> Text<N> {
    /// An empty text.
    pub const fn new() -> Self {
        Text {
            bytes: [0; N],
            len: 0,
            cut: false,
        }
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Something did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// How many bytes more fit.
    pub fn room(&self) -> usize {
        N - self.len
    }

    /// Appends bytes; false if they did not all fit.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let n = bytes.len().min(N - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
        self.cut |= n < bytes.len();
        n == bytes.len()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// Writes `dunegc: [PID] text` and a newline to stderr with a single `write(2)`.
///
/// Allocates nothing, takes no lock, leaves `errno` alone: usable in a signal handler and with the world stopped.
/// A line that cannot be written (stderr closed or full) is lost.
#[macro_export]
#[doc(hidden)]
macro_rules! message {
    ($($arg:tt)*) => { $crate::sys::out::message(::core::format_args!($($arg)*)) };
}

/// The function behind [`message!`](crate::message).
#[cold]
#[inline(never)]
pub fn message(text: fmt::Arguments<'_>) {
    let mut line = Text::<LINE>::new();
    compose(&mut line, text);
    let _ = file::write(2, line.as_bytes());
}

/// One line with prefix, newline, and control characters of the text replaced, so that it stays one line.
fn compose(line: &mut Text<LINE>, text: fmt::Arguments<'_>) {
    // Writing to a Text cannot fail; an error of a Display inside only ends the text early.
    let _ = write!(line, "dunegc: [{}] ", file::getpid());
    let _ = line.write_fmt(text);
    for b in &mut line.bytes[..line.len] {
        if b.is_ascii_control() {
            *b = b'?';
        }
    }
    if line.cut || line.len == LINE {
        line.bytes[LINE - 4..].copy_from_slice(b"...\n");
    } else {
        line.bytes[line.len] = b'\n';
        line.len += 1;
    }
}

/// A buffered writer to a file descriptor that it does not own.
///
/// The first error stops all output and is returned by [`flush`](Self::flush), which must be called at the end.
pub struct FdWriter {
    fd: i32,
    len: usize,
    error: Option<Errno>,
    bytes: [u8; 2048],
}

impl FdWriter {
    /// A writer to `fd`.
    pub const fn new(fd: i32) -> Self {
        FdWriter {
            fd,
            len: 0,
            error: None,
            bytes: [0; 2048],
        }
    }

    /// Writes out what is buffered. The first error since the start, if there was any.
    pub fn flush(&mut self) -> Result<(), Errno> {
        if self.error.is_none() {
            self.error = file::write_all(self.fd, &self.bytes[..self.len]).err();
        }
        self.len = 0;
        self.error.map_or(Ok(()), Err)
    }
}

impl Write for FdWriter {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut rest = s.as_bytes();
        while !rest.is_empty() {
            if self.len == self.bytes.len() {
                self.flush().map_err(|_| fmt::Error)?;
            }
            let n = rest.len().min(self.bytes.len() - self.len);
            self.bytes[self.len..self.len + n].copy_from_slice(&rest[..n]);
            self.len += n;
            rest = &rest[n..];
        }
        Ok(())
    }
}

/// Displays a byte count with a binary unit and at most one decimal: `512 B`, `1.5 MiB`.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut unit = 0;
        while unit + 1 < UNITS.len() && self.0 >> (10 * (unit + 1)) != 0 {
            unit += 1;
        }
        scaled(f, self.0, 1 << (10 * unit), UNITS[unit])
    }
}

/// Displays a duration given in nanoseconds with a decimal unit: `850 ns`, `12.3 us`, `4.0 ms`, `1.2 s`.
pub struct Nanos(pub u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => scaled(f, self.0, 1, "ns"),
            1_000..1_000_000 => scaled(f, self.0, 1_000, "us"),
            1_000_000..1_000_000_000 => scaled(f, self.0, 1_000_000, "ms"),
            _ => scaled(f, self.0, 1_000_000_000, "s"),
        }
    }
}

/// `value / divisor` with one decimal (none when the divisor is 1), rounded down, padded as one field.
fn scaled(f: &mut fmt::Formatter<'_>, value: u64, divisor: u64, unit: &str) -> fmt::Result {
    let mut t = Text::<32>::new();
    if divisor == 1 {
        write!(t, "{value} {unit}")?;
    } else {
        let tenth = (u128::from(value % divisor) * 10 / u128::from(divisor)) as u64;
        write!(t, "{}.{} {unit}", value / divisor, tenth)?;
    }
    // SAFETY: only `write_str` filled the text and 32 bytes hold 20 digits, a decimal and a unit uncut: valid UTF-8.
    f.pad(unsafe { core::str::from_utf8_unchecked(t.as_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn line(text: fmt::Arguments<'_>) -> String {
        let mut t = Text::new();
        compose(&mut t, text);
        String::from_utf8(t.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_one_line_with_pid() {
        let pid = std::process::id();
        assert_eq!(
            line(format_args!("a {}", 5)),
            std::format!("dunegc: [{pid}] a 5\n")
        );
        assert_eq!(
            line(format_args!("a\nb\x1b[m")),
            std::format!("dunegc: [{pid}] a?b?[m\n")
        );
    }

    #[test]
    fn a_long_message_is_cut_to_one_line() {
        let long = "x".repeat(5000);
        let l = line(format_args!("{long}"));
        assert_eq!(l.len(), LINE);
        assert!(l.ends_with("x...\n"));
        // Exactly full without being cut still needs its newline.
        let prefix = line(format_args!("")).len() - 1;
        let fits = "y".repeat(LINE - prefix - 1);
        assert!(line(format_args!("{fits}")).ends_with("yy\n"));
        let full = "y".repeat(LINE - prefix);
        assert!(line(format_args!("{full}")).ends_with("y...\n"));
    }

    #[test]
    fn fd_writer_passes_everything_through() {
        let mut fds = [0; 2];
        // SAFETY: `fds` has room for the two descriptors.
        assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
        let mut w = FdWriter::new(fds[1]);
        let mut expected = String::new();
        for i in 0..1000 {
            write!(w, "{i},").unwrap();
            write!(expected, "{i},").unwrap();
        }
        w.flush().unwrap();
        file::close(fds[1]).unwrap();
        let mut got = std::vec![0; 8192];
        let mut n = 0;
        while let Ok(k @ 1..) = file::read(fds[0], &mut got[n..]) {
            n += k;
        }
        file::close(fds[0]).unwrap();
        assert_eq!(&got[..n], expected.as_bytes());
    }

    #[test]
    fn fd_writer_remembers_the_error() {
        let mut w = FdWriter::new(-1);
        write!(w, "x").unwrap();
        assert_eq!(w.flush(), Err(Errno(libc::EBADF)));
        assert_eq!(w.flush(), Err(Errno(libc::EBADF)));
    }

    #[test]
    fn units() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(1024).to_string(), "1.0 KiB");
        assert_eq!(Bytes(3 << 19).to_string(), "1.5 MiB");
        assert_eq!(Bytes(u64::MAX).to_string(), "16777215.9 TiB");
        assert_eq!(Nanos(999).to_string(), "999 ns");
        assert_eq!(Nanos(12_345).to_string(), "12.3 us");
        assert_eq!(Nanos(4_000_000).to_string(), "4.0 ms");
        assert_eq!(Nanos(61_250_000_000).to_string(), "61.2 s");
        assert_eq!(std::format!("{:>8}|", Bytes(1)), "     1 B|");
    }
}
