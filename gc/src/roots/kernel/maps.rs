//! Mappings that the kernel shares with the process: the rings of io_uring and of Linux AIO.

use super::io_uring::Rings;
use super::{Pass, Unseen, os};

/// One line of `/proc/self/maps`.
#[derive(Debug, PartialEq, Eq)]
struct Line<'l> {
    start: usize,
    end: usize,
    readable: bool,
    inode: u64,
    path: &'l [u8],
}

pub(super) fn read(pass: &mut Pass<'_>, scratch: &mut [u8], rings: &mut Rings) {
    let read = pass.room.open(c"/proc/thread-self/maps", 0).and_then(|fd| {
        os::lines(&fd, scratch, |line| {
            // Few lines are wanted: those are parsed.
            if line.ends_with(b"anon_inode:[io_uring]") {
                let Some(line) = parse(line) else { return };
                rings.mapped(line.inode);
                if line.readable {
                    words(line.start, line.end, pass.emit);
                }
            } else if line.ends_with(b"[aio] (deleted)") || line.ends_with(b"/[aio]") {
                pass.found.unseen |= Unseen::AIO;
            }
        })
    });
    if let Err(e) = read {
        pass.missed(Unseen::PROC, e);
    }
}

/// Parses a line; only what is needed.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
    let range = fields.next()?;
    let permissions = fields.next()?;
    let (_offset, _device) = (fields.next()?, fields.next()?);
    let inode = os::number(fields.next()?, 10)?;
    Some(Line {
        start: os::number(range, 16)? as usize,
        end: os::number(os::after(range, b"-")?, 16)? as usize,
        readable: permissions.first() == Some(&b'r'),
        inode,
        path: fields.next().unwrap_or_default(),
    })
}

/// Hands out the aligned words of a ring: queued requests and completions, and old ones whose slot was not used again.
fn words(start: usize, end: usize, emit: &mut dyn FnMut(usize)) {
    for at in (start..end).step_by(size_of::<usize>()) {
        // SAFETY: the range is a readable mapping of a ring, which the kernel backs with memory from end to end, and
        // nobody can unmap it while the other threads are stopped. Volatile, because the kernel may write to it.
        emit(unsafe { (at as *const usize).read_volatile() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring() {
        let line = b"7fe1ed3de000-7fe1ed3df000 rw-s 10000000 00:10 117718                     anon_inode:[io_uring]";
        let want = Line {
            start: 0x7fe1_ed3d_e000,
            end: 0x7fe1_ed3d_f000,
            readable: true,
            inode: 117_718,
            path: b"anon_inode:[io_uring]",
        };
        assert_eq!(parse(line), Some(want));
        assert_eq!(parse(b"7fe1ed3de000-7fe1ed3df000 rw-s"), None);
    }
}
