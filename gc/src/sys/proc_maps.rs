//! /proc/self/maps without allocation.
use super::raw::{Errno, Fd};
use super::text;

/// One line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: usize,
    /// First address behind the mapping.
    pub end: usize,
    /// PROT_READ.
    pub read: bool,
    /// PROT_WRITE.
    pub write: bool,
    /// PROT_EXEC.
    pub exec: bool,
    /// MAP_SHARED.
    pub shared: bool,
    /// Device as major << 32 | minor; 0 with `inode` 0 for memory without a file.
    pub dev: u64,
    /// Inode number, 0 without a file.
    pub inode: u64,
    /// File name or `[…]`, octal escapes as the kernel wrote them, cut at [`PATH_MAX`] bytes.
    pub path: &'a [u8],
}

/// Longest path that is handed out; the rest of a longer one is dropped.
pub const PATH_MAX: usize = 4096;

/// Parses one line without its newline.
pub fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    let (start, s) = text::hex(line)?;
    let (end, s) = text::hex(s.strip_prefix(b"-")?)?;
    let s = s.strip_prefix(b" ")?;
    let (perms, s) = s.split_at_checked(4)?;
    let (_offset, s) = text::hex(s.strip_prefix(b" ")?)?;
    let (major, s) = text::hex(s.strip_prefix(b" ")?)?;
    let (minor, s) = text::hex(s.strip_prefix(b":")?)?;
    let (inode, s) = text::decimal(s.strip_prefix(b" ")?)?;
    Some(Mapping {
        start: start as usize,
        end: end as usize,
        read: perms[0] == b'r',
        write: perms[1] == b'w',
        exec: perms[2] == b'x',
        shared: perms[3] == b's',
        dev: major << 32 | minor,
        inode,
        path: s.trim_ascii_start(),
    })
}

/// Calls `f` for every mapping in ascending order. Memory may be mapped by `f`; what it maps may or may not be seen.
pub fn for_each(f: impl FnMut(&Mapping<'_>)) -> Result<(), Errno> {
    let fd = open()?;
    lines::<{ PATH_MAX + 512 }>(|buf| fd.read(buf), f)
}

/// Opens the file.
pub(super) fn open() -> Result<Fd, Errno> {
    // Not /proc/self, which is the main thread: when that has exited and others go on, its file is empty.
    Fd::open(b"/proc/thread-self/maps\0", libc::O_RDONLY)
}

/// Cuts what `read` delivers into lines, with a window of `N` bytes; a line that does not fit is cut at the end.
fn lines<const N: usize>(
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    mut f: impl FnMut(&Mapping<'_>),
) -> Result<(), Errno> {
    let mut buf = [0u8; N];
    let mut held = 0;
    let mut skipping = false;
    loop {
        let n = read(&mut buf[held..])?;
        let filled = held + n;
        let mut at = 0;
        while let Some(len) = buf[at..filled].iter().position(|c| *c == b'\n') {
            if !core::mem::take(&mut skipping) {
                let m = parse(&buf[at..at + len]).ok_or(Errno(libc::EINVAL))?;
                f(&m);
            }
            at += len + 1;
        }
        if n == 0 {
            return if at == filled {
                Ok(())
            } else {
                Err(Errno(libc::EINVAL))
            };
        }
        if at == 0 && filled == N {
            // A path longer than the window: hand out what is known, drop the rest of the line.
            if !core::mem::replace(&mut skipping, true) {
                let m = parse(&buf).ok_or(Errno(libc::EINVAL))?;
                f(&m);
            }
            held = 0;
        } else {
            buf.copy_within(at..filled, 0);
            held = filled - at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec::Vec};

    /// The same line, taken apart with std's tools.
    fn model(line: &str) -> String {
        let mut it = line.splitn(6, ' ');
        let (start, end) = it.next().unwrap().split_once('-').unwrap();
        let (perms, _off, dev, inode) = (
            it.next().unwrap(),
            it.next(),
            it.next().unwrap(),
            it.next().unwrap(),
        );
        let path = it.next().unwrap_or("").trim_start();
        let h = |s: &str| u64::from_str_radix(s, 16).unwrap();
        let (major, minor) = dev.split_once(':').unwrap();
        format!(
            "{:x} {:x} {perms} {:x} {inode} {path}",
            h(start),
            h(end),
            h(major) << 32 | h(minor)
        )
    }

    fn show(m: &Mapping) -> String {
        let c = |b, c| if b { c } else { '-' };
        let perms: String = [
            c(m.read, 'r'),
            c(m.write, 'w'),
            c(m.exec, 'x'),
            if m.shared { 's' } else { 'p' },
        ]
        .iter()
        .collect();
        format!(
            "{:x} {:x} {perms} {:x} {} {}",
            m.start,
            m.end,
            m.dev,
            m.inode,
            std::str::from_utf8(m.path).unwrap()
        )
    }

    #[test]
    fn as_std_sees_the_same_text_at_every_chunk_size() {
        let text = std::fs::read_to_string("/proc/self/maps").unwrap()
            + "7f0000000000-7f0000001000 rw-s 00000000 103:a1 4026531840                 /tmp/a b (deleted)\n"
            + "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
        let want: Vec<String> = text.lines().map(model).collect();
        for chunk in [1, 2, 3, 7, 64, 511, 4096] {
            let mut rest = text.as_bytes();
            let mut got = Vec::new();
            lines::<512>(
                |b| {
                    let n = rest.len().min(chunk).min(b.len());
                    b[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    Ok(n)
                },
                |m| got.push(show(m)),
            )
            .unwrap();
            assert_eq!(got, want, "chunks of {chunk}");
        }
    }

    #[test]
    fn long_path_is_cut_and_garbage_refused() {
        let text = format!(
            "1000-2000 rw-p 00000000 00:00 0 /{}\n3000-4000 r--p 00000000 00:00 0 \n",
            "x".repeat(3000)
        );
        let feed = |text: &str| {
            let mut rest = text.as_bytes().to_vec();
            let mut got = Vec::new();
            let r = lines::<256>(
                |b| {
                    let n = rest.len().min(b.len());
                    b[..n].copy_from_slice(&rest[..n]);
                    rest.drain(..n);
                    Ok(n)
                },
                |m| got.push((m.start, m.path.len())),
            );
            (r, got)
        };
        let (r, got) = feed(&text);
        assert_eq!(r, Ok(()));
        assert_eq!(
            got.iter().map(|g| g.0).collect::<Vec<_>>(),
            [0x1000, 0x3000]
        );
        assert!(feed("hello\n").0.is_err());
        assert!(feed("1000-2000 rw-p 00000000 00:00 0 /cut").0.is_err());
    }

    #[test]
    fn the_real_file() {
        let here = 0u8;
        let (mut last, mut stack, mut code) = (0, false, false);
        for_each(|m| {
            assert!(m.start >= last && m.end > m.start, "{m:?}");
            last = m.end;
            let has = |p: *const u8| m.start <= p as usize && (p as usize) < m.end;
            stack |= has(&here) && m.read && m.write && !m.shared;
            code |= has(for_each_addr()) && m.exec && m.inode != 0 && m.path.first() == Some(&b'/');
        })
        .unwrap();
        assert!(stack && code);
        fn for_each_addr() -> *const u8 {
            model as *const () as *const u8
        }
    }
}
