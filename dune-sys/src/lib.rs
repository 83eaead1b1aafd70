//! The interface of `/dev/dune`, as `kmod/uapi/dune.h` defines it: requests, structures, constants. Fields named `reserved` must be zero. All
//! structures are plain numbers without padding, and zero is a value of each.
#![no_std]

use core::mem::{offset_of, size_of};

/// Version of the interface; the device must say the same.
pub const ABI_VERSION: u32 = 1;
/// Guest-physical memory is given in chunks of this many bytes, aligned to it.
pub const CHUNK_SIZE: u64 = 1 << 28;
/// Most chunks of a guest.
pub const MAX_CHUNKS: u64 = 4096;
/// Most vCPUs of a guest.
pub const MAX_VCPUS: u32 = 1024;
/// [`Info::backend`]: AMD's virtualisation.
pub const BACKEND_SVM: u32 = 1;
/// [`Info::backend`]: Intel's virtualisation.
pub const BACKEND_VMX: u32 = 2;

/// What the device is and can do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    /// [`ABI_VERSION`].
    pub version: u32,
    /// Which virtualisation.
    pub backend: u32,
    /// Bits of a guest-physical address.
    pub address_bits: u32,
    /// Most vCPUs.
    pub max_vcpus: u32,
    /// Most chunks.
    pub max_chunks: u64,
    /// Bytes of a chunk.
    pub chunk_size: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Backs guest-physical addresses with virtual ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk {
    /// First guest-physical address.
    pub gpa: u64,
    /// First virtual address.
    pub address: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// System registers of a new vCPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Vcpu {
    /// Out: its number.
    pub id: u32,
    /// Zero.
    pub reserved0: u32,
    /// Guest-physical address of the root table.
    pub root: u64,
    /// Address of the global descriptor table.
    pub gdt: u64,
    /// Address of the interrupt descriptor table.
    pub idt: u64,
    /// Address of the task state.
    pub task: u64,
    /// MSR STAR.
    pub star: u64,
    /// MSR LSTAR: where SYSCALL leads.
    pub lstar: u64,
    /// MSR SFMASK: flags that SYSCALL clears.
    pub sfmask: u64,
    /// Limit of the global descriptor table.
    pub gdt_limit: u16,
    /// Limit of the interrupt descriptor table.
    pub idt_limit: u16,
    /// Selector of the task state.
    pub task_selector: u16,
    /// Zero.
    pub reserved1: u16,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Integer registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Regs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// [`Run::set`]: [`Run::regs`]; drops a pending event.
pub const SET_REGS: u32 = 1 << 0;
/// [`Run::set`]: [`Run::fs_base`] and [`Run::gs_base`].
pub const SET_BASES: u32 = 1 << 1;
/// [`Run::set`]: privilege level 0.
pub const SET_KERNEL: u32 = 1 << 2;
/// [`Run::set`]: flush all translations.
pub const SET_FLUSH: u32 = 1 << 3;
/// [`Run::set`]: [`Run::blocked`].
pub const SET_BLOCKED: u32 = 1 << 4;

/// [`Run::exit`]: HLT; RIP is behind it.
pub const EXIT_HALT: u32 = 1;
/// [`Run::exit`]: a signal, or work for the kernel.
pub const EXIT_INTERRUPTED: u32 = 2;
/// [`Run::exit`]: the process may not do this; [`Run::detail`] is an errno, [`Run::address`] guest-physical.
pub const EXIT_REFUSED: u32 = 3;
/// [`Run::exit`]: an exception that guests never get; [`Run::detail`] is its vector.
pub const EXIT_EXCEPTION: u32 = 4;
/// [`Run::exit`]: triple fault; the vCPU runs no more.
pub const EXIT_SHUTDOWN: u32 = 5;
/// [`Run::exit`]: state that the processor refuses; the vCPU runs no more.
pub const EXIT_INVALID: u32 = 6;
/// [`Run::exit`]: [`Run::detail`] is the processor's exit code.
pub const EXIT_UNKNOWN: u32 = 7;

/// Runs a vCPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// In: its number.
    pub vcpu: u32,
    /// In: what is set before, `SET_*`; zero afterwards.
    pub set: u32,
    /// Out: why it came back, `EXIT_*`.
    pub exit: u32,
    /// Out: more about that.
    pub detail: u32,
    /// Out: more about that.
    pub address: u64,
    /// In: signals that do not end the run.
    pub blocked: u64,
    /// In and out.
    pub regs: Regs,
    /// In and out.
    pub fs_base: u64,
    /// In and out.
    pub gs_base: u64,
    /// Out.
    pub cr2: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

const TYPE: u64 = 0xd7;
const fn request<T>(direction: u64, number: u64) -> u64 {
    direction << 30 | (size_of::<T>() as u64) << 16 | TYPE << 8 | number
}

/// Request: fills an [`Info`].
pub const GET_INFO: u64 = request::<Info>(2, 0);
/// Request: takes a [`Chunk`].
pub const ADD_CHUNK: u64 = request::<Chunk>(1, 1);
/// Request: takes a [`Vcpu`] and fills in its number.
pub const CREATE_VCPU: u64 = request::<Vcpu>(3, 2);
/// Request: takes a [`Run`] and fills it.
pub const RUN: u64 = request::<Run>(3, 3);

const _: () = assert!(size_of::<Info>() == 64);
const _: () = assert!(size_of::<Chunk>() == 32);
const _: () = assert!(size_of::<Vcpu>() == 104 && offset_of!(Vcpu, gdt_limit) == 64);
const _: () = assert!(size_of::<Regs>() == 144);
const _: () = assert!(size_of::<Run>() == 232 && offset_of!(Run, regs) == 32);
