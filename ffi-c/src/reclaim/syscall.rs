//! `syscall`: calls that give pointers to the kernel, or could block the stop signal, are looked at; all others go straight on.

use core::arch::naked_asm;
use core::ffi::c_long;

use super::{aio, shadow, uring};
use crate::{errno, kernel_writes, signals};
use gc::dirty::{in_kernel, segv};
use gc::raw;
use gc::sys::signal::KernelSigaction;

/// `syscall`. Up to six arguments.
///
/// # Safety
/// As for the system call.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(_number: c_long) -> c_long {
    naked_asm!(
        "cmp byte ptr [rip + {announced}], 0",
        "je 3f",
        // These return twice, perhaps with no stack that could be returned on to a function of ours.
        "cmp rdi, {clone}",
        "je {straight}",
        "cmp rdi, {clone3}",
        "je {straight}",
        "cmp rdi, {vfork}",
        "je {straight}",
        "jmp {looked_at}",
        "3:",
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
        "cmp rdi, {seccomp}",
        "je {looked_at}",
        "jmp {straight}",
        announced = sym kernel_writes::ANNOUNCED,
        clone = const libc::SYS_clone,
        clone3 = const libc::SYS_clone3,
        vfork = const libc::SYS_vfork,
        enter = const libc::SYS_io_uring_enter,
        submit = const libc::SYS_io_submit,
        queue = const libc::SYS_rt_sigqueueinfo,
        queue_thread = const libc::SYS_rt_tgsigqueueinfo,
        timer = const libc::SYS_timer_create,
        mask = const libc::SYS_rt_sigprocmask,
        seccomp = const libc::SYS_seccomp,
        looked_at = sym looked_at,
        straight = sym straight,
    )
}

/// The system call, whatever it is; its arguments lie where `syscall` found them.
#[unsafe(naked)]
unsafe extern "C" fn straight(
    _number: c_long,
    _a: usize,
    _b: usize,
    _c: usize,
    _d: usize,
    _e: usize,
    _f: usize,
) -> c_long {
    naked_asm!(
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
        libc::SYS_seccomp => {
            // SAFETY: the caller's arguments.
            return raw::while_filters_change(|| unsafe { straight(number, a, b, c, d, e, f) });
        }
        libc::SYS_rt_sigqueueinfo => note_info(c),
        libc::SYS_rt_tgsigqueueinfo => note_info(d),
        libc::SYS_timer_create if b != 0 && shadow::is_on() => {
            // SAFETY: the caller's sigevent, whose first word is the value.
            shadow::note(unsafe { *(b as *const usize) });
        }
        libc::SYS_rt_sigprocmask if b != 0 && d == 8 => {
            // SAFETY: the caller's set of 8 bytes.
            stripped = unsafe { *(b as *const u64) } & !signals::never_blocked();
            b = (&raw const stripped) as usize;
        }
        libc::SYS_rt_sigaction
            if a == libc::SIGSEGV as usize && in_kernel::is_needed() && d == 8 =>
        {
            let mut result = 0;
            // SAFETY: null or the caller's action, in the kernel's layout.
            let new = unsafe { (b as *const KernelSigaction).as_ref() };
            // SAFETY: the caller's arguments.
            let pass_on = || result = unsafe { straight(number, a, b, c, d, e, f) };
            let Some(was) = segv::change(new, pass_on) else {
                return result;
            };
            if c != 0 {
                // SAFETY: the caller's room for an action.
                unsafe { (c as *mut KernelSigaction).write(was) };
            }
            return 0;
        }
        _ => {}
    }
    let places = [a, b, c, d, e, f];
    // SAFETY: the caller's arguments; the set in its place lives through the call.
    let call = || unsafe { straight(number, a, b, c, d, e, f) };
    kernel_writes::with_arguments(number, &places, call)
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
