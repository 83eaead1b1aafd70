//! `syscall`: calls that give pointers to the kernel, or could block the stop signal, are looked at; all others go straight on.

use core::arch::{asm, naked_asm};
use core::ffi::c_long;

use super::{aio, shadow, uring};
use crate::{errno, signals};

/// `syscall`. Up to six arguments.
///
/// # Safety
/// As for the system call.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(_number: c_long) -> c_long {
    naked_asm!(
        "cmp rdi, {enter}",
        "je {looked_at}",
        "cmp rdi, {submit}",
        "je {looked_at}",
        "cmp rdi, {queue}",
        "je {looked_at}",
        "cmp rdi, {queue_thread}",
        "je {looked_at}",
        "cmp rdi, {timer}",
        "je {looked_at}",
        "cmp rdi, {mask}",
        "je {looked_at}",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "jmp {failed}",
        enter = const libc::SYS_io_uring_enter,
        submit = const libc::SYS_io_submit,
        queue = const libc::SYS_rt_sigqueueinfo,
        queue_thread = const libc::SYS_rt_tgsigqueueinfo,
        timer = const libc::SYS_timer_create,
        mask = const libc::SYS_rt_sigprocmask,
        looked_at = sym looked_at,
        failed = sym failed,
    )
}

/// Takes the arguments as `syscall` does: the last one may be whatever lies on the stack there.
unsafe extern "C" fn looked_at(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let mut b = b;
    let stripped;
    match number {
        libc::SYS_io_uring_enter => uring::note_all_rings(),
        // SAFETY: the caller's arguments: a count and that many control blocks.
        libc::SYS_io_submit => unsafe { aio::note(b as c_long, c as *const *const usize) },
        libc::SYS_rt_sigqueueinfo => note_info(c),
        libc::SYS_rt_tgsigqueueinfo => note_info(d),
        libc::SYS_timer_create if b != 0 && shadow::is_on() => {
            // SAFETY: the caller's sigevent, whose first word is the value.
            shadow::note(unsafe { *(b as *const usize) });
        }
        libc::SYS_rt_sigprocmask if b != 0 && d == 8 => {
            // SAFETY: the caller's set of 8 bytes.
            stripped = unsafe { *(b as *const u64) } & !(1 << (signals::stop_signal() - 1));
            b = (&raw const stripped) as usize;
        }
        _ => {}
    }
    let result: c_long;
    // SAFETY: the call that the program asked for, with its arguments; the set in its place lives through the call.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) {
        failed(result)
    } else {
        result
    }
}

/// `si_value` in a `siginfo_t`.
fn note_info(info: usize) {
    if info != 0 && shadow::is_on() {
        // SAFETY: the caller's siginfo; the value is its fourth word.
        shadow::note(unsafe { *(info as *const usize).add(3) });
    }
}

extern "C" fn failed(result: c_long) -> c_long {
    errno::set(-result as i32);
    -1
}
