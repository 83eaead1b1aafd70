//! System calls: the same thread makes them natively, so the kernel, seccomp and tracers see what they always see.

use super::{Thread, rseq, unsupported};
use crate::arch::registers::{BASE_FLAGS, Registers, USER_FLAGS};
use crate::arch::segments::Frame;
use crate::engine::Cpu;
use crate::signal::shim::{RESTART, call_safely};
use crate::sys;

impl Thread {
    pub(super) fn system_call(&mut self, r: Registers) {
        let at_frame = r.rsp as *mut Frame;
        // SAFETY: the exit stub halts with RSP at the frame on this vCPU's interrupt stack. SYSCALL has put where to go on into RCX and the flags into R11,
        // and left the stack pointer alone.
        unsafe {
            let stack = (*at_frame).rsp;
            let flags = r.r11 & USER_FLAGS | BASE_FLAGS;
            at_frame.write(Frame::user(r.rcx, stack, flags));
        }
        // SAFETY: as above.
        let stack = unsafe { (*at_frame).rsp };
        let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
        let whole = self.process.config.whole;
        if whole && unsupported::ends(r.rax as i64, &args) {
            self.end_with_call(&r, stack);
        }
        if whole && r.rax as i64 == libc::SYS_rt_sigreturn {
            return self.return_from_handler(&r, at_frame);
        }
        // A signal comes first.
        let result = if whole && self.record.note.is_set() {
            RESTART
        } else {
            self.make_call(r.rax as i64, args, &r)
        };
        let again = whole && result == RESTART;
        if whole && !again {
            self.process.mark_written(r.rax as i64, &args, result);
        }
        if again {
            // SAFETY: as above.
            unsafe { (*at_frame).rip -= unsupported::SYSCALL_LEN };
        }
        self.cpu.registers_mut().rax = if again { r.rax } else { result as u64 };
    }

    fn make_call(&mut self, number: i64, args: [u64; 6], r: &Registers) -> i64 {
        if let Some(result) = self.memory_call(number, args) {
            return result;
        }
        match number {
            libc::SYS_clone | libc::SYS_clone3 | libc::SYS_fork | libc::SYS_vfork => {
                self.clone_call(number, args, r)
            }
            libc::SYS_rt_sigprocmask => self.mask_call(args),
            libc::SYS_rt_sigaction if self.process.config.whole => self.action_call(args),
            libc::SYS_sigaltstack if self.process.config.whole => {
                // SAFETY: the exit stub halts with RSP at the frame.
                let rsp = unsafe { (*(r.rsp as *const Frame)).rsp };
                self.alt_call(args, rsp)
            }
            libc::SYS_arch_prctl => self.base_call(args),
            libc::SYS_close | libc::SYS_close_range | libc::SYS_dup2 | libc::SYS_dup3 => {
                self.descriptor_call(number, args)
            }
            libc::SYS_rseq => rseq::call(args),
            libc::SYS_execve | libc::SYS_execveat => self.exec_call(number, args),
            _ => self.ordinary_call(number, args),
        }
    }

    /// A call that signals may interrupt. Sets of blocked signals that it takes get the library's own.
    fn ordinary_call(&self, number: i64, mut args: [u64; 6]) -> i64 {
        let kick = crate::signal::bit(self.process.config.signal);
        let mut mask = 0u64;
        let mut pair = [0u64; 2];
        let own = (&raw const mask) as u64;
        match number {
            libc::SYS_rt_sigsuspend if sys::read(args[0], &mut mask) => args[0] = own,
            libc::SYS_ppoll if args[3] != 0 && sys::read(args[3], &mut mask) => args[3] = own,
            libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2
                if args[4] != 0 && sys::read(args[4], &mut mask) =>
            {
                args[4] = own;
            }
            libc::SYS_pselect6
                if args[5] != 0
                    && sys::read_from(args[5], pair.as_mut_ptr().cast(), 16)
                    && pair[0] != 0
                    && sys::read(pair[0], &mut mask) =>
            {
                pair[0] = own;
                args[5] = (&raw const pair) as u64;
            }
            _ => {}
        }
        mask |= kick;
        core::hint::black_box((&mask, &pair));
        // SAFETY: the program's own system call, with its own arguments or copies.
        unsafe { call_safely(number, args, self.record.note.flag()) }
    }

    /// What the program executes inherits blocked and pending signals, and must not inherit the library's.
    fn exec_call(&self, number: i64, args: [u64; 6]) -> i64 {
        self.take_kick();
        // From here on the shim takes it, until there is no shim any more: nobody kicks a thread that is not inside.
        sys::block(libc::SIG_SETMASK, self.mask);
        // SAFETY: the program's own system call.
        let result = unsafe { call_safely(number, args, self.record.note.flag()) };
        self.unblock();
        result
    }

    /// The guest has segment bases of its own.
    fn base_call(&mut self, args: [u64; 6]) -> i64 {
        const SET_GS: u64 = 0x1001;
        const SET_FS: u64 = 0x1002;
        if !matches!(args[0], SET_FS | SET_GS) {
            // SAFETY: the program's own system call.
            return unsafe { sys::call(libc::SYS_arch_prctl as u64, args) };
        }
        // SAFETY: the program's own system call. From here on FS may have another base.
        let result = unsafe { sys::call(libc::SYS_arch_prctl as u64, args) };
        if result == 0 {
            let bases = self.cpu.bases().map(|(fs, gs)| match args[0] {
                SET_FS => (args[1], gs),
                _ => (fs, args[1]),
            });
            let set = bases.and_then(|(fs, gs)| self.cpu.set_bases(fs, gs));
            if let Err(e) = set {
                self.die(e);
            }
            crate::tls::set(self.record);
        }
        result
    }

    /// The machine's descriptors are not the program's.
    fn descriptor_call(&mut self, number: i64, args: [u64; 6]) -> i64 {
        // SAFETY: the program's own system call.
        let call = |args| unsafe { sys::call(number as u64, args) };
        let (first, last) = self.process.descriptors();
        let (first, last) = (first as u64, last as u64);
        let own = |fd: u64| (first..=last).contains(&(fd & 0xffff_ffff));
        match number {
            libc::SYS_close if own(args[0]) => -i64::from(libc::EBADF),
            libc::SYS_dup2 | libc::SYS_dup3 if own(args[1]) => -i64::from(libc::EBADF),
            libc::SYS_close_range if args[0] <= last && args[1] >= first => {
                let [from, to, flags, ..] = args;
                let mut result = 0;
                if from < first {
                    result = call([from, first - 1, flags, 0, 0, 0]);
                }
                if result == 0 && to > last {
                    result = call([last + 1, to, flags, 0, 0, 0]);
                }
                result
            }
            _ => call(args),
        }
    }
}
