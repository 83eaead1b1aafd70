//! New threads and processes.
//!
//! A child with memory of its own has no machine: it goes on natively. A child that shares memory starts on the run-loop stack of a record of its
//! own, because the system call returns there while its parent uses its own; a thread then enters the guest too (if [`crate::Config::follow`]), and a
//! vfork child goes on natively.

use super::{NOBODY, Thread};
use crate::arch::registers::{BASE_FLAGS, Registers, USER_FLAGS};
use crate::engine::Cpu;
use crate::signal::action;
use crate::signal::frame::AltStack;
use crate::sys;
use crate::tls;
use core::arch::global_asm;
use core::ffi::c_void;
use core::sync::atomic::Ordering::*;

/// The part of `struct clone_args` that is used here, and what may follow in later versions.
#[repr(C)]
#[derive(Clone, Copy)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    rest: [u64; 8],
}

const VM: u64 = libc::CLONE_VM as u64;
const VFORK: u64 = libc::CLONE_VFORK as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;
const SETTLS: u64 = libc::CLONE_SETTLS as u64;
const FILES: u64 = libc::CLONE_FILES as u64;

impl Thread {
    pub(super) fn clone_call(&mut self, number: i64, args: [u64; 6], r: &Registers) -> i64 {
        let mut request = CloneArgs {
            flags: args[0],
            pidfd: 0,
            child_tid: 0,
            parent_tid: 0,
            exit_signal: 0,
            stack: args[1],
            stack_size: 0,
            tls: 0,
            rest: [0; 8],
        };
        let mut args = args;
        let mut number = number;
        match number {
            libc::SYS_clone3 => {
                let size = args[1] as usize;
                if !(64..=size_of::<CloneArgs>()).contains(&size) {
                    // SAFETY: refused by the kernel, or of a version that is not known here, which the caller must do without.
                    return match unsafe { sys::call(number as u64, [0, args[1], 0, 0, 0, 0]) } {
                        0.. => -i64::from(libc::ENOSYS),
                        error => error,
                    };
                }
                // A bad address is found by the kernel, without harm to this process.
                let copied = copy_in(&raw mut request, args[0], size);
                if copied < 0 {
                    return copied;
                }
                args[0] = (&raw mut request) as u64;
            }
            libc::SYS_fork | libc::SYS_vfork => {
                let flags = if number == libc::SYS_vfork {
                    VM | VFORK
                } else {
                    0
                };
                (request.flags, request.stack) = (flags, 0);
                args = [flags | libc::SIGCHLD as u64, 0, 0, 0, 0, 0];
                number = libc::SYS_clone;
            }
            _ => {}
        }
        let stack = match (request.stack, number) {
            // SAFETY: the exit stub halts with RSP at the frame, which holds the program's stack pointer.
            (0, _) => unsafe { (*(r.rsp as *const crate::arch::segments::Frame)).rsp },
            (stack, libc::SYS_clone3) => stack.wrapping_add(request.stack_size),
            (stack, _) => stack,
        };
        let child = Registers {
            rax: 0,
            rip: r.rcx,
            rsp: stack,
            rflags: r.r11 & USER_FLAGS | BASE_FLAGS,
            ..*r
        };
        // A child has no vCPU to read from.
        if let Err(e) = self.cpu.state(&mut self.state) {
            self.die(e);
        }
        let flags = request.flags;
        self.keep_bases();
        let stack_at = |request: &mut CloneArgs, args: &mut [u64; 6], stack: u64, size: u64| {
            if number == libc::SYS_clone3 {
                (request.stack, request.stack_size) = (stack, size);
            } else {
                args[1] = stack + size;
            }
        };
        // The child is not disturbed before it can deal with signals.
        sys::block(libc::SIG_SETMASK, !0);
        if flags & VM == 0 {
            stack_at(&mut request, &mut args, 0, 0);
            // SAFETY: like fork: the child has a copy of this stack.
            let result = unsafe { sys::call(number as u64, args) };
            if result == 0 {
                // A signal that has arrived is the parent's.
                self.record.note.take();
                // Descriptors that are shared are its parent's still.
                if flags & FILES == 0 {
                    self.process.close_in_child();
                }
                if self.process.config.whole {
                    action::give_back();
                }
                self.leave(child);
            }
            self.bases = None;
            self.unblock();
            return result;
        }
        let bases = self.bases.take();
        let new = match Thread::find(self.process, NOBODY) {
            Ok(new) => new,
            // A program that knows nothing of vCPUs gets its thread, natively.
            // SAFETY: the exit stub halts with RSP at the frame, which holds the program's stack pointer.
            Err(_) if self.process.config.whole => self.end_with_call(r, unsafe {
                (*(r.rsp as *const crate::arch::segments::Frame)).rsp
            }),
            Err(_) => {
                self.unblock();
                return -i64::from(libc::EAGAIN);
            }
        };
        new.native = child;
        new.state.0 = self.state.0;
        new.mask = self.mask;
        new.alt = if flags & VFORK != 0 {
            self.alt
        } else {
            AltStack::NONE
        };
        new.restartable = 0;
        // With a base of its own, the kernel has set that.
        new.bases = bases.filter(|_| flags & SETTLS == 0);
        let record = new.record;
        let start = if flags & THREAD != 0 {
            start_thread
        } else {
            start_native
        };
        let stack = new.area.loop_stack() - 64;
        let thread = core::ptr::from_mut(new).cast::<c_void>();
        // SAFETY: the top of a stack that nobody uses.
        unsafe { (stack as *mut [u64; 2]).write([thread as u64, start as *const () as u64]) };
        stack_at(&mut request, &mut args, stack - 4096, 4096);
        // SAFETY: the child starts on the new record's stack, with the function and argument that lie there.
        let result = unsafe { dune_clone(number as u64, &args) };
        // A vfork child has used the parent's thread-local storage.
        tls::set(self.record);
        if result < 0 || flags & VFORK != 0 {
            // SAFETY: the child, if there was one, does not use it any more.
            unsafe { &mut *record.thread }.is_back();
            record.owner.store(0, Release);
        }
        self.unblock();
        result
    }
}

