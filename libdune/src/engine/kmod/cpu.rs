//! A vCPU of /dev/dune. The guest's vector registers are those that the thread has when it asks the module to run it, so they are loaded before and stored
//! after, in one piece of assembly.

use crate::arch::registers::{Registers, SYSCALL_CLEARS};
use crate::arch::segments::{Gdt, Idt, STAR, TASK};
use crate::arch::xsave::{self, State};
use crate::engine::{Cpu, Exit, Start};
use crate::error::Error;
use crate::sys;
use core::arch::asm;
use dune_sys as abi;

/// A vCPU of /dev/dune.
pub struct KmodCpu {
    state: State,
    /// The components of `state`.
    mask: u64,
    size: usize,
    device: i32,
    run: abi::Run,
}

/// Runs the vCPU with `state` in the vector registers: what the request returns.
///
/// # Safety
/// `run` names a vCPU of `device`'s, whose guest does only what the process may; `state` is one that XSAVE made.
unsafe fn enter(device: i32, run: &mut abi::Run, state: &mut State, mask: u64) -> i64 {
    let result: i64;
    // SAFETY: XRSTOR takes a state of XSAVE's; the kernel changes RAX, RCX, R11 and `run`; XSAVE writes the state again, as long as it was. The control words
    // of SSE and x87 are made those that Rust code expects. All vector registers count as changed.
    unsafe {
        asm!(
            "mov r12, rdx",
            "mov eax, r13d",
            "mov rdx, r13",
            "shr rdx, 32",
            "xrstor64 [r14]",
            "mov rdx, r12",
            "mov eax, {ioctl}",
            "syscall",
            "mov r12, rax",
            "mov eax, r13d",
            "mov rdx, r13",
            "shr rdx, 32",
            "xsave64 [r14]",
            "fninit",
            "push 0x1f80",
            "ldmxcsr [rsp]",
            "pop rax",
            ioctl = const libc::SYS_ioctl,
            in("rdi") device as i64,
            in("rsi") abi::RUN,
            inout("rdx") core::ptr::from_mut(run) => _,
            inout("r12") 0i64 => result,
            in("r13") mask,
            in("r14") state.0.as_mut_ptr(),
            clobber_abi("sysv64"),
        );
    }
    result
}

impl KmodCpu {
    pub(super) fn new(device: i32, start: &Start) -> Result<KmodCpu, Error> {
        let mut cpu = abi::Vcpu {
            root: start.root,
            gdt: start.gdt,
            idt: start.idt,
            task: start.task,
            star: STAR,
            lstar: start.system_call,
            sfmask: SYSCALL_CLEARS,
            gdt_limit: Gdt::LIMIT,
            idt_limit: Idt::LIMIT,
            task_selector: TASK,
            ..Default::default()
        };
        let at = (&raw mut cpu) as u64;
        let args = [device as u64, abi::CREATE_VCPU, at, 0, 0, 0];
        // SAFETY: makes a vCPU, whose number it writes.
        unsafe { sys::check("DUNE_CREATE_VCPU", libc::SYS_ioctl, args) }?;
        Ok(KmodCpu {
            state: State::INITIAL,
            mask: xsave::enabled(),
            size: xsave::size(),
            device,
            run: abi::Run {
                vcpu: cpu.id,
                set: abi::SET_REGS,
                ..Default::default()
            },
        })
    }
}

impl Cpu for KmodCpu {
    fn run(&mut self) -> Result<Exit, Error> {
        self.run.set |= abi::SET_BLOCKED;
        // SAFETY: our own vCPU; its guest runs the process's own code.
        let result = unsafe { enter(self.device, &mut self.run, &mut self.state, self.mask) };
        if result < 0 {
            return Err(Error::System("DUNE_RUN", -result as i32));
        }
        match self.run.exit {
            abi::EXIT_HALT => Ok(Exit::Halt),
            abi::EXIT_INTERRUPTED => Ok(Exit::Interrupted),
            abi::EXIT_REFUSED => Ok(Exit::Refused),
            reason => Err(Error::Exit(reason)),
        }
    }

    fn registers(&self) -> &Registers {
        &self.run.regs
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.run.set |= abi::SET_REGS;
        &mut self.run.regs
    }

    fn fault_address(&mut self) -> Result<u64, Error> {
        Ok(self.run.cr2)
    }

    fn go_to_monitor(&mut self, rip: u64, rsp: u64) -> Result<(), Error> {
        self.run.set |= abi::SET_KERNEL;
        let registers = self.registers_mut();
        (registers.rip, registers.rsp, registers.rflags) = (rip, rsp, 2);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.run.set |= abi::SET_FLUSH;
        Ok(())
    }

    fn bases(&mut self) -> Result<(u64, u64), Error> {
        Ok((self.run.fs_base, self.run.gs_base))
    }

    fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), Error> {
        self.run.set |= abi::SET_BASES;
        (self.run.fs_base, self.run.gs_base) = (fs, gs);
        Ok(())
    }

    fn state(&mut self, state: &mut State) -> Result<(), Error> {
        state.0[..self.size].copy_from_slice(&self.state.0[..self.size]);
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        self.state.0[..self.size].copy_from_slice(&state.0[..self.size]);
        Ok(())
    }

    fn set_blocked(&mut self, blocked: u64) -> Result<(), Error> {
        self.run.blocked = blocked;
        Ok(())
    }
}
