//! The handler that the kernel knows.

use super::action::{self, Action};
use super::frame::Context;
use super::note::Arrived;
use crate::sys;
use crate::thread::Thread;
use crate::tls;
use core::arch::global_asm;
use core::sync::atomic::{AtomicI32, Ordering::*};

/// The library's own signal; what it has to do, it does by interrupting a run.
pub static KICK: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" {
    fn dune_restorer();
    fn dune_safe_start();
    fn dune_safe_syscall();
    fn dune_safe_restart();
    /// Makes a system call unless the byte at `flag` is set or becomes set before the call begins: then, and if the kernel would make the call again,
    /// [`RESTART`].
    fn dune_call_safely(number: u64, args: &[u64; 6], flag: u64) -> i64;
}

/// The system call has not been made, or would be made again.
pub const RESTART: i64 = -512;

global_asm!(
    ".pushsection .text,\"ax\",@progbits",
    ".globl dune_restorer, dune_call_safely, dune_safe_start, dune_safe_syscall, dune_safe_restart, dune_return",
    ".hidden dune_restorer, dune_call_safely, dune_safe_start, dune_safe_syscall, dune_safe_restart, dune_return",
    "dune_restorer:",
    "mov eax, 15",
    "syscall",
    "dune_call_safely:",
    "mov rax, rdi",
    "mov r11, rsi",
    "mov rcx, rdx",
    "mov rdi, [r11]",
    "mov rsi, [r11 + 8]",
    "mov rdx, [r11 + 16]",
    "mov r10, [r11 + 24]",
    "mov r8, [r11 + 32]",
    "mov r9, [r11 + 40]",
    "dune_safe_start:",
    "cmp byte ptr [rcx], 0",
    "jne dune_safe_restart",
    "dune_safe_syscall:",
    "syscall",
    "ret",
    "dune_safe_restart:",
    "mov rax, -512",
    "ret",
    // dune_return(frame): goes on with what a signal frame says, its address behind that of the restorer.
    "dune_return:",
    "mov rsp, rdi",
    "mov eax, 15",
    "syscall",
    "ud2",
    ".popsection",
);

/// The shim's address.
pub fn address() -> u64 {
    shim as *const () as u64
}

/// Where it returns to.
pub fn restorer() -> u64 {
    dune_restorer as *const () as u64
}

/// Makes a system call of the program's that signals may interrupt.
///
/// # Safety
/// That of the system call. `flag` is the address of the calling thread's note.
pub unsafe fn call_safely(number: i64, args: [u64; 6], flag: u64) -> i64 {
    // SAFETY: passed on.
    unsafe { dune_call_safely(number as u64, &args, flag) }
}

extern "C" fn shim(signal: i32, info: *const [u64; 16], context: *mut Context) {
    if signal == KICK.load(Relaxed) {
        return;
    }
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO.
    let (context, info) = unsafe { (&mut *context, *info) };
    let arrived = Arrived {
        info,
        cause: context.cause,
    };
    // SAFETY: null, or this thread's record, which is never freed.
    if let Some(record) = unsafe { tls::get().as_ref() } {
        let safe = dune_safe_start as *const () as u64..=dune_safe_syscall as *const () as u64;
        if safe.contains(&context.rip) {
            context.rip = dune_safe_restart as *const () as u64;
        }
        // Nothing more until the run loop has dealt with this one.
        context.mask = !0;
        record.note.put(arrived);
        // If the vCPU is about to run, it comes back at once.
        record.kick();
        return;
    }
    let action = action::get(signal);
    if !action.is_handler() {
        return;
    }
    Thread::come_back(&arrived, context);
    run(signal, &action, &arrived, context);
}

/// Calls the program's handler as the kernel does.
fn run(signal: i32, action: &Action, arrived: &Arrived, context: &mut Context) {
    if action.has(libc::SA_RESETHAND) {
        action::reset(signal);
    }
    let mask = action.blocks(signal, context.mask);
    sys::block(libc::SIG_SETMASK, mask);
    // SAFETY: the program's handler, which takes these three or the first of them.
    let handler: extern "C" fn(i32, *const [u64; 16], *mut Context) =
        unsafe { core::mem::transmute(action.handler as *const ()) };
    handler(signal, &raw const arrived.info, context);
}
