//! From exit to exit.

use super::Thread;
use crate::arch::registers::Registers;
use crate::arch::segments::{Frame, WITH_ERROR_CODE};
use crate::call::Call;
use crate::engine::{Cpu, Exit};
use crate::error::Error;
use crate::monitor::stubs;
use crate::stats::count;
use crate::sys;
use crate::trap::{BREAKPOINT, Fault, PAGE_FAULT, Trap, saved_state};
use core::sync::atomic::Ordering::*;

impl Thread {
    /// Runs the guest until the thread leaves it.
    pub(super) fn run_loop(&mut self) -> ! {
        loop {
            if self.process.config.whole {
                self.deliver();
            }
            self.record.inside.store(true, SeqCst);
            if self.process.closed.load(SeqCst)
                && let Some(registers) = self.program()
            {
                self.leave_with_state(registers);
            }
            if let Err(e) = self.flush_if_asked() {
                self.give_up(e);
            }
            let exit = self.cpu.run();
            self.record.inside.store(false, SeqCst);
            match exit {
                Ok(Exit::Halt) => self.halted(),
                Ok(Exit::Interrupted) => {
                    count(&self.process.counters.interrupted);
                    self.take_kick();
                }
                Ok(Exit::Refused) => {
                    count(&self.process.counters.refused);
                    self.leave_at_exit();
                }
                Err(e) => self.give_up(e),
            }
        }
    }

    /// Flushes what other threads want flushed. `inside` is set: whoever raises the epoch from now on sees that and kicks.
    fn flush_if_asked(&mut self) -> Result<(), Error> {
        let epoch = self.process.epoch.load(SeqCst);
        if self.record.flushed.load(Relaxed) == epoch {
            return Ok(());
        }
        count(&self.process.counters.flushes);
        self.cpu.flush()?;
        // No program instruction runs on this vCPU before the flush, so it counts as done.
        self.record.flushed.store(epoch, SeqCst);
        Ok(())
    }

    /// Whether the vCPU stands in the monitor's code (at either CPL), where its stack and frame belong to the monitor.
    fn in_monitor(&self) -> bool {
        stubs::contains(self.cpu.registers().rip)
    }

    /// Takes the library's signal from the queue, if that is what interrupted.
    pub(super) fn take_kick(&self) {
        let set = crate::signal::bit(self.process.config.signal);
        let zero = [0u64; 2];
        let args = [
            (&raw const set) as u64,
            0,
            (&raw const zero) as u64,
            8,
            0,
            0,
        ];
        // SAFETY: a set of eight bytes, no information wanted, a time of zero.
        unsafe { sys::call(libc::SYS_rt_sigtimedwait as u64, args) };
    }

    fn halted(&mut self) {
        let registers = *self.cpu.registers();
        let Some(index) = stubs::exit_index(registers.rip) else {
            self.give_up(Error::Exit(registers.rip as u32));
        };
        match self.int3(index, &registers).unwrap_or(index) {
            stubs::EXIT_SYSTEM_CALL => {
                count(&self.process.counters.system_calls);
                self.system_call(registers);
            }
            stubs::EXIT_CALL => {
                count(&self.process.counters.calls);
                self.called(registers);
            }
            vector => self.exception(vector as u8, registers),
        }
    }

    /// Whether a breakpoint is one of the monitor's, and which exit it stands for.
    fn int3(&self, vector: u64, registers: &Registers) -> Option<u64> {
        if vector != BREAKPOINT.into() {
            return None;
        }
        // SAFETY: the exit stub of a vector without error code halts with RSP at the frame.
        let rip = unsafe { (*Self::frame(registers)).rip };
        if rip == stubs::system_call_int3_end() {
            Some(stubs::EXIT_SYSTEM_CALL)
        } else if [
            stubs::call_int3_end(),
            stubs::fault_int3_end(),
            stubs::fault_flush_end(),
        ]
        .contains(&rip)
        {
            Some(stubs::EXIT_CALL)
        } else {
            None
        }
    }

    /// The frame of an exit without error code.
    fn frame(registers: &Registers) -> *mut Frame {
        registers.rsp as *mut Frame
    }

