//! USDT probes: a `nop` in the code and a note in the file, in the format of SystemTap's SDT, version 3, which perf, bpftrace,
//! gdb and SystemTap read. An attached tracer puts a breakpoint on the `nop`.
//!
//! The note (section `.note.stapsdt`, type 3, name "stapsdt") holds three addresses: of the `nop`, of the section
//! `.stapsdt.base` (tools compare it with the section header to see whether the file was moved by prelink), of the semaphore.
//! Then three strings: provider, name, and where the arguments lie (`SIZE@OPERAND`, in AT&T syntax).
//!
//! The semaphore is a 16-bit word that a tracer increments while it is attached, in the section `.probes`. One word serves
//! all probes, and the trace file counts in it as one more tracer: code that reports an event looks only there.

use core::sync::atomic::AtomicU16;

/// Number of tracers and trace files that listen.
#[unsafe(link_section = ".probes")]
pub(super) static LISTENERS: AtomicU16 = AtomicU16::new(0);

/// A probe of the provider `dunegc`, named by two string literals, with at most one argument of type `u64`.
macro_rules! probe {
    ($name:literal, $end:literal $(, $argument:expr)?) => {
        // SAFETY: the only instruction is a nop; everything else goes to sections that are not executed.
        unsafe {
            core::arch::asm!(
                "990: nop",
                ".pushsection .note.stapsdt, \"?\", @note",
                ".balign 4",
                ".4byte 992f - 991f, 994f - 993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte _.stapsdt.base",
                ".8byte {listeners}",
                ".asciz \"dunegc\"",
                concat!(".asciz \"", $name, $end, "\""),
                probe!(@arguments $($argument)?),
                "994: .balign 4",
                ".popsection",
                // Kept by the linker although no code refers to it; one for all probes. With the code: perf takes the
                // difference between its address and its place in the file to be that of the probes, which in a file made
                // by lld holds only within a segment.
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base, \"axGR\", @progbits, .stapsdt.base, comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base, 1",
                ".popsection",
                ".endif",
                listeners = sym $crate::trace::probe::LISTENERS,
                $(argument = in(reg) { let argument: u64 = $argument; argument },)?
                options(att_syntax, nostack, preserves_flags),
            )
        }
    };
    (@arguments) => { ".asciz \"\"" };
    (@arguments $argument:expr) => { ".asciz \"8@{argument}\"" };
}
pub(super) use probe;
