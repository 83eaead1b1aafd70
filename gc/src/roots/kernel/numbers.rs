//! Which descriptor numbers to look at.

use super::os::{self, Fd, Room, call};
use crate::sys::file::Errno;
use core::ffi::CStr;

/// Bytes of directory entries fetched at a time.
const ENTRIES: usize = 32 << 10;

/// The descriptor table of the calling thread.
pub(super) struct Table {
    /// The table as a directory. Its own number is in the table.
    pub directory: Fd,
    /// Numbers in use, where the kernel tells; else 0.
    open: u64,
    /// Numbers that the table has room for, where the kernel tells; else the largest value.
    room: u64,
}

impl Table {
    /// Opens the table.
    pub(super) fn open(room: &mut Room, scratch: &mut [u8]) -> Result<Self, Errno> {
        let directory = room.open(c"/proc/thread-self/fd", libc::O_DIRECTORY)?;
        let open = os::status(directory.0)?.stx_size;
        let mut size = None;
        let status = room.open(c"/proc/thread-self/status", 0)?;
        os::lines(&status, scratch, |line| {
            if let Some(text) = line.strip_prefix(b"FDSize:") {
                size = os::number(text.trim_ascii_start(), 10);
            }
        })?;
        Ok(Table {
            directory,
            open,
            room: size.unwrap_or(u64::MAX),
        })
    }

    /// Calls `f` for every number in use but the directory's own; maybe for some that are not. `scratch` is for the
    /// table's use and, what is left of it, for that of `f`.
    pub(super) fn for_each(
        &self,
        scratch: &mut [u8],
        mut f: impl FnMut(i32, &mut [u8]),
    ) -> Result<(), Errno> {
        // Trying a number that is not in use costs a fifth of listing one that is.
        if self.room <= self.open * 6 + 1024 {
            for fd in (0..self.room as i32).filter(|fd| *fd != self.directory.0) {
                f(fd, scratch);
            }
            return Ok(());
        }
        self.listed(scratch, f)
    }

    fn listed(&self, scratch: &mut [u8], mut f: impl FnMut(i32, &mut [u8])) -> Result<(), Errno> {
        let (entries, scratch) = scratch.split_at_mut(ENTRIES);
        loop {
            let args = [
                self.directory.0 as usize,
                entries.as_mut_ptr() as usize,
                entries.len(),
                0,
                0,
                0,
            ];
            // SAFETY: the kernel writes at most the length of `entries` into it.
            let n = unsafe { call(libc::SYS_getdents64, args) }?;
            if n == 0 {
                return Ok(());
            }
            let mut rest = &entries[..n];
            while let Some((name, next)) = entry(rest) {
                rest = next;
                match os::number(name, 10) {
                    Some(fd) if fd as i32 != self.directory.0 => f(fd as i32, scratch),
                    _ => {} // "." and "..", or our own
                }
            }
        }
    }
}

/// The name of the first `struct linux_dirent64` and the entries behind it.
fn entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    // inode (8), offset (8), length (2), type (1), name
    let length = usize::from(u16::from_ne_bytes(entries.get(16..18)?.try_into().ok()?));
    let (this, next) = entries.split_at_checked(length)?;
    let name = CStr::from_bytes_until_nul(this.get(19..)?).ok()?;
    Some((name.to_bytes(), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::fd::AsRawFd;
    use std::vec;

    #[test]
    fn tried_and_listed_agree_on_what_is_open() {
        let files = [(); 50].map(|()| std::fs::File::open("/dev/null").unwrap());
        let mut scratch = vec![0; 64 << 10];
        let table = Table::open(&mut Room::default(), &mut scratch).unwrap();
        let numbers = |room| {
            let (mut all, table) = (
                BTreeSet::new(),
                Table {
                    room,
                    directory: Fd(table.directory.0),
                    ..table
                },
            );
            table
                .for_each(&mut scratch.clone(), |fd, _| assert!(all.insert(fd)))
                .unwrap();
            core::mem::forget(table);
            all
        };
        for all in [
            numbers(table.room.min(table.open * 6 + 1024)),
            numbers(u64::MAX),
        ] {
            assert!(files.iter().all(|f| all.contains(&f.as_raw_fd())));
            assert!(!all.contains(&table.directory.0));
        }
    }
}
