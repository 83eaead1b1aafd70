//! The memory of one vCPU inside the guest.

use crate::arch::address::{PAGE, Range};
use crate::arch::segments::{Frame, Gdt, STACKS, TaskState, USER_CODE, USER_DATA};
use crate::error::Error;
use crate::monitor::stubs;
use crate::sys::Mapping;
use core::sync::atomic::AtomicU64;

/// Interrupt stack of exceptions other than the two below.
pub const EXCEPTION: u8 = 1;
/// Interrupt stack of page faults.
pub const PAGE_FAULT: u8 = 2;
/// Interrupt stack of system calls and calls to the run loop.
pub const CALL: u8 = 3;
/// Interrupt stack of what may arrive at any time: NMI, double fault, machine check.
pub const ANY_TIME: u8 = 4;

/// Bytes of the stack that handlers of the program run on, without its guard page.
pub const HANDLER_STACK: u64 = 128 << 10;
/// Bytes of the stack of the run loop, without its guard page.
const LOOP_STACK: u64 = 64 << 10;
/// Where an interrupt stack begins, below words of the thread's that `dune_upward` uses.
const TOP: u64 = PAGE - 64;

/// Tables and interrupt stacks, the stack of handlers, and (used outside of the guest only) the stack of the run loop.
pub struct Area {
    pages: Mapping,
    handlers: Mapping,
    run_loop: Mapping,
}

#[repr(C)]
struct First {
    gdt: Gdt,
    task: TaskState,
}

impl Area {
    /// Memory with everything in its place.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Area, Error> {
        let area = Area {
            pages: Mapping::new(PAGE * (1 + STACKS as u64))?,
            handlers: Mapping::new(PAGE + HANDLER_STACK)?,
            run_loop: Mapping::new(PAGE + LOOP_STACK)?,
        };
        area.handlers.guard()?;
        area.run_loop.guard()?;
        area.pages.populate(0, area.pages.len())?;
        area.handlers.populate(PAGE, HANDLER_STACK)?;
        let top = area.handlers.start() + area.handlers.len();
        let mut stacks = [0; STACKS];
        for (i, stack) in stacks.iter_mut().enumerate() {
            *stack = area.pages.start() + (1 + i as u64) * PAGE + TOP;
            // What an upward stub returns by: below the nine words that lie there then.
            let ready = Frame {
                rip: stubs::upward(),
                cs: USER_CODE.into(),
                rflags: 2,
                rsp: *stack - 72,
                ss: USER_DATA.into(),
            };
            // SAFETY: inside this fresh page, on word boundaries.
            unsafe {
                ((*stack - 72 - 40) as *mut Frame).write(ready);
                (*stack as *mut [u64; 2]).write([top, area.handlers.start() + PAGE + 256]);
            }
        }
        let first = First {
            gdt: Gdt::new(area.task()),
            task: TaskState::new(stacks),
        };
        // SAFETY: the first page holds both, and starts on a page boundary.
        unsafe { (area.pages.start() as *mut First).write(first) };
        Ok(area)
    }

    /// Address of the descriptor table.
    pub fn gdt(&self) -> u64 {
        self.pages.start()
    }

    /// Address of the task state.
    pub fn task(&self) -> u64 {
        self.pages.start() + core::mem::offset_of!(First, task) as u64
    }

    /// How many page faults `dune_upward` has dealt with.
    pub fn faults(&self) -> *const AtomicU64 {
        let at = self.pages.start() + u64::from(PAGE_FAULT) * PAGE + TOP + 40;
        at as *const AtomicU64
    }

    /// Top of the run loop's stack.
    pub fn loop_stack(&self) -> u64 {
        self.run_loop.start() + self.run_loop.len()
    }

    /// Writes a frame where stubs find it and returns its address.
    pub fn put_frame(&self, stack: u8, frame: Frame) -> u64 {
        let at = self.pages.start() + u64::from(stack) * PAGE + TOP - 40;
        // SAFETY: the top of an interrupt stack of this vCPU, which is not running.
        unsafe { (at as *mut Frame).write(frame) };
        at
    }

    /// What must be present in the guest at any time.
    pub fn ranges(&self) -> [Range; 2] {
        let handlers = self.handlers.start() + PAGE;
        [
            Range::covering(self.pages.start(), self.pages.start() + self.pages.len()),
            Range::covering(handlers, handlers + HANDLER_STACK),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_inside_and_ready() {
        let area = Area::new().expect("memory");
        let [pages, handlers] = area.ranges();
        assert!(pages.contains(area.task()) && area.task().is_multiple_of(8));
        for stack in 1..=STACKS as u8 {
            let at = area.put_frame(stack, Frame::user(1, 2, 3));
            assert!(pages.contains(at) && pages.contains(at + 39));
            // SAFETY: written by `Area::new`, 72 + 40 bytes below the top, where `put_frame` wrote the first 40.
            let ready = unsafe { ((at + 40 - 72 - 40) as *const Frame).read() };
            assert_eq!((ready.rip, ready.rsp), (stubs::upward(), at + 40 - 72));
            // SAFETY: the two words above the stack.
            let [top, low] = unsafe { ((at + 40) as *const [u64; 2]).read() };
            assert!(handlers.contains(low) && handlers.end == top);
        }
    }
}
