//! What the process may do with an address: the kernel's own list of mappings, asked one mapping at a time.
//!
//! There is no copy of that list. The guest's page tables are a cache of it, filled from here when the guest faults and emptied before a system call
//! that changes it.

use crate::arch::address::{Range, USER_END};
use crate::arch::pte::Rights;
use crate::error::Error;
use crate::sys::{self, Descriptor};
use core::mem::size_of;
use core::sync::atomic::{AtomicI32, Ordering::*};

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its addresses.
    pub range: Range,
    /// What the process may do.
    pub rights: Rights,
    /// It is the stack of the first thread, which grows down.
    pub stack: bool,
}

/// `struct procmap_query` of Linux 6.11.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    area_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const _: () = assert!(size_of::<Query>() == 104);

const PROCMAP_QUERY: u64 = 3 << 30 | (size_of::<Query>() as u64) << 16 | 0x66 << 8 | 17;
/// The mapping at the address or the next above it.
const COVERING_OR_NEXT: u64 = 0x10;

/// The list, open as long as the process is in guest mode; -1: not open. A number of the program's own would be free in between, for another thread to use.
static LIST: AtomicI32 = AtomicI32::new(-1);

/// Opens the list of this process for good, at a high number. Returns that.
///
/// # Errors
/// /proc is not there.
pub fn open() -> Result<i32, Error> {
    let file = Descriptor::open_read("/proc/self/maps", c"/proc/self/maps")?.high();
    let number = file.number();
    core::mem::forget(file);
    // What there was is the list of the process that this one was forked from, which has closed it here.
    LIST.store(number, SeqCst);
    Ok(number)
}

/// In a forked child: its list is another one.
pub fn close() {
    let number = LIST.swap(-1, SeqCst);
    if number >= 0 {
        // SAFETY: the child's copy of our own descriptor.
        unsafe { sys::call(libc::SYS_close as u64, [number as u64, 0, 0, 0, 0, 0]) };
    }
}

/// The mapping that holds `address`, or the next one above it.
///
/// # Errors
/// The list is not open, or not there any more.
pub fn find(address: u64) -> Result<Option<Area>, Error> {
    find_in(LIST.load(SeqCst), address)
}

fn find_in(list: i32, address: u64) -> Result<Option<Area>, Error> {
    match query(list, address) {
        Err(Error::System(_, libc::ENOTTY | libc::EINVAL)) => read(list, address),
        other => other,
    }
}

fn query(list: i32, address: u64) -> Result<Option<Area>, Error> {
    let mut name = [0u8; 32];
    let mut query = Query {
        size: size_of::<Query>() as u64,
        flags: COVERING_OR_NEXT,
        address,
        name_size: name.len() as u32,
        name: name.as_mut_ptr() as u64,
        ..Query::default()
    };
    let ask = |query: &mut Query| {
        // SAFETY: the kernel fills the structure and the name that it refers to.
        unsafe {
            let at = core::ptr::from_mut(query) as u64;
            let args = [list as u64, PROCMAP_QUERY, at, 0, 0, 0];
            sys::check("PROCMAP_QUERY", libc::SYS_ioctl, args)
        }
    };
    let mut answer = ask(&mut query);
    if answer == Err(Error::System("PROCMAP_QUERY", libc::ENAMETOOLONG)) {
        (query.name_size, query.name) = (0, 0);
        answer = ask(&mut query);
    }
    match answer {
        Err(Error::System(_, libc::ENOENT)) => return Ok(None),
        other => other?,
    };
    let flag = |bit: u64| query.area_flags & bit != 0;
    Ok(Some(Area {
        range: Range {
            start: query.start,
            end: query.end,
        },
        rights: Rights::new(flag(1), flag(2), flag(4)),
        stack: query.name_size > 0 && name.starts_with(b"[stack]\0"),
    }))
}

/// The same from the text, for older kernels.
fn read(list: i32, address: u64) -> Result<Option<Area>, Error> {
    let mut lines = Lines::new();
    let mut buffer = [0u8; 1024];
    let mut offset = 0;
    loop {
        let args = [
            list as u64,
            buffer.as_mut_ptr() as u64,
            buffer.len() as u64,
            offset,
            0,
            0,
        ];
        // SAFETY: the buffer is as long as it says.
        let len = unsafe { sys::check("read of /proc/self/maps", libc::SYS_pread64, args) }?;
        offset += len;
        let len = len as usize;
        if len == 0 {
            return Ok(None);
        }
        for &byte in &buffer[..len] {
            if let Some(area) = lines.take(byte)
                && area.range.end > address
            {
                // The kernel's own page at the end of the list is no mapping of the process.
                return Ok((area.range.start < USER_END).then_some(area));
            }
        }
    }
}

/// Puts lines together from bytes and reads them.
struct Lines {
    len: usize,
    line: [u8; 160],
}

impl Lines {
    fn new() -> Lines {
        Lines {
            len: 0,
            line: [0; 160],
        }
    }

    fn take(&mut self, byte: u8) -> Option<Area> {
        if byte == b'\n' {
            let len = core::mem::take(&mut self.len);
            return parse(&self.line[..len]);
        }
        // A long name is cut off; what matters lies before it.
        if let Some(slot) = self.line.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
        None
    }
}

fn parse(line: &[u8]) -> Option<Area> {
    let line = core::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let rights = words.next()?.as_bytes();
    let has = |i: usize, c| rights.get(i) == Some(&c);
    Some(Area {
        range: Range {
            start: number(start)?,
            end: number(end)?,
        },
        rights: Rights::new(has(0, b'r'), has(1, b'w'), has(2, b'x')),
        stack: words.nth(3) == Some("[stack]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same() {
        let here = 0u8;
        let code = both_ways_give_the_same as *const () as u64;
        let list = open().expect("/proc");
        for address in [0, &raw const here as u64, code, 1 << 40, u64::MAX >> 1] {
            let text = read(list, address).expect("text");
            // Kernels before 6.11 know only the text.
            match query(list, address) {
                Err(Error::System(_, libc::ENOTTY)) => {}
                answer => assert_eq!(answer, Ok(text), "{address:x}"),
            }
        }
        let area = find_in(list, code).expect("/proc").expect("a mapping");
        assert!(area.range.contains(code) && area.rights.execute && !area.rights.write);
    }

    #[test]
    fn the_stack_is_known() {
        let text = "7ffd2000-7ffd3000 rw-p 00000000 00:00 0     [stack]";
        let area = parse(text.as_bytes()).expect("a line");
        assert!(area.stack && area.rights == Rights::RW);
        assert_eq!(
            area.range,
            Range {
                start: 0x7ffd_2000,
                end: 0x7ffd_3000
            }
        );
        assert_eq!(parse(b"nonsense"), None);
    }
}
