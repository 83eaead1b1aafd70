//! The calling thread's own registers.
use core::ffi::c_void;
use core::mem::MaybeUninit;

/// The registers that a function must preserve (System V ABI), at one moment, and the stack pointer of the caller.
/// All others, vector registers too, are in the caller's frame if it still needs them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// r15, r14, r13, r12, rbp, rbx.
    pub saved: [usize; 6],
    /// Address of the lowest word of the stack in use.
    pub sp: usize,
}

impl Registers {
    /// Of no thread.
    pub const NONE: Registers = Registers {
        saved: [0; 6],
        sp: 0,
    };
}

/// Pushes the preserved registers and calls `f(data, registers)`.
#[unsafe(naked)]
extern "C" fn spill_and_call(data: *mut c_void, f: extern "C" fn(*mut c_void, *const Registers)) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "lea rax, [rsp]",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        "mov rax, rsi",
        "mov rsi, rsp",
        // 72 bytes and the return address: the stack is 16-byte aligned at the call.
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call rax",
        "add rsp, 72",
        ".cfi_adjust_cfa_offset -72",
        "ret",
        ".cfi_endproc",
    )
}

/// Calls `f` with the callee-saved registers as they are here, also lying on the stack while `f` runs: everything that
/// the calling thread's frames hold is then at `[sp, stack end)` or in `saved`.
#[inline(always)]
pub fn with_spilled_registers<R, F: FnOnce(&Registers) -> R>(f: F) -> R {
    struct Job<F, R> {
        f: MaybeUninit<F>,
        r: MaybeUninit<R>,
    }
    extern "C" fn run<R, F: FnOnce(&Registers) -> R>(data: *mut c_void, regs: *const Registers) {
        // SAFETY: `data` is the `Job` below, alive and borrowed by nobody else; `f` is initialised and read once.
        unsafe {
            let job = &mut *data.cast::<Job<F, R>>();
            job.r.write((job.f.assume_init_read())(&*regs));
        }
    }
    let mut job = Job {
        f: MaybeUninit::new(f),
        r: MaybeUninit::<R>::uninit(),
    };
    spill_and_call((&raw mut job).cast(), run::<R, F>);
    // SAFETY: `run` wrote the result.
    unsafe { job.r.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callee_saved_registers_are_seen_and_the_result_comes_back() {
        extern "C" fn look(_: *mut c_void, r: *const Registers) {
            // SAFETY: spill_and_call passes its own array.
            let r = unsafe { &*r };
            assert_eq!(
                [r.saved[0], r.saved[1], r.saved[2], r.saved[3]],
                [0x15, 0x14, 0x13, 0x12]
            );
            assert_eq!(r.sp % 16, 8, "sp points at the return address");
            let here = 0u8;
            assert_eq!(r as *const _ as usize % 8, 0);
            assert!((&raw const here as usize) < r.sp && r.sp - (&raw const here as usize) < 4096);
        }
        // SAFETY: the registers are saved and restored around the call, the stack is realigned and restored.
        unsafe {
            core::arch::asm!(
                "push r12", "push r13", "push r14", "push r15", "push rbx", "mov rbx, rsp", "and rsp, -16",
                "mov r15, 0x15", "mov r14, 0x14", "mov r13, 0x13", "mov r12, 0x12",
                "call {f}", "mov rsp, rbx", "pop rbx", "pop r15", "pop r14", "pop r13", "pop r12",
                f = sym spill_and_call, in("rsi") look as *const (), in("rdi") 0usize, clobber_abi("C"),
            );
        }
        let s = std::string::String::from("x");
        assert_eq!(
            with_spilled_registers(|r| s + if r.sp != 0 { "y" } else { "" }),
            "xy"
        );
    }
}