/// Reads the program's memory; negative: an error number.
fn copy_in(to: *mut CloneArgs, from: u64, len: usize) -> i64 {
    let local = [to as u64, len as u64];
    let remote = [from, len as u64];
    let args = [
        sys::process_id() as u64,
        (&raw const local) as u64,
        1,
        (&raw const remote) as u64,
        1,
        0,
    ];
    // SAFETY: the local structure is at least as long; the kernel checks the other address.
    match unsafe { sys::call(libc::SYS_process_vm_readv as u64, args) } {
        n if n == len as i64 => 0,
        n if n < 0 => n,
        _ => -i64::from(libc::EFAULT),
    }
}

unsafe extern "C" fn start_thread(thread: *mut c_void) -> ! {
    // SAFETY: `clone_call` passes a record that it has reserved for this thread.
    let thread = unsafe { &mut *thread.cast::<Thread>() };
    thread.record.owner.store(sys::thread_id(), Release);
    let registers = thread.native;
    thread.take_bases();
    let entered = thread.process.config.follow
        && thread.adopt().is_ok()
        && thread.cpu.set_state(&thread.state).is_ok();
    if !entered {
        thread.leave(registers);
    }
    tls::set(thread.record);
    thread.set_mask(thread.mask);
    thread.start(registers)
}

unsafe extern "C" fn start_native(thread: *mut c_void) -> ! {
    // SAFETY: as above.
    let thread = unsafe { &mut *thread.cast::<Thread>() };
    let registers = thread.native;
    thread.leave(registers)
}

unsafe extern "C" {
    /// A system call that may return a second time, on a new stack, where a function and its argument lie.
    fn dune_clone(number: u64, args: &[u64; 6]) -> i64;
}

global_asm!(
    ".pushsection .text,\"ax\",@progbits",
    ".globl dune_clone",
    ".hidden dune_clone",
    "dune_clone:",
    "mov rax, rdi",
    "mov r11, rsi",
    "mov rdi, [r11]",
    "mov rsi, [r11 + 8]",
    "mov rdx, [r11 + 16]",
    "mov r10, [r11 + 24]",
    "mov r8, [r11 + 32]",
    "mov r9, [r11 + 40]",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "ret",
    "2:",
    "pop rdi",
    "pop rax",
    "xor ebp, ebp",
    "call rax",
    "ud2",
    ".popsection",
);
