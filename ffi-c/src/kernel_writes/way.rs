//! Where the calls of an interposed function go: straight to the next definition, or through what announces them. A call that goes
//! straight finds registers, stack and errno as they were, and no frame of ours in the way of a cancellation or a longjmp.

use core::arch::naked_asm;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use gc::dirty::in_kernel;

use super::missing;
use crate::next::lookup;

/// A function's way. The first field is what the function jumps to.
#[repr(C)]
pub struct Way {
    to: AtomicPtr<()>,
    next: AtomicPtr<()>,
    announced: *const (),
    name: &'static CStr,
}

// SAFETY: `announced` is never written, and points to code.
unsafe impl Sync for Way {}

impl Way {
    /// As long as nothing is decided, calls go to `undecided`.
    ///
    /// # Safety
    /// `announced` is the address of a function that takes and returns what the one called `name` does, and calls [`Way::next`]; `undecided`
    /// of code that jumps to [`decide`] with the address of this in R11.
    pub const unsafe fn new(
        name: &'static CStr,
        undecided: *const (),
        announced: *const (),
    ) -> Way {
        Way {
            to: AtomicPtr::new(undecided.cast_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            announced,
            name,
        }
    }

    /// The next definition. For what announces calls, which come there only when it is known.
    pub fn next(&self) -> *const () {
        self.next.load(Ordering::Relaxed)
    }

    /// Finds the next definition and decides. Racing threads do the same.
    fn decide(&self) -> *const () {
        let next = lookup(libc::RTLD_NEXT, self.name).cast::<()>();
        let to = if next.is_null() {
            missing as *const ()
        } else if in_kernel::is_needed() {
            self.announced
        } else {
            next.cast_const()
        };
        self.next.store(next, Ordering::Relaxed);
        // Who finds the way finds the next definition too.
        self.to.store(to.cast_mut(), Ordering::Release);
        to
    }
}

/// Decides for functions that are not called yet.
pub fn decide_all<'a>(ways: impl Iterator<Item = &'a &'static Way>) {
    let mut all_found = true;
    for way in ways {
        way.decide();
        all_found &= !way.next().is_null();
    }
    if !all_found {
        // SAFETY: no preconditions. The program shall not find our failure.
        unsafe { libc::dlerror() };
    }
}

extern "C" fn decided(way: &Way) -> *const () {
    way.decide()
}

/// The first call of a function: decides and goes on to where the call is to go, with all arguments.
#[unsafe(naked)]
pub unsafe extern "C" fn decide() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rax",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push r10",
        "mov rdi, r11",
        "call {decided}",
        "mov r11, rax",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rax",
        "pop rbp",
        "jmp r11",
        decided = sym decided,
    )
}
