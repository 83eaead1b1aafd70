//! Signals of a thread in guest mode: from the shim's note to the program's handler, and back.

use super::Thread;
use crate::arch::registers::Registers;
use crate::arch::segments::{Frame, WITH_ERROR_CODE};
use crate::arch::xsave::{self, State};
use crate::engine::Cpu;
use crate::monitor::stubs;
use crate::signal::action;
use crate::signal::frame::{self, AltStack, Context};
use crate::signal::note::Arrived;
use crate::signal::{NEVER_BLOCKED, bit};
use crate::sys;
use crate::trap::WRITE;
use core::mem::size_of;

/// Where a vCPU stands between two runs.
#[derive(Clone, Copy)]
enum Place {
    /// In the program.
    Program,
    /// In a stub that will go on with this frame.
    Stub(*mut Frame),
    /// On the way out for a system call that is not made yet.
    Call,
}

/// Direction, trap and resume.
const CLEARED: u64 = 1 << 10 | 1 << 8 | 1 << 16;
/// Nanoseconds after which a vCPU is interrupted again that could not be used.
const SOON: u64 = 50_000;

impl Thread {
    fn kick_bit(&self) -> u64 {
        bit(self.process.config.signal)
    }

    /// What the program blocks from now on.
    pub(super) fn set_mask(&mut self, mask: u64) {
        self.mask = mask & !NEVER_BLOCKED;
        if let Err(e) = self.cpu.set_blocked(self.mask & !self.kick_bit()) {
            self.die(e);
        }
        self.unblock();
    }

    /// Has the kernel block what the program blocks, and the library's signal. While a signal waits to be delivered, everything stays blocked.
    pub(super) fn unblock(&self) {
        if !self.record.note.is_set() {
            sys::block(libc::SIG_SETMASK, self.mask | self.kick_bit());
        }
    }

    /// The program's registers, if the vCPU stands where they are known, and how to change them.
    fn place(&self) -> Option<(Place, Registers)> {
        let r = *self.cpu.registers();
        if !stubs::contains(r.rip) {
            return Some((Place::Program, r));
        }
        if let Some(index) = stubs::exit_index(r.rip) {
            let coded = index < 32 && WITH_ERROR_CODE >> index & 1 != 0;
            return Self::in_stub(r, r.rsp + u64::from(coded) * 8);
        }
        if r.rip == stubs::resume() {
            return Self::in_stub(r, r.rsp);
        }
        // Behind the instruction its exception is on its way, and cannot be called back.
        let call = [stubs::system_call(), stubs::system_call_int3()];
        call.contains(&r.rip).then(|| {
            let before = Registers {
                rip: r.rcx - super::unsupported::SYSCALL_LEN,
                rflags: r.r11,
                ..r
            };
            (Place::Call, before)
        })
    }

    fn in_stub(r: Registers, at: u64) -> Option<(Place, Registers)> {
        let at = at as *mut Frame;
        // SAFETY: these stubs are about to return by a frame on this vCPU's interrupt stack.
        let f = unsafe { at.read() };
        if stubs::in_upward(f.rip) {
            return None;
        }
        let registers = Registers {
            rip: f.rip,
            rsp: f.rsp,
            rflags: f.rflags,
            ..r
        };
        Some((Place::Stub(at), registers))
    }

    /// The program's registers, if they are known now.
    pub(super) fn program(&self) -> Option<Registers> {
        self.place().map(|(_, r)| r)
    }

    /// Has the program go on with these registers.
    fn go_on(&mut self, place: Place, registers: Registers) {
        match place {
            Place::Program => *self.cpu.registers_mut() = registers,
            Place::Stub(at) => {
                let r = registers;
                // SAFETY: `place` found the frame there, and the vCPU has not run since.
                unsafe { at.write(Frame::user(r.rip, r.rsp, r.rflags)) };
                let now = self.cpu.registers_mut();
                *now = Registers {
                    rip: now.rip,
                    rsp: now.rsp,
                    rflags: now.rflags,
                    ..registers
                };
            }
            Place::Call => {
                if let Err(e) = self.go_to_user(registers) {
                    self.die(e);
                }
            }
        }
    }

    /// Has the guest begin the handlers of what has arrived.
    pub(super) fn deliver(&mut self) {
        if let Some(timer) = self.soon.take() {
            // SAFETY: a timer of this thread's own.
            unsafe { sys::call(libc::SYS_timer_delete as u64, [timer, 0, 0, 0, 0, 0]) };
            self.set_mask(self.mask);
        }
        while self.record.note.is_set() {
            let Some((place, registers)) = self.place() else {
                return self.wait_for_place();
            };
            if let Some(arrived) = self.record.note.take() {
                self.take_kick();
                self.begin_handler(&arrived, place, registers);
            }
        }
    }

