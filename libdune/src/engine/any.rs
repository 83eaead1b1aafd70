//! Whichever engine the machine has.

use super::kmod::{Kmod, KmodCpu};
use super::kvm::{Kvm, KvmCpu};
use super::{Cpu, Engine, Exit, Limits, Start};
use crate::arch::registers::Registers;
use crate::arch::xsave::State;
use crate::error::Error;
use crate::gpa::Chunk;

/// Which engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The module dune if it is loaded and may be used, else KVM.
    #[default]
    Any,
    /// /dev/kvm.
    Kvm,
    /// /dev/dune.
    Kmod,
}

/// A virtual machine of one of the engines.
// There is one in a process, inside of another structure.
#[allow(clippy::large_enum_variant)]
pub enum AnyEngine {
    /// Of KVM's.
    Kvm(Kvm),
    /// Of the module's.
    Kmod(Kmod),
}

/// A vCPU of one of the engines.
#[allow(clippy::large_enum_variant)]
pub enum AnyEngineCpu {
    /// Of KVM's.
    Kvm(KvmCpu),
    /// Of the module's.
    Kmod(KmodCpu),
}

impl AnyEngine {
    /// A new virtual machine.
    ///
    /// # Errors
    /// Why the engine cannot be used; with [`Choice::Any`], why KVM cannot, unless there is a module that refused and no KVM.
    pub fn open(choice: Choice) -> Result<AnyEngine, Error> {
        match choice {
            Choice::Kvm => Kvm::new().map(AnyEngine::Kvm),
            Choice::Kmod => Kmod::new().map(AnyEngine::Kmod),
            Choice::Any => either(Kmod::new().map(AnyEngine::Kmod), || {
                Kvm::new().map(AnyEngine::Kvm)
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            AnyEngine::Kvm(_) => "kvm",
            AnyEngine::Kmod(_) => "kmod",
        }
    }

    /// Lowest and highest number of its descriptors.
    pub fn descriptors(&self) -> (i32, i32) {
        match self {
            AnyEngine::Kvm(e) => e.descriptors(),
            AnyEngine::Kmod(e) => e.descriptors(),
        }
    }

    /// Closes its descriptor in a forked child. The value is not used any more there.
    pub fn close(&self) {
        match self {
            AnyEngine::Kvm(e) => e.close(),
            AnyEngine::Kmod(e) => e.close(),
        }
    }
}

/// The first that works. Of two reasons, the one that does not say "no such device".
fn either<T>(
    first: Result<T, Error>,
    second: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let absent = |e: &Error| matches!(e, Error::System(_, libc::ENOENT));
    let Err(first) = first else { return first };
    second().map_err(|second| {
        if absent(&second) && !absent(&first) {
            first
        } else {
            second
        }
    })
}

impl Engine for AnyEngine {
    type Cpu = AnyEngineCpu;

    fn limits(&self) -> Limits {
        match self {
            AnyEngine::Kvm(e) => e.limits(),
            AnyEngine::Kmod(e) => e.limits(),
        }
    }

    fn back(&self, chunk: Chunk) -> Result<(), Error> {
        match self {
            AnyEngine::Kvm(e) => e.back(chunk),
            AnyEngine::Kmod(e) => e.back(chunk),
        }
    }

    fn cpu(&self, start: &Start) -> Result<AnyEngineCpu, Error> {
        match self {
            AnyEngine::Kvm(e) => e.cpu(start).map(AnyEngineCpu::Kvm),
            AnyEngine::Kmod(e) => e.cpu(start).map(AnyEngineCpu::Kmod),
        }
    }
}

/// The same call to whichever vCPU it is.
macro_rules! forward {
    ($self:ident, $cpu:ident => $call:expr) => {
        match $self {
            AnyEngineCpu::Kvm($cpu) => $call,
            AnyEngineCpu::Kmod($cpu) => $call,
        }
    };
}

impl Cpu for AnyEngineCpu {
    fn run(&mut self) -> Result<Exit, Error> {
        forward!(self, cpu => cpu.run())
    }

    fn registers(&self) -> &Registers {
        forward!(self, cpu => cpu.registers())
    }

    fn registers_mut(&mut self) -> &mut Registers {
        forward!(self, cpu => cpu.registers_mut())
    }

    fn fault_address(&mut self) -> Result<u64, Error> {
        forward!(self, cpu => cpu.fault_address())
    }

    fn go_to_monitor(&mut self, rip: u64, rsp: u64) -> Result<(), Error> {
        forward!(self, cpu => cpu.go_to_monitor(rip, rsp))
    }

    fn flush(&mut self) -> Result<(), Error> {
        forward!(self, cpu => cpu.flush())
    }

    fn bases(&mut self) -> Result<(u64, u64), Error> {
        forward!(self, cpu => cpu.bases())
    }

    fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), Error> {
        forward!(self, cpu => cpu.set_bases(fs, gs))
    }

    fn state(&mut self, state: &mut State) -> Result<(), Error> {
        forward!(self, cpu => cpu.state(state))
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        forward!(self, cpu => cpu.set_state(state))
    }

    fn set_blocked(&mut self, blocked: u64) -> Result<(), Error> {
        forward!(self, cpu => cpu.set_blocked(blocked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_says_more_is_given() {
        let refused = |errno| Err::<(), _>(Error::System("/dev/x", errno));
        let reason = |first, second| match either(refused(first), || refused(second)) {
            Err(Error::System(_, errno)) => errno,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(libc::ENOENT, libc::EACCES), libc::EACCES);
        assert_eq!(reason(libc::EBUSY, libc::ENOENT), libc::EBUSY);
        assert_eq!(reason(libc::ENOENT, libc::ENOENT), libc::ENOENT);
        assert!(either(Ok(()), || refused(1)).is_ok());
        assert!(either(refused(1), || Ok(())).is_ok());
    }
}
