//! An engine that makes trouble: another one whose runs end early, fail or are refused, by a plan. For tests of everything that must survive this.

use super::{Cpu, Exit};
use crate::arch::registers::Registers;
use crate::arch::xsave::State;
use crate::error::Error;
use crate::monitor::stubs;

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
}

/// A vCPU with trouble.
pub struct MockCpu<C> {
    inner: C,
    trouble: Trouble,
    runs: u32,
}

impl<C: Cpu> MockCpu<C> {
    /// Trouble on top of a vCPU.
    pub fn new(inner: C, trouble: Trouble) -> MockCpu<C> {
        MockCpu {
            inner,
            trouble,
            runs: 0,
        }
    }
}

impl<C: Cpu> Cpu for MockCpu<C> {
    fn run(&mut self) -> Result<Exit, Error> {
        self.runs = self.runs.wrapping_add(1);
        if let Trouble::Interrupt(n) = self.trouble
            && self.runs.is_multiple_of(n)
        {
            return Ok(Exit::Interrupted);
        }
        let exit = self.inner.run()?;
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
