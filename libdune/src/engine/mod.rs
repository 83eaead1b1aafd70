//! How the process gets into guest mode.
//!
//! # Contract
//!
//! *An engine must:*
//! - run a vCPU with the registers of [`Cpu::registers`] until the guest halts or [`Cpu::stop`] is called or a signal arrives for the thread;
//! - keep the vector state, segment bases and system registers of a vCPU between runs;
//! - make memory that was given by [`Engine::back`] usable in the guest as far as the process itself may use it, at any time, also after it was mapped anew.
//!
//! *The run loop guarantees:*
//! - a vCPU is used by one thread at a time, and none is used after a fork in the child;
//! - what page tables refer to was given before.

pub mod any;
pub mod kmod;
pub mod kvm;
pub mod mock;

use crate::arch::registers::Registers;
use crate::arch::xsave::State;
use crate::error::Error;
use crate::gpa::Chunk;

/// Where a vCPU starts and what its system registers hold.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Guest-physical address of the root table.
    pub root: u64,
    /// Address of the global descriptor table.
    pub gdt: u64,
    /// Address of the interrupt descriptor table.
    pub idt: u64,
    /// Address of the task state.
    pub task: u64,
    /// Where SYSCALL leads.
    pub system_call: u64,
}

/// Why a vCPU came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It halted: one of the exit stubs.
    Halt,
    /// A signal is pending for the thread, or [`Cpu::stop`] was called.
    Interrupted,
    /// The process itself may not do what the guest tried, or the host has no memory for it. The instruction was not executed.
    Refused,
}

/// What an engine can do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bits of a guest-physical address.
    pub address_bits: u32,
    /// Memory chunks.
    pub slots: usize,
    /// vCPUs.
    pub cpus: u32,
}

/// A virtual machine bound to this process.
pub trait Engine: Sized {
    /// Its vCPUs.
    type Cpu: Cpu;

    /// Its limits.
    fn limits(&self) -> Limits;

    /// Gives a chunk of the process's addresses to the guest; memory need not be mapped there.
    ///
    /// # Errors
    /// No slot or no memory in the kernel.
    fn back(&self, chunk: Chunk) -> Result<(), Error>;

    /// A new vCPU. It is at CPL 0.
    ///
    /// # Errors
    /// No vCPU, or the kernel refuses a register.
    fn cpu(&self, start: &Start) -> Result<Self::Cpu, Error>;
}

/// A vCPU.
pub trait Cpu {
    /// Runs the guest.
    ///
    /// # Errors
    /// An exit that nobody expects; the registers are those of the guest nevertheless.
    fn run(&mut self) -> Result<Exit, Error>;

    /// The registers after the last exit.
    fn registers(&self) -> &Registers;

    /// The same, to be changed: that counts from the next run on. An exception that was about to be delivered may be dropped by this, so an interrupted
    /// guest must be left as it is, or left for good.
    fn registers_mut(&mut self) -> &mut Registers;

    /// CR2.
    ///
    /// # Errors
    /// What the kernel says.
    fn fault_address(&mut self) -> Result<u64, Error>;

    /// Goes on at CPL 0 at `rip` with stack `rsp` (the rest of the registers stays).
    ///
    /// # Errors
    /// What the kernel says.
    fn go_to_monitor(&mut self, rip: u64, rsp: u64) -> Result<(), Error>;

    /// Flushes all translations of this vCPU, wherever its code is.
    ///
    /// # Errors
    /// What the kernel says.
    fn flush(&mut self) -> Result<(), Error>;

    /// The bases of FS and GS.
    ///
    /// # Errors
    /// What the kernel says.
    fn bases(&mut self) -> Result<(u64, u64), Error>;

    /// Sets the bases of FS and GS.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), Error>;

    /// Reads the vector state.
    ///
    /// # Errors
    /// What the kernel says.
    fn state(&mut self, state: &mut State) -> Result<(), Error>;

    /// Sets the vector state.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_state(&mut self, state: &State) -> Result<(), Error>;

    /// Signals that may interrupt a run; all others wait.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_blocked(&mut self, blocked: u64) -> Result<(), Error>;
}
