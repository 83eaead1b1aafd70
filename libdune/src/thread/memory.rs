//! System calls that change mappings. The tables forget the addresses before the call, under the lock that a repair takes too, so that no repair fills
//! them from what was there before. A translation that a TLB holds is flushed by the kernel itself: it takes the memory away from the guest when it changes
//! the mapping.

use super::Thread;
use crate::arch::address::{PAGE, Range};
use crate::maps;
use crate::sys;

impl Thread {
    /// Executes a system call that may change mappings; `None` if it is another one.
    pub(super) fn memory_call(&mut self, number: i64, args: [u64; 6]) -> Option<i64> {
        let [a, b, _, d, ..] = args;
        let gone = match number {
            libc::SYS_munmap => area(a, b),
            libc::SYS_mmap if d as i32 & libc::MAP_FIXED != 0 => area(a, b),
            libc::SYS_mmap | libc::SYS_shmat => None,
            libc::SYS_mremap => return Some(self.move_call(args)),
            libc::SYS_brk => shrunk(a),
            libc::SYS_shmdt => maps::find(a).ok().flatten().map(|m| m.range),
            libc::SYS_mprotect | libc::SYS_pkey_mprotect => {
                let _lock = self.process.tables.lock();
                if let Some(range) = area(a, b) {
                    self.process.view.forget(range);
                }
                // SAFETY: the program's own system call.
                return Some(unsafe { sys::call(number as u64, args) });
            }
            _ => return None,
        };
        let _lock = self.process.tables.lock();
        if let Some(range) = gone {
            self.process.view.clear(range);
        }
        // SAFETY: the program's own system call.
        Some(unsafe { sys::call(number as u64, args) })
    }
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

/// What a smaller break gives back.
fn shrunk(new: u64) -> Option<Range> {
    // SAFETY: a break of zero is refused, and the answer is the present one.
    let now = unsafe { sys::call(libc::SYS_brk as u64, [0; 6]) } as u64;
    (new != 0 && new < now).then(|| Range::covering(new.next_multiple_of(PAGE), now))
}
