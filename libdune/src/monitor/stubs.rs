//! The code that runs at CPL 0, and the ways in and out of the guest.
//!
//! An *exit stub* halts: the run loop finds the vector from the address of the HLT and the frame on the interrupt stack, changes either, and goes on
//! behind the HLT with IRETQ. An *upward stub* hands an exception to code at CPL 3 in the guest, without an exit: it adds vector, RAX and CR2 to
//! the frame and returns by a second frame that lies ready below. From there `dune_upward` moves everything to the thread's handler stack, so that
//! handlers may fault themselves, and calls [`crate::trap::dispatch`].
//!
//! Two sorts of page fault need no handler, and never leave the interrupt stack. A write to a page whose right to write was taken to learn of it
//! ([`crate::arch::pte::Entry::watch`]) gets the right back. What is left is a page that the tables do not know; if the program has no handler, the run loop
//! is asked to repair it ([`crate::call::Call::Fault`]).

use crate::arch::pte::WATCHED;
use crate::arch::segments::WITH_ERROR_CODE;
use crate::call::Call;
use core::arch::global_asm;

/// Bytes from one stub to the next.
pub const STRIDE: u64 = 16;
/// Index of the exit stub of [`super::SYSTEM_CALL`].
pub const EXIT_SYSTEM_CALL: u64 = 32;
/// Index of the exit stub of [`super::CALL`].
pub const EXIT_CALL: u64 = 33;
/// Number of exit stubs.
const EXITS: u64 = 34;

