//! Calls into the collector that leave no copies of the program's registers on the stack.
//!
//! Functions save the preserved registers in their frames, and what is saved stays in memory when they have returned. The program's next
//! frames lie over it, with slots that they do not write, and so a reference that is long gone is a root again: each of many calls at a
//! different depth of a recursion may keep another dead tree. Boehm's collector clears a part of the stack now and then for that reason
//! (`GC_clear_stack`); here the slow paths have nothing to leave behind.

/// Defines `$name`, which calls `$inner`, an `extern "C"` function of at most six integers or pointers, with the preserved registers cleared. What
/// they held lies meanwhile in the frame of `$name`, where a stop finds it, and is wiped at the end.
#[macro_export]
#[doc(hidden)]
macro_rules! registers_aside {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $t:ty),*) -> $r:ty = $inner:path) => {
        $(#[$meta])*
        #[unsafe(naked)]
        $vis extern "C" fn $name($($arg: $t),*) -> $r {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "push rbx",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset rbx, 0",
                "push rbp",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset rbp, 0",
                "push r12",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset r12, 0",
                "push r13",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset r13, 0",
                "push r14",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset r14, 0",
                "push r15",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset r15, 0",
                // 56 bytes with the return address: the stack is 16-byte aligned at the call.
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "xor ebx, ebx",
                "xor ebp, ebp",
                "xor r12d, r12d",
                "xor r13d, r13d",
                "xor r14d, r14d",
                "xor r15d, r15d",
                "call {inner}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "pop r15",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore r15",
                "pop r14",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore r14",
                "pop r13",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore r13",
                "pop r12",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore r12",
                "pop rbp",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore rbp",
                "pop rbx",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_restore rbx",
                // In the red zone, so that no signal handler's frame lies there.
                "mov qword ptr [rsp - 8], 0",
                "mov qword ptr [rsp - 16], 0",
                "mov qword ptr [rsp - 24], 0",
                "mov qword ptr [rsp - 32], 0",
                "mov qword ptr [rsp - 40], 0",
                "mov qword ptr [rsp - 48], 0",
                "ret",
                ".cfi_endproc",
                inner = sym $inner,
            )
        }
    };
}

/// Bytes that [`wipe`] clears behind a collection.
pub const COLLECTION: usize = 4096;
/// Bytes that [`wipe`] clears behind the frames that lead to a collection on a stack of its own.
pub const ENTRY: usize = 512;

/// Clears `bytes`, a multiple of 8, of the unused stack below the caller's frame, where a collection left addresses of objects.
#[inline(never)]
pub fn wipe(bytes: usize) {
    // SAFETY: the memory below the stack pointer belongs to nobody, and was in use before, as far as a collection goes; the compiler
    // keeps nothing there, because the block may use the stack.
    unsafe {
        core::arch::asm!(
            "mov rdi, rsp",
            "sub rdi, rdx",
            "rep stosq",
            inout("rcx") bytes / 8 => _,
            inout("rdx") bytes => _,
            inout("rax") 0usize => _,
            out("rdi") _,
        );
    }
}

#[cfg(test)]
mod tests {
    use core::hint::black_box;

    extern "C" fn sum(a: usize, b: usize) -> usize {
        let mut deep = [0usize; 16];
        black_box(&mut deep)[3] = a;
        deep[3] + b
    }

    registers_aside! {
        fn sum_aside(a: usize, b: usize) -> usize = sum
    }

    #[test]
    fn registers_come_back_and_leave_nothing() {
        const SECRET: usize = 0x5ec2_e750_0000_1234;
        let (result, left, kept): (usize, usize, usize);
        // SAFETY: the preserved registers are saved and restored around the call, the stack is realigned and restored.
        unsafe {
            core::arch::asm!(
                "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
                "mov rax, rsp", "and rsp, -16", "push rax", "push rax",
                "mov rbx, {s}", "mov rbp, rbx", "mov r12, rbx", "mov r13, rbx", "mov r14, rbx", "mov r15, rbx",
                "call {f}",
                // How many registers came back.
                "xor ecx, ecx", "xor edx, edx",
                "mov rsi, {s}",
                "cmp rbx, rsi", "sete dl", "add rcx, rdx",
                "cmp rbp, rsi", "sete dl", "add rcx, rdx",
                "cmp r12, rsi", "sete dl", "add rcx, rdx",
                "cmp r13, rsi", "sete dl", "add rcx, rdx",
                "cmp r14, rsi", "sete dl", "add rcx, rdx",
                "cmp r15, rsi", "sete dl", "add rcx, rdx",
                // How many words below the stack pointer are copies.
                "xor r8d, r8d", "lea rdi, [rsp - 1024]",
                "2:", "cmp [rdi], rsi", "sete dl", "add r8, rdx", "add rdi, 8", "cmp rdi, rsp", "jne 2b",
                "pop rsp",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
                f = sym sum_aside, s = const SECRET,
                inout("rdi") 30usize => _, inout("rsi") 12usize => _, lateout("rax") result, lateout("rcx") kept, lateout("r8") left,
                out("rdx") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        assert_eq!((result, kept, left), (42, 6, 0));
    }

    #[test]
    fn wiping_clears_what_a_call_left() {
        #[inline(never)]
        fn leave(secret: usize) -> usize {
            black_box(&mut [secret; 64]).as_ptr() as usize
        }
        let at = leave(black_box(0x5ec2_e750_0000_4321));
        super::wipe(super::COLLECTION);
        // SAFETY: the stack below is mapped; nothing but a call of a frame without that word came since.
        let words = (0..64).map(|i| unsafe { (at as *const usize).add(i).read_volatile() });
        assert_eq!(words.filter(|&w| w == 0x5ec2_e750_0000_4321).count(), 0);
    }
}
