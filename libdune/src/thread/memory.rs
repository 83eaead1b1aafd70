//! System calls that change mappings. The tables forget the addresses before the call, under the lock that a repair takes too, so that no repair fills
//! them from what was there before. A translation that a TLB holds is flushed by the kernel itself: it takes the memory away from the guest when it changes
//! the mapping.

use super::Thread;
use crate::arch::address::{PAGE, Range, USER_END, span};
use crate::arch::pte::Rights;
use crate::maps;
use crate::sys;

/// Longest new memory whose pages the tables know at once; what is longer may hardly be used, and is filled in as it is.
const AHEAD: u64 = span(2);

impl Thread {
    /// Executes a system call that may change mappings; `None` if it is another one.
    pub(super) fn memory_call(&mut self, number: i64, args: [u64; 6]) -> Option<i64> {
        let [a, b, c, d, ..] = args;
        match number {
            libc::SYS_mremap => return Some(self.move_call(args)),
            libc::SYS_munmap
            | libc::SYS_mmap
            | libc::SYS_mprotect
            | libc::SYS_pkey_mprotect
            | libc::SYS_brk
            | libc::SYS_shmat
            | libc::SYS_shmdt => {}
            _ => return None,
        }
        let mut tables = self.process.tables.lock();
        let now = match number {
            libc::SYS_brk => the_break(),
            _ => 0,
        };
        let gone = match number {
            libc::SYS_munmap => area(a, b),
            libc::SYS_mmap if d as i32 & libc::MAP_FIXED != 0 => area(a, b),
            libc::SYS_brk => shrunk(now, a),
            libc::SYS_shmdt => maps::find(a).ok().flatten().map(|m| m.range),
            _ => None,
        };
        if let Some(range) = gone {
            self.process.view.clear(range);
        }
        let protected = matches!(number, libc::SYS_mprotect | libc::SYS_pkey_mprotect);
        if let Some(range) = area(a, b).filter(|_| protected) {
            self.process.view.forget(range);
        }
        // SAFETY: the program's own system call.
        let result = unsafe { sys::call(number as u64, args) };
        let new = match number {
            libc::SYS_mprotect if result == 0 => area(a, b),
            libc::SYS_mmap if result > 0 => area(result as u64, b),
            libc::SYS_brk => Some(Range::covering(now, result as u64)),
            _ => None,
        };
        let rights = match number {
            libc::SYS_brk => Some(Rights::RW),
            _ => rights(c),
        };
        if let (Some(range), Some(rights)) = (new, rights)
            && range.start < range.end
            && range.end - range.start <= AHEAD
            && range.end <= USER_END
        {
            // What fails here fails again when the memory is used.
            let _ = self.process.fill_under_lock(&mut tables, range, rights);
        }
        Some(result)
    }
}

/// What PROT_ flags allow, if they are nothing but that.
fn rights(protection: u64) -> Option<Rights> {
    let has = |flag: i32| protection & flag as u64 != 0;
    let known = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    (protection != 0 && protection & !known == 0).then_some(Rights {
        read: true,
        write: has(libc::PROT_WRITE),
        execute: has(libc::PROT_EXEC),
    })
}

impl Thread {
    /// mremap. The content stays what it was, and whether it was written is not known any more.
    fn move_call(&mut self, args: [u64; 6]) -> i64 {
        let [old, old_len, new_len, flags, new, _] = args;
        let lock = self.process.tables.lock();
        // The new place may be fixed too, and whatever is there then goes.
        if flags as i32 & libc::MREMAP_FIXED != 0
            && let Some(new) = area(new, new_len)
        {
            self.process.view.clear(new);
        }
        if let Some(old) = area(old, old_len) {
            self.process.view.clear(old);
        }
        // SAFETY: the program's own system call.
        let result = unsafe { sys::call(libc::SYS_mremap as u64, args) };
        drop(lock);
        if result > 0 {
            self.process.wrote(result as u64, new_len);
        } else {
            self.process.wrote(old, old_len);
        }
        result
    }
}

fn area(start: u64, len: u64) -> Option<Range> {
    let end = start.checked_add(len)?;
    start
        .is_multiple_of(PAGE)
        .then(|| Range::covering(start, end))
}

/// Where the break is now.
fn the_break() -> u64 {
    // SAFETY: a break of zero is refused, and the answer is the present one.
    unsafe { sys::call(libc::SYS_brk as u64, [0; 6]) as u64 }
}

/// What a smaller break gives back.
fn shrunk(now: u64, new: u64) -> Option<Range> {
    (new != 0 && new < now).then(|| Range::covering(new.next_multiple_of(PAGE), now))
}