    /// Lets the monitor finish what it does: nothing interrupts it but a timer.
    fn wait_for_place(&mut self) {
        if let Err(e) = self.cpu.set_blocked(!self.kick_bit()) {
            self.die(e);
        }
        self.take_kick();
        const THREAD: u32 = 4;
        let signal = self.process.config.signal as u32;
        let own = sys::thread_id() as u64;
        let event: [u64; 8] = [
            0,
            u64::from(signal) | u64::from(THREAD) << 32,
            own,
            0,
            0,
            0,
            0,
            0,
        ];
        let mut timer = 0u64;
        let time = [0, 0, 0, SOON];
        // SAFETY: both calls read structures of their types; the first writes the timer's number.
        unsafe {
            let args = [
                libc::CLOCK_MONOTONIC as u64,
                (&raw const event) as u64,
                (&raw mut timer) as u64,
                0,
                0,
                0,
            ];
            sys::call(libc::SYS_timer_create as u64, args);
            timer &= 0xffff_ffff;
            let args = [timer, 0, (&raw const time) as u64, 0, 0, 0];
            sys::call(libc::SYS_timer_settime as u64, args);
        }
        self.soon = Some(timer);
    }

    /// Sends a signal again that was taken from the kernel.
    pub(super) fn send_again(&self, arrived: &Arrived) {
        let args = [
            self.process.id as u64,
            sys::thread_id() as u64,
            arrived.signal() as u64,
            arrived.info.as_ptr() as u64,
            0,
            0,
        ];
        // SAFETY: the kernel reads its own structure.
        unsafe { sys::call(libc::SYS_rt_tgsigqueueinfo as u64, args) };
    }

    fn begin_handler(&mut self, arrived: &Arrived, place: Place, registers: Registers) {
        let signal = arrived.signal();
        let action = action::get(signal);
        if !action.is_handler() {
            // Changed since: the kernel does what is to be done.
            self.send_again(arrived);
            self.unblock();
            return;
        }
        let mut top = registers.rsp - 128;
        let on = self.alt.holds(registers.rsp);
        let usable = self.alt.flags & libc::SS_DISABLE as u32 == 0 && self.alt.len > 0;
        let switch = action.has(libc::SA_ONSTACK) && usable && !on;
        if switch {
            top = self.alt.start + self.alt.len;
        }
        let (vectors, at) = frame::place(top);
        if let Err(e) = self.cpu.state(&mut self.state) {
            self.die(e);
        }
        frame::seal(&mut self.state);
        let mut context = Context::new(&registers, vectors, self.alt, self.mask);
        context.cause = arrived.cause;
        let whole = frame::Frame {
            restorer: action.restorer,
            context,
            info: arrived.info,
        };
        let fits = !(on || switch) || at >= self.alt.start;
        if !fits || !self.put(vectors, at, &whole) {
            // No stack: the kernel finds that too, and does what it does then.
            self.send_again(arrived);
            self.leave(registers);
        }
        if action.has(libc::SA_RESETHAND) {
            action::reset(signal);
        }
        if self.alt.flags & AltStack::AUTODISARM != 0 {
            self.alt = AltStack::NONE;
        }
        static INITIAL: State = State::INITIAL;
        if let Err(e) = self.cpu.set_state(&INITIAL) {
            self.die(e);
        }
        let handler = Registers {
            rip: action.handler,
            rsp: at,
            rflags: registers.rflags & !CLEARED,
            rax: 0,
            rdi: signal as u64,
            rsi: at + core::mem::offset_of!(frame::Frame, info) as u64,
            rdx: at + core::mem::offset_of!(frame::Frame, context) as u64,
            ..registers
        };
        self.go_on(place, handler);
        self.set_mask(action.blocks(signal, self.mask));
    }

    /// Writes the vector state and the frame onto the program's stack, which grows if it may.
    fn put(&mut self, vectors: u64, at: u64, frame: &frame::Frame) -> bool {
        let len = frame::vectors_len();
        for grown in [false, true] {
            if grown {
                let mut page = at & !4095;
                while page < vectors + len as u64 {
                    self.repair(page, WRITE);
                    page += 4096;
                }
            }
            let frame = core::ptr::from_ref(frame).cast();
            if sys::write_to(at, frame, size_of::<frame::Frame>())
                && sys::write_to(vectors, self.state.0.as_ptr(), len)
            {
                self.process.wrote(at, vectors + len as u64 - at);
                return true;
            }
        }
        false
    }

    /// rt_sigreturn: goes on with what the frame says. `at` is the frame of the exit stub.
    pub(super) fn return_from_handler(&mut self, r: &Registers, at: *mut Frame) {
        // SAFETY: the exit stub halts with RSP at the frame.
        let rsp = unsafe { (*at).rsp };
        let mut f = core::mem::MaybeUninit::<frame::Frame>::zeroed();
        let read = sys::read_from(rsp - 8, f.as_mut_ptr().cast(), size_of::<frame::Frame>());
        // SAFETY: plain data, zero or read.
        let context = unsafe { f.assume_init() }.context;
        if !read || !self.load_vectors(context.vectors) {
            // The kernel ends a program that returns by nonsense.
            self.leave_with_state(Registers {
                rip: r.rcx - super::unsupported::SYSCALL_LEN,
                rsp,
                rflags: r.r11,
                ..*r
            });
        }
        if !self.alt.holds(rsp) {
            self.alt = context.stack;
        }
        self.go_on(Place::Stub(at), context.registers());
        self.set_mask(context.mask);
    }

