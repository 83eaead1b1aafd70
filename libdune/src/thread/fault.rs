//! Faults that are no faults of the program: pages that the guest's tables do not know yet, or know with other rights.

use super::Thread;
use crate::arch::address::{PAGE, Range, USER_END, span};
use crate::arch::pte::{Entry, Rights};
use crate::error::Error;
use crate::maps;
use crate::stats::count;
use crate::sys;
use crate::trap::{FETCH, WRITE};

impl Thread {
    /// Repairs the tables for a page fault, if the process may do what the guest tried.
    pub(super) fn repair(&mut self, address: u64, error: u64) -> bool {
        if address >= USER_END {
            return false;
        }
        let entry = self.process.view.entry(address);
        if error & WRITE != 0 && entry.is_some_and(Entry::let_write) {
            return true;
        }
        if entry.is_some_and(|e| e.load().held()) {
            return false;
        }
        let allowed = |rights: Rights| match error {
            e if e & FETCH != 0 => rights.execute,
            e if e & WRITE != 0 => rights.write,
            _ => rights.read || rights.write,
        };
        match find(address) {
            Some(area) if allowed(area.rights) => {
                // All that one leaf table holds of the mapping: the next pages will be wanted too.
                let block = Range::block(address, span(2));
                let range = block.intersection(area.range).unwrap_or(block);
                count(&self.process.counters.fills);
                self.process.fill(range, area.rights).is_ok()
            }
            _ => false,
        }
    }

    /// Fills the tables for all mappings in a range; negative error number if there is no memory.
    pub(super) fn map(&mut self, start: u64, end: u64) -> i64 {
        match self.process.fill_mapped(Range::covering(start, end)) {
            Ok(()) => 0,
            Err(Error::System(_, errno)) => -i64::from(errno),
            Err(_) => -i64::from(libc::ENOMEM),
        }
    }
}

/// The mapping that holds an address. The first thread's stack is grown if the address lies below it within its limit.
fn find(address: u64) -> Option<maps::Area> {
    let area = maps::find(address).ok()??;
    if area.range.contains(address) {
        return Some(area);
    }
    if area.stack && area.range.end - address <= stack_limit() {
        grow(address);
        return maps::find(address)
            .ok()?
            .filter(|a| a.range.contains(address));
    }
    None
}

/// Has the kernel grow the stack down to an address if it may, as for an access of the program's: it reads an action from there, for a signal that can have
/// none. Where the stack may not grow, the call fails; an access would be a signal of the run loop's own.
fn grow(address: u64) {
    let args = [
        libc::SIGKILL as u64,
        address & !(PAGE - 1),
        0,
        size_of::<u64>() as u64,
        0,
        0,
    ];
    // SAFETY: reads, and changes nothing, because the action of SIGKILL cannot be changed.
    unsafe { sys::call(libc::SYS_rt_sigaction as u64, args) };
}

fn stack_limit() -> u64 {
    let mut limit = [0u64; 2];
    let args = [
        libc::RLIMIT_STACK.into(),
        (&raw mut limit) as u64,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: writes two words.
    unsafe { sys::call(libc::SYS_getrlimit as u64, args) };
    limit[0]
}