global_asm!(
    ".pushsection .text.dune_monitor,\"ax\",@progbits",
    ".p2align 12",
    ".globl dune_monitor_start, dune_exits, dune_upwards, dune_system_call, dune_flush_all, dune_flush_pages",
    ".globl dune_resume, dune_system_call_int3, dune_system_call_int3_end, dune_call, dune_call_int3, dune_call_int3_end, dune_flush_resume, dune_upward, dune_fault_int3_end, dune_fault_flush_end, dune_monitor_end",
    ".hidden dune_monitor_start, dune_exits, dune_upwards, dune_system_call, dune_flush_all, dune_flush_pages",
    ".hidden dune_resume, dune_system_call_int3, dune_system_call_int3_end, dune_call, dune_call_int3, dune_call_int3_end, dune_flush_resume, dune_upward, dune_fault_int3_end, dune_fault_flush_end, dune_monitor_end",
    "dune_monitor_start:",
    "dune_exits:",
    ".set vector, 0",
    ".rept 34",
    ".p2align 4",
    "hlt",
    ".if ({errors} >> vector) & 1",
    "add rsp, 8",
    ".endif",
    "iretq",
    ".set vector, vector + 1",
    ".endr",
    ".p2align 4",
    "dune_upwards:",
    ".set vector, 0",
    ".rept 32",
    ".p2align 4",
    ".if (({errors} >> vector) & 1) == 0",
    "push 0",
    ".endif",
    "push vector",
    "push rax",
    "mov rax, cr2",
    "push rax",
    "sub rsp, 40",
    "iretq",
    ".set vector, vector + 1",
    ".endr",
    ".p2align 4",
    // Where LSTAR leads, and what the library calls: by a vector of its own, or by INT3 where INT does not reach the gates of the guest.
    "dune_system_call:",
    "int 0xd0",
    "ud2",
    "dune_system_call_int3:",
    "int3",
    "dune_system_call_int3_end:",
    "ud2",
    "dune_call:",
    "int 0xd1",
    "ret",
    "dune_call_int3:",
    "int3",
    "dune_call_int3_end:",
    "ret",
    "dune_flush_all:",
    "mov rax, cr3",
    "mov cr3, rax",
    "iretq",
    "dune_flush_pages:",
    "2: test rsi, rsi",
    "jz 3f",
    "mov rax, [rdi]",
    "invlpg [rax]",
    "add rdi, 8",
    "dec rsi",
    "jmp 2b",
    "3: iretq",
    "dune_flush_resume:",
    "push rax",
    "mov rax, cr3",
    "mov cr3, rax",
    "pop rax",
    "dune_resume:",
    "iretq",
    // At CPL 3 on the interrupt stack, where lie: CR2, RAX, vector, error, RIP, CS, RFLAGS, RSP, SS, then words of the thread's: top and lower
    // end of its handler stack, room for three registers, a count. Below lies the frame that the next upward stub needs, so nothing is pushed.
    "dune_upward:",
    "cmp qword ptr [rsp + 16], 14",
    "jne 3f",
    "mov [rsp + 88], rcx",
    "mov [rsp + 96], rdx",
    "mov [rsp + 104], rdi",
    // A store, and the page is present: RDI becomes the address of its entry.
    "mov eax, [rsp + 24]",
    "and eax, 19",
    "cmp eax, 3",
    "jne 8f",
    "mov rcx, [rsp]",
    "mov rax, rcx",
    "shr rax, 47",
    "jnz 8f",
    "mov rdi, [rip + {walk}]",
    ".irp shift, 39, 30, 21",
    "mov rax, rcx",
    "shr rax, \\shift",
    "and eax, 511",
    "mov rdi, [rdi + rax * 8]",
    "test dil, 1",
    "jz 8f",
    "and rdi, [rip + {walk} + 16]",
    "add rdi, [rip + {walk} + 8]",
    ".endr",
    "shr rcx, 12",
    "and ecx, 511",
    "lea rdi, [rdi + rcx * 8]",
    "mov rax, [rdi]",
    "2: bt rax, {watched}",
    "jnc 7f",
    "mov rdx, rax",
    "btr rdx, {watched}",
    "or rdx, 2",
    "lock cmpxchg [rdi], rdx",
    "jne 2b",
    "inc qword ptr [rsp + 112]",
    // The fault itself has flushed the page's translation on this CPU; on another one, an old translation at most leads here once more.
    "cmp byte ptr [rip + {full}], 0",
    "jne 5f",
    "4: mov rcx, [rsp + 88]",
    "mov rdx, [rsp + 96]",
    "mov rdi, [rsp + 104]",
    "mov rax, [rsp + 8]",
    "add rsp, 32",
    "iretq",
    // Everything is flushed if that was asked for.
    "5: cmp byte ptr [rip + {software}], 0",
    "je 6f",
    "int 0xd2",
    "jmp 4b",
    "6: mov eax, {flush}",
    "int3",
    "dune_fault_flush_end:",
    "jmp 4b",
    // Another thread was here first.
    "7: and eax, 3",
    "cmp eax, 3",
    "je 4b",
    "8: cmp qword ptr [rip + {handlers} + 14 * 8], 0",
    "jne 9f",
    "mov rdi, rsp",
    "mov eax, {fault}",
    "cmp byte ptr [rip + {software}], 0",
    "je 6f",
    "int 0xd1",
    "jmp 4b",
    "6: int3",
    "dune_fault_int3_end:",
    "jmp 4b",
    "9: mov rcx, [rsp + 88]",
    "mov rdx, [rsp + 96]",
    "mov rdi, [rsp + 104]",
    // To the program's handler. A fault while one runs goes below what is in use on its stack and below the red zone.
    "3: mov rax, [rsp + 56]",
    "sub rax, 128",
    "cmp rax, [rsp + 80]",
    "jbe 4f",
    "cmp rax, [rsp + 72]",
    "jbe 5f",
    "4: mov rax, [rsp + 72]",
    "5: and rax, -64",
    "xchg rax, rsp",
    "push qword ptr [rax + 64]",
    "push qword ptr [rax + 56]",
    "push qword ptr [rax + 48]",
    "push qword ptr [rax + 40]",
    "push qword ptr [rax + 32]",
    "push qword ptr [rax + 24]",
    "push qword ptr [rax + 16]",
    "push qword ptr [rax]",
    "push r15",
    "push r14",
    "push r13",
    "push r12",
    "push r11",
    "push r10",
    "push r9",
    "push r8",
    "push rbp",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rbx",
    "push qword ptr [rax + 8]",
    "cld",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "sub rsp, [rip + {size}]",
    "and rsp, -64",
    "xor eax, eax",
    "mov [rsp + 512], rax",
    "mov [rsp + 520], rax",
    "mov [rsp + 528], rax",
    "mov [rsp + 536], rax",
    "mov [rsp + 544], rax",
    "mov [rsp + 552], rax",
    "mov [rsp + 560], rax",
    "mov [rsp + 568], rax",
    "mov eax, [rip + {mask}]",
    "mov edx, [rip + {mask} + 4]",
    "xsave64 [rsp]",
    "call {dispatch}",
    "mov eax, [rip + {mask}]",
    "mov edx, [rip + {mask} + 4]",
    "xrstor64 [rsp]",
    "mov rsp, rbx",
    "pop rax",
    "pop rbx",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "pop rbp",
    "pop r8",
    "pop r9",
    "pop r10",
    "pop r11",
    "pop r12",
    "pop r13",
    "pop r14",
    "pop r15",
    "add rsp, 24",
    "iretq",
    "dune_monitor_end:",
    ".popsection",
    errors = const WITH_ERROR_CODE as u64,
    size = sym crate::trap::STATE_SIZE,
    mask = sym crate::trap::STATE_MASK,
    dispatch = sym crate::trap::dispatch,
    handlers = sym crate::trap::HANDLERS,
    walk = sym crate::trap::WALK,
    full = sym crate::trap::FULL_FLUSH,
    software = sym crate::call::SOFTWARE_INTERRUPTS,
    watched = const WATCHED.bits().trailing_zeros(),
    flush = const Call::Flush as u64,
    fault = const Call::Fault as u64,
);

