//! Signals by raw system call: no errno, and no interposed libc function in between.
use super::raw::{Errno, check, syscall, syscall6};
use core::ffi::c_void;

/// The kernel's 64-bit signal set: bit `n - 1` is signal `n`.
pub type SigSet = u64;

/// The set that holds `sig`.
pub const fn bit(sig: i32) -> SigSet {
    1 << (sig - 1)
}

/// A handler with SA_SIGINFO.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct KernelSigaction {
    /// Function address, SIG_DFL or SIG_IGN.
    pub handler: usize,
    /// SA_… flags.
    pub flags: u64,
    /// Address of the code that calls rt_sigreturn.
    pub restorer: usize,
    /// Signals blocked while the handler runs.
    pub mask: SigSet,
}

const SA_RESTORER: u64 = 0x0400_0000;

/// Byte for byte what debuggers and unwinders recognise as a signal trampoline.
#[unsafe(naked)]
extern "C" fn restore_rt() {
    core::arch::naked_asm!("mov rax, 15", "syscall")
}

/// Reads the disposition of `sig`.
pub fn disposition(sig: i32) -> Result<KernelSigaction, Errno> {
    let mut old = KernelSigaction::default();
    // SAFETY: `old` has the kernel's layout and is valid for writing.
    unsafe { syscall!(libc::SYS_rt_sigaction, sig, 0, &raw mut old, 8) }?;
    Ok(old)
}

/// Installs `handler` for `sig`: SA_SIGINFO, SA_RESTART, SA_ONSTACK, every signal blocked while it runs.
pub fn install(sig: i32, handler: Handler) -> Result<(), Errno> {
    let flags = (libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK) as u64 | SA_RESTORER;
    let new = KernelSigaction {
        handler: handler as usize,
        flags,
        restorer: restore_rt as *const () as usize,
        mask: !0,
    };
    // SAFETY: the structure has the kernel's layout; handler and restorer are functions of this image with the right signature.
    unsafe { syscall!(libc::SYS_rt_sigaction, sig, &raw const new, 0, 8) }.map(drop)
}

/// Gives `sig` its default action.
pub fn set_default(sig: i32) -> Result<(), Errno> {
    let new = KernelSigaction::default();
    // SAFETY: the structure has the kernel's layout; all-zero is SIG_DFL without flags.
    unsafe { syscall!(libc::SYS_rt_sigaction, sig, &raw const new, 0, 8) }.map(drop)
}

/// This thread's signal mask.
pub fn mask() -> SigSet {
    let mut old: SigSet = 0;
    // SAFETY: no new set; the old one is valid and the size is that of the kernel's sigset.
    let _ = unsafe {
        syscall!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            0,
            &raw mut old,
            8
        )
    };
    old
}

/// Sets this thread's signal mask and returns the former one.
pub fn set_mask(mask: SigSet) -> SigSet {
    let mut old: SigSet = 0;
    // SAFETY: both sets are eight bytes, as the last argument says; the call cannot fail with valid pointers.
    let _ = unsafe {
        syscall!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            8
        )
    };
    old
}

/// Queues `sig` with `value` for one thread. EAGAIN: the limit of queued signals (RLIMIT_SIGPENDING) is reached; ESRCH: gone.
pub fn queue(pid: i32, tid: i32, sig: i32, value: u64) -> Result<(), Errno> {
    /// The head of the kernel's siginfo for SI_QUEUE, padded to its 128 bytes.
    #[repr(C)]
    struct Info {
        signo: i32,
        errno: i32,
        code: i32,
        pad: i32,
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    const { assert!(size_of::<Info>() == 128) };
    let info = Info {
        signo: sig,
        errno: 0,
        code: libc::SI_QUEUE,
        pad: 0,
        pid,
        uid: 0,
        value,
        rest: [0; 12],
    };
    // SAFETY: `info` is a complete siginfo.
    unsafe { syscall!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, &raw const info) }.map(drop)
}

/// Whether thread `tid` of process `pid` still exists (a zombie does).
pub fn thread_exists(pid: i32, tid: i32) -> bool {
    // SAFETY: signal 0 only checks.
    let sent = unsafe { syscall!(libc::SYS_tgkill, pid, tid, 0) };
    sent != Err(Errno(libc::ESRCH))
}

/// This thread's alternate signal stack as (start, end) and whether it runs on it; None if it has none.
pub fn alt_stack() -> Option<(usize, usize, bool)> {
    let mut st = libc::stack_t {
        ss_sp: core::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: `st` is a valid out pointer, the new stack is null: a query.
    check(unsafe { syscall6(libc::SYS_sigaltstack, [0, &raw mut st as usize, 0, 0, 0, 0]) })
        .ok()?;
    let lo = st.ss_sp as usize;
    (st.ss_flags & libc::SS_DISABLE == 0)
        .then(|| (lo, lo + st.ss_size, st.ss_flags & libc::SS_ONSTACK != 0))
}
