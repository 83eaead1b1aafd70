//! An engine that makes trouble: another one whose runs end early, fail or are refused, by a plan. For tests of everything that must survive this.

use super::{Cpu, Exit, Limits};
use crate::arch::registers::Registers;
use crate::arch::xsave::State;
use crate::error::Error;
use crate::monitor::stubs;
use crate::sys;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The n-th run of each vCPU (and each multiple) comes back at once, as for a signal, without running.
    Interrupt(u32),
    /// From the n-th run of each vCPU on, what a signal interrupts in the program fails, with a reason that nobody knows.
    Fail(u32),
    /// From the n-th run of each vCPU on, what a signal interrupts in the program is refused.
    Refuse(u32),
    /// Flushes from outside of the guest do nothing.
    NoFlush,
    /// The n-th run of each vCPU (and each multiple) begins a millisecond late.
    Delay(u32),
    /// The n-th interruption of each vCPU (and each multiple) is not reported: the vCPU goes on.
    Drop(u32),
    /// The vector state is the initial one after each run.
    Vectors,
    /// From the n-th run of each vCPU on, none comes back.
    Hang(u32),
    /// The n-th run of a vCPU ends the process.
    Kill(u32),
    /// The kernel refuses memory slots from this one on.
    NoSlot(u32),
    /// The kernel refuses vCPUs from the n-th on (0: the one that only tries the gates).
    NoCpu(u32),
    /// There are so many memory slots.
    Slots(usize),
    /// Physical addresses have so many bits.
    Narrow(u32),
}

impl Trouble {
    /// The engine's limits, as far as they are not lower.
    pub fn limits(self, limits: Limits) -> Limits {
        match self {
            Trouble::Slots(n) => Limits {
                slots: limits.slots.min(n),
                ..limits
            },
            Trouble::Narrow(bits) => Limits {
                address_bits: limits.address_bits.min(bits),
                ..limits
            },
            _ => limits,
        }
    }

    /// Whether the kernel has this memory slot.
    ///
    /// # Errors
    /// It has none.
    pub fn slot(self, slot: u32) -> Result<(), Error> {
        match self {
            Trouble::NoSlot(n) if slot >= n => {
                Err(Error::System("KVM_SET_USER_MEMORY_REGION", libc::ENOSPC))
            }
            _ => Ok(()),
        }
    }

    /// Whether the kernel has this vCPU.
    ///
    /// # Errors
    /// It has none.
    pub fn cpu(self, number: u32) -> Result<(), Error> {
        match self {
            Trouble::NoCpu(n) if number >= n => Err(Error::System("KVM_CREATE_VCPU", libc::ENOMEM)),
            _ => Ok(()),
        }
    }
}

/// A vCPU with trouble.
pub struct MockCpu<C> {
    inner: C,
    trouble: Trouble,
    runs: u32,
    interruptions: u32,
}

fn sleep(nanoseconds: u64) {
    let time = [0u64, nanoseconds];
    let args = [(&raw const time) as u64, 0, 0, 0, 0, 0];
    // SAFETY: reads a time.
    unsafe { sys::call(libc::SYS_nanosleep as u64, args) };
}

impl<C: Cpu> MockCpu<C> {
    /// Trouble on top of a vCPU.
    pub fn new(inner: C, trouble: Trouble) -> MockCpu<C> {
        MockCpu {
            inner,
            trouble,
            runs: 0,
            interruptions: 0,
        }
    }

    /// Whether an interruption is one that is not reported.
    fn drops(&mut self) -> bool {
        let Trouble::Drop(n) = self.trouble else {
            return false;
        };
        self.interruptions = self.interruptions.wrapping_add(1);
        self.interruptions.is_multiple_of(n)
    }
}

impl<C: Cpu> Cpu for MockCpu<C> {
    fn run(&mut self) -> Result<Exit, Error> {
        self.runs = self.runs.wrapping_add(1);
        match self.trouble {
            Trouble::Interrupt(n) if self.runs.is_multiple_of(n) => {
                return Ok(Exit::Interrupted);
            }
            Trouble::Delay(n) if self.runs.is_multiple_of(n) => sleep(1_000_000),
            Trouble::Hang(n) if self.runs >= n => loop {
                sleep(1_000_000);
            },
            Trouble::Kill(n) if self.runs >= n => {
                // SAFETY: ends this process.
                unsafe { sys::call(libc::SYS_exit_group as u64, [9, 0, 0, 0, 0, 0]) };
            }
            _ => {}
        }
        let mut exit = self.inner.run()?;
        while exit == Exit::Interrupted && self.drops() {
            exit = self.inner.run()?;
        }
        if self.trouble == Trouble::Vectors {
            static INITIAL: State = State::INITIAL;
            self.inner.set_state(&INITIAL)?;
        }
        // Elsewhere the program's registers are not in the vCPU, and nothing could go on.
        let in_program = !stubs::contains(self.inner.registers().rip);
        let due = |n: u32| self.runs >= n && in_program;
        match (exit, self.trouble) {
            (Exit::Interrupted, Trouble::Fail(n)) if due(n) => Err(Error::Exit(999)),
            (Exit::Interrupted, Trouble::Refuse(n)) if due(n) => Ok(Exit::Refused),
            (exit, _) => Ok(exit),
        }
    }

    fn registers(&self) -> &Registers {
        self.inner.registers()
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.inner.registers_mut()
    }

    fn fault_address(&mut self) -> Result<u64, Error> {
        self.inner.fault_address()
    }

    fn go_to_monitor(&mut self, rip: u64, rsp: u64) -> Result<(), Error> {
        self.inner.go_to_monitor(rip, rsp)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.trouble == Trouble::NoFlush {
            return Ok(());
        }
        self.inner.flush()
    }

    fn bases(&mut self) -> Result<(u64, u64), Error> {
        self.inner.bases()
    }

    fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), Error> {
        self.inner.set_bases(fs, gs)
    }

    fn state(&mut self, state: &mut State) -> Result<(), Error> {
        self.inner.state(state)
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        self.inner.set_state(state)
    }

    fn set_blocked(&mut self, blocked: u64) -> Result<(), Error> {
        self.inner.set_blocked(blocked)
    }
}