    fn called(&mut self, registers: Registers) {
        // SAFETY: the exit stub of calls halts with RSP at the frame on this vCPU's interrupt stack.
        let frame = unsafe { Self::frame(&registers).read() };
        let result = match Call::of(registers.rax) {
            Some(Call::Leave) => {
                self.leave_with_state(at(registers, frame));
            }
            Some(Call::Forward) => self.forwarded(registers.rdi as *const Trap),
            Some(Call::Repair) => {
                // SAFETY: `dispatch` passes the trap on its handler stack.
                let trap = unsafe { &*(registers.rdi as *const Trap) };
                i64::from(!self.repair(trap.address, trap.error))
            }
            Some(Call::Fault) => {
                // SAFETY: `dune_upward` passes what lies on this vCPU's interrupt stack.
                let fault = unsafe { &*(registers.rdi as *const Fault) };
                if !self.repair(fault.address, fault.error) {
                    count(&self.process.counters.exceptions);
                    let registers = Registers {
                        rax: fault.rax,
                        rcx: fault.rcx,
                        rdx: fault.rdx,
                        rdi: fault.rdi,
                        ..registers
                    };
                    self.leave_for_exception(at(registers, fault.frame));
                }
                0
            }
            Some(Call::FlushOthers) => {
                self.record.flush_others(registers.rdi);
                if registers.rsi != 0 {
                    self.cpu.registers_mut().rip = stubs::flush_resume();
                }
                0
            }
            Some(Call::Map) => self.map(registers.rdi, registers.rsi),
            Some(Call::Flush) => {
                // In place of the exit stub's IRETQ.
                self.cpu.registers_mut().rip = stubs::flush_resume();
                0
            }
            Some(Call::Gate) => {
                self.process
                    .set_gate(registers.rdi as u8 & 31, registers.rsi != 0);
                0
            }
            None => -i64::from(libc::ENOSYS),
        };
        self.cpu.registers_mut().rax = result as u64;
    }

    fn exception(&mut self, vector: u8, registers: Registers) {
        let coded = WITH_ERROR_CODE >> vector & 1 != 0;
        let error = if coded {
            // SAFETY: the CPU pushed the error code; RSP is at it, on this vCPU's interrupt stack.
            unsafe { (registers.rsp as *const u64).read() }
        } else {
            0
        };
        let at_frame = (registers.rsp + u64::from(coded) * 8) as *const Frame;
        // SAFETY: the CPU pushed the frame.
        let frame = unsafe { at_frame.read() };
        if vector == PAGE_FAULT {
            let address = self.cpu.fault_address().unwrap_or_else(|e| self.die(e));
            if self.repair(address, error) {
                return;
            }
        }
        count(&self.process.counters.exceptions);
        // INT3 is reported behind the instruction; natively it is executed again.
        let back = u64::from(vector == BREAKPOINT);
        let frame = Frame {
            rip: frame.rip - back,
            ..frame
        };
        self.leave_for_exception(at(registers, frame));
    }

    /// Leaves at an instruction that is about to cause a signal. The thread comes back to handle it.
    fn leave_for_exception(&mut self, registers: Registers) -> ! {
        self.returns = self.process.config.whole;
        self.leave_with_state(registers)
    }

    /// Leaves with the vector state of the vCPU.
    pub(super) fn leave_with_state(&mut self, registers: Registers) -> ! {
        if let Err(e) = self.cpu.state(&mut self.state) {
            self.die(e);
        }
        self.keep_bases();
        self.leave(registers)
    }

    /// A trap that came from an upward stub and that the program did not want.
    fn forwarded(&mut self, trap: *const Trap) -> ! {
        // SAFETY: `dispatch` passes the trap on its handler stack.
        let t = unsafe { &*trap };
        count(&self.process.counters.exceptions);
        // SAFETY: `dune_upward` saved the state below the trap.
        let saved = unsafe { &*saved_state(trap) };
        let size = crate::arch::xsave::size();
        self.state.0[..size].copy_from_slice(&saved.0[..size]);
        let registers = Registers {
            rax: t.rax,
            rbx: t.rbx,
            rcx: t.rcx,
            rdx: t.rdx,
            rsi: t.rsi,
            rdi: t.rdi,
            rbp: t.rbp,
            r8: t.r8,
            r9: t.r9,
            r10: t.r10,
            r11: t.r11,
            r12: t.r12,
            r13: t.r13,
            r14: t.r14,
            r15: t.r15,
            ..Registers::default()
        };
        self.keep_bases();
        self.leave(at(registers, t.frame));
    }

    /// Leaves at the instruction that the vCPU stands at, which is executed again natively.
    fn leave_at_exit(&mut self) -> ! {
        if self.in_monitor() {
            self.die(Error::Exit(0));
        }
        let registers = *self.cpu.registers();
        self.leave_for_exception(registers)
    }

    /// An exit that nobody expects: native from here on if the program's registers are known.
    fn give_up(&mut self, error: Error) -> ! {
        if !self.in_monitor() {
            self.leave_at_exit();
        }
        self.die(error)
    }

    /// The registers of the program are lost: the process cannot go on.
    pub(super) fn die(&mut self, error: Error) -> ! {
        use core::fmt::Write;
        let mut text = crate::text::Text::new();
        let rip = self.cpu.registers().rip;
        let _ = writeln!(text, "dune: cannot go on at {rip:#x}: {error}");
        sys::complain(text.as_str());
        loop {
            // SAFETY: ends the process.
            unsafe { sys::call(libc::SYS_exit_group as u64, [134, 0, 0, 0, 0, 0]) };
        }
    }
}

/// Registers with what a frame says.
fn at(registers: Registers, frame: Frame) -> Registers {
    Registers {
        rip: frame.rip,
        rsp: frame.rsp,
        rflags: frame.rflags,
        ..registers
    }
}