    /// Takes the vector state over that lies at an address of the program's; zero: the initial one.
    pub(super) fn load_vectors(&mut self, at: u64) -> bool {
        self.state.0 = State::INITIAL.0;
        if at != 0 {
            let to = self.state.0.as_mut_ptr();
            let whole = frame::vectors_len().min(xsave::MAX);
            if !sys::read_from(at, to, whole) && !sys::read_from(at, to, 512) {
                return false;
            }
            frame::unseal(&mut self.state);
        }
        self.cpu.set_state(&self.state).is_ok()
    }

    /// rt_sigprocmask.
    pub(super) fn mask_call(&mut self, args: [u64; 6]) -> i64 {
        let [how, set, old, size, ..] = args;
        if size != 8 {
            return -i64::from(libc::EINVAL);
        }
        let mut new = 0u64;
        if set != 0 && !sys::read(set, &mut new) {
            return -i64::from(libc::EFAULT);
        }
        // What has arrived by now is handled before the mask changes.
        sys::block(libc::SIG_SETMASK, !0);
        if self.record.note.is_set() {
            return crate::signal::shim::RESTART;
        }
        let before = self.mask;
        let mask = match how as i32 {
            _ if set == 0 => before,
            libc::SIG_BLOCK => before | new,
            libc::SIG_UNBLOCK => before & !new,
            libc::SIG_SETMASK => new,
            _ => {
                self.unblock();
                return -i64::from(libc::EINVAL);
            }
        };
        self.set_mask(mask);
        self.give(old, &before)
    }

    /// Writes a result of eight bytes where the program wants it; null: nowhere.
    fn give<T>(&self, to: u64, value: &T) -> i64 {
        let len = size_of::<T>();
        if to == 0 {
            return 0;
        }
        if sys::write_to(to, core::ptr::from_ref(value).cast(), len) {
            self.process.wrote(to, len as u64);
            0
        } else {
            -i64::from(libc::EFAULT)
        }
    }

    /// rt_sigaction of a signal that the program may handle.
    pub(super) fn action_call(&mut self, args: [u64; 6]) -> i64 {
        let [signal, new, old, size, ..] = args;
        if size != 8 || !(1..=64).contains(&signal) {
            return -i64::from(libc::EINVAL);
        }
        let mut action = action::Action::default();
        let to = (&raw mut action).cast();
        if new != 0 && !sys::read_from(new, to, size_of::<action::Action>()) {
            return -i64::from(libc::EFAULT);
        }
        match action::change(signal as i32, (new != 0).then_some(&action)) {
            Ok(before) => self.give(old, &before),
            Err(error) => error,
        }
    }

    /// sigaltstack, with the program's stack pointer.
    pub(super) fn alt_call(&mut self, args: [u64; 6], rsp: u64) -> i64 {
        let [new, old, ..] = args;
        let mut stack = AltStack::NONE;
        let len = size_of::<AltStack>();
        if new != 0 && !sys::read_from(new, (&raw mut stack).cast(), len) {
            return -i64::from(libc::EFAULT);
        }
        let on = self.alt.holds(rsp);
        let mut before = self.alt;
        if before.len > 0 && on {
            before.flags |= libc::SS_ONSTACK as u32;
        }
        if new != 0 {
            let mode = stack.flags & !AltStack::AUTODISARM;
            if on {
                return -i64::from(libc::EPERM);
            }
            stack = match mode as i32 {
                libc::SS_DISABLE => AltStack::NONE,
                0 | libc::SS_ONSTACK if stack.len < libc::MINSIGSTKSZ as u64 => {
                    return -i64::from(libc::ENOMEM);
                }
                0 | libc::SS_ONSTACK => AltStack {
                    flags: stack.flags & AltStack::AUTODISARM,
                    ..stack
                },
                _ => return -i64::from(libc::EINVAL),
            };
            self.alt = stack;
        }
        self.give(old, &before)
    }

    /// The kernel's alternate stack of the calling thread, which becomes `new` if there is one.
    pub(super) fn native_alt(new: Option<&AltStack>) -> Result<AltStack, crate::Error> {
        let mut old = AltStack::NONE;
        let new = new.map_or(0, |s| core::ptr::from_ref(s) as u64);
        let args = [new, (&raw mut old) as u64, 0, 0, 0, 0];
        // SAFETY: both structures are the kernel's.
        unsafe { sys::check("sigaltstack", libc::SYS_sigaltstack, args) }?;
        Ok(old)
    }
}