// Into the guest: the program's callee-saved registers stay on its own stack, where the guest finds them again. The way out is `dune_return`: the kernel
// loads everything at once, blocked signals too, as behind a signal handler.
global_asm!(
    ".pushsection .text,\"ax\",@progbits",
    ".globl dune_enter",
    ".hidden dune_enter",
    // dune_enter(argument, stack, run): run(argument, rsp, rip) on that stack; does not return here outside of the guest.
    "dune_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rax, rsi",
    "mov rcx, rdx",
    "mov rsi, rsp",
    "lea rdx, [rip + 6f]",
    "mov rsp, rax",
    "xor ebp, ebp",
    "call rcx",
    "ud2",
    "6:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".popsection",
);

/// A label of the code above.
macro_rules! label {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {
        unsafe extern "C" { $(fn $symbol();)* }
        $($(#[$doc])* pub fn $name() -> u64 { $symbol as *const () as u64 })*
    };
}

label! {
    /// First byte of the code that runs inside the guest.
    start = dune_monitor_start;
    /// First byte behind it.
    end = dune_monitor_end;
    /// The first exit stub.
    exits = dune_exits;
    /// The first upward stub.
    upwards = dune_upwards;
    /// Where LSTAR leads.
    system_call = dune_system_call;
    /// The same by INT3.
    system_call_int3 = dune_system_call_int3;
    /// Behind that INT3.
    system_call_int3_end = dune_system_call_int3_end;
    /// Calls the run loop.
    call = dune_call;
    /// The same by INT3.
    call_int3 = dune_call_int3;
    /// Behind that INT3.
    call_int3_end = dune_call_int3_end;
    /// Flushes everything.
    flush_all = dune_flush_all;
    /// Flushes RSI pages whose addresses lie at RDI.
    flush_pages = dune_flush_pages;
    /// An IRETQ.
    resume = dune_resume;
    /// Flushes everything, then IRETQ.
    flush_resume = dune_flush_resume;
    /// Where upward stubs lead.
    upward = dune_upward;
    /// Behind the INT3 by which a page fault asks the run loop.
    fault_int3_end = dune_fault_int3_end;
    /// Behind the INT3 by which it flushes.
    fault_flush_end = dune_fault_flush_end;
}

unsafe extern "C" {
    /// Calls `run(argument, rsp, rip)` on `stack`; in the guest, code goes on at `rip` with `rsp`, which returns to the caller of this function.
    pub fn dune_enter(
        argument: *mut core::ffi::c_void,
        stack: u64,
        run: unsafe extern "C" fn(*mut core::ffi::c_void, u64, u64) -> !,
    );
    /// Goes on natively with what the context says.
    pub fn dune_return(context: *const crate::signal::frame::Context) -> !;
}

/// The exit stub of an index.
pub fn exit(index: u64) -> u64 {
    exits() + index * STRIDE
}

/// The upward stub of a vector.
pub fn upward_of(vector: u8) -> u64 {
    upwards() + u64::from(vector) * STRIDE
}

/// Whether an address lies in the code that runs inside the guest.
pub fn contains(rip: u64) -> bool {
    (start()..end()).contains(&rip)
}

/// Whether an address lies in the code that deals with exceptions at CPL 3: the program's registers are on an interrupt stack then.
pub fn in_upward(rip: u64) -> bool {
    (upward()..end()).contains(&rip)
}

/// Which exit stub has just halted, from the address behind the HLT.
pub fn exit_index(rip: u64) -> Option<u64> {
    let offset = rip.checked_sub(exits() + 1)?;
    (offset % STRIDE == 0 && offset / STRIDE < EXITS).then_some(offset / STRIDE)
}
