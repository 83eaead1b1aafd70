//! A thread in guest mode: its vCPU, its record, the way in and out.

mod clone;
mod fault;
mod memory;
mod rseq;
mod run_loop;
mod signals;
mod system_call;
pub mod unsupported;

use crate::arch::registers::{BASE_FLAGS, Registers};
use crate::arch::segments::Frame;
use crate::arch::xsave::State;
use crate::engine::Cpu;
use crate::error::Error;
use crate::monitor::area::{self, Area};
use crate::monitor::stubs;
use crate::process::{AnyCpu, Process};
use crate::signal::bit;
use crate::signal::frame::{self, AltStack, Context};
use crate::signal::note::{Arrived, Note};
use crate::stats::count;
use crate::sys::{self, Mapping};
use crate::tls;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::*};

/// What other threads see of a thread in guest mode. It is reused, never freed.
pub struct Record {
    /// Its machine.
    pub process: &'static Process,
    /// Which thread it belongs to; zero: none.
    owner: AtomicI32,
    /// The owner runs guest code, or is about to.
    inside: AtomicBool,
    /// The epoch up to which this vCPU has flushed.
    flushed: AtomicU64,
    /// Page faults that this vCPU has dealt with by itself.
    pub faults: &'static AtomicU64,
    /// A signal that its handler has not seen yet.
    pub note: Note,
    /// What only the owner uses.
    thread: *mut Thread,
}

/// No thread has this number: a record that is being given to a new thread.
const NOBODY: i32 = i32::MAX;

/// What belongs to a thread in guest mode alone.
pub struct Thread {
    process: &'static Process,
    record: &'static Record,
    cpu: AnyCpu,
    area: Area,
    /// What the program blocks in this thread.
    mask: u64,
    /// Its alternate stack for handlers.
    alt: AltStack,
    /// It left for an exception, and comes back with the signal.
    returns: bool,
    /// Its owner has gone on natively.
    away: bool,
    /// A timer that will interrupt the vCPU.
    soon: Option<u64>,
    /// The area for restartable sequences that was registered; zero: none.
    restartable: u64,
    /// Bases of FS and GS that the thread goes on with natively, where they are not the kernel's for it: instructions may have changed them in the guest.
    bases: Option<(u64, u64)>,
    /// What a thread goes on with natively.
    native: Registers,
    /// The same as a signal frame.
    frame: frame::Context,
    state: State,
}

/// The calling thread's record, if it runs guest code now.
pub fn current() -> Option<&'static Record> {
    // SAFETY: null, or set for this thread's record, which is never freed.
    let record = unsafe { tls::get().as_ref() }?;
    record.inside.load(Relaxed).then_some(record)
}

impl Record {
    /// Ends the owner's run; whether the signal for that was sent. A real-time signal may be refused while too many are queued.
    pub fn kick(&self) -> bool {
        let owner = self.owner.load(Acquire);
        let signal = self.process.config.signal;
        let args = [self.process.id as u64, owner as u64, signal as u64, 0, 0, 0];
        // SAFETY: a signal that is blocked everywhere but in the guest, where it is only an exit. If the thread has ended there is no such thread.
        unsafe { sys::call(libc::SYS_tgkill as u64, args) != -i64::from(libc::EAGAIN) }
    }

    /// Begins a flush for all vCPUs: those that are not running flush before they run again. Returns what [`Record::flush_others`] waits for.
    pub fn raise_epoch(&self) -> u64 {
        let epoch = self.process.epoch.fetch_add(1, SeqCst) + 1;
        // The caller flushes its own vCPU itself.
        let before = epoch - 1;
        let _ = self
            .flushed
            .compare_exchange(before, epoch, SeqCst, Relaxed);
        epoch
    }

    /// Has the other vCPUs flush and waits until none runs with translations from before `epoch`.
    fn flush_others(&self, epoch: u64) {
        let old = |r: &Record| r.inside.load(SeqCst) && r.flushed.load(SeqCst) < epoch;
        for other in self.process.records() {
            while old(other) && !other.kick() {
                sys::give_way();
            }
        }
        for other in self.process.records() {
            while old(other) {
                sys::give_way();
            }
        }
    }

    /// Whether another thread runs guest code. Who enters later sees an epoch that was raised before.
    pub fn others_inside(&self) -> bool {
        let other = |r: &Record| !core::ptr::eq(r, self) && r.inside.load(SeqCst);
        self.process.records().any(other)
    }
}

impl Thread {
    /// A record for a thread: its own of before, one whose thread has ended, or a new one.
    // The exclusive reference comes from the reservation, not from the machine.
    #[allow(clippy::mut_from_ref)]
    fn find(process: &'static Process, owner: i32) -> Result<&'static mut Thread, Error> {
        for record in process.records() {
            let old = record.owner.load(Acquire);
            // A thread that is being made has no number yet.
            let free = old == 0 || old != NOBODY && (old == owner || ended(process.id, old));
            let take = || record.owner.compare_exchange(old, owner, AcqRel, Relaxed);
            if free && take().is_ok() {
                record.note.take();
                // SAFETY: the exchange made the record ours; its former owner is gone, has left, or is this thread.
                let thread = unsafe { &mut *record.thread };
                thread.is_back();
                return Ok(thread);
            }
        }
        process.add_thread(|process| Thread::new(process, owner))
    }

    #[allow(clippy::mut_from_ref)]
    fn new(
        process: &'static Process,
        owner: i32,
    ) -> Result<(&'static Record, &'static mut Thread), Error> {
        let (cpu, area) = process.cpu()?;
        let size = size_of::<(Thread, Record)>() as u64;
        let memory = Mapping::new(size.next_multiple_of(4096))?;
        let thread = memory.start() as *mut Thread;
        // SAFETY: fresh memory of this size, page aligned; it is never freed. The thread comes first, and its size is a multiple of its alignment,
        // which is larger than that of the record. The count lies in the area, which the thread keeps.
        unsafe {
            let record = thread.add(1).cast::<Record>();
            record.write(Record {
                process,
                owner: AtomicI32::new(owner),
                inside: AtomicBool::new(false),
                flushed: AtomicU64::new(0),
                faults: &*area.faults(),
                note: Note::new(),
                thread,
            });
            thread.write(Thread {
                process,
                record: &*record,
                cpu,
                area,
                mask: 0,
                alt: AltStack::NONE,
                returns: false,
                away: false,
                soon: None,
                restartable: 0,
                bases: None,
                native: Registers::default(),
                frame: Context::new(&Registers::default(), 0, AltStack::NONE, 0),
                state: State::INITIAL,
            });
            core::mem::forget(memory);
            Ok((&*record, &mut *thread))
        }
    }

    /// Takes the calling thread into the guest. Returns there.
    ///
    /// # Errors
    /// It is there already, or no vCPU can be had.
    pub fn enter(process: &'static Process) -> Result<(), Error> {
        if !tls::get().is_null() {
            return Err(Error::Entered);
        }
        if process.closed.load(SeqCst) {
            return Err(Error::Unsupported("what the program has done before"));
        }
        let thread = Thread::find(process, sys::thread_id())?;
        thread.adopt()?;
        thread.adopt_signals()?;
        // SAFETY: this is the thread's own state; sizes were checked by `process::make`.
        unsafe { thread.state.store() };
        thread.cpu.set_state(&thread.state)?;
        tls::set(thread.record);
        let stack = thread.area.loop_stack();
        // SAFETY: the stack is the record's own and not in use; `begin` never returns.
        unsafe { stubs::dune_enter(core::ptr::from_mut(thread).cast(), stack, begin) };
        Ok(())
    }

    /// Takes over what the kernel knows of the calling thread: segment bases and blocked signals.
    fn adopt(&mut self) -> Result<(), Error> {
        let (mut fs, mut gs) = (0u64, 0u64);
        for (what, base) in [(0x1003, &mut fs), (0x1004, &mut gs)] {
            let args = [what, core::ptr::from_mut(base) as u64, 0, 0, 0, 0];
            // SAFETY: ARCH_GET_FS and ARCH_GET_GS write one word.
            unsafe { sys::check("arch_prctl", libc::SYS_arch_prctl, args) }?;
        }
        self.cpu.set_bases(fs, gs)?;
        self.restartable = rseq::suspend(fs);
        self.returns = false;
        Ok(())
    }

    /// The bases of the vCPU are those to go on with.
    fn keep_bases(&mut self) {
        self.bases = self.cpu.bases().ok();
    }

    /// Has the calling thread go on with these bases. Its thread-local data is another thread's, or nobody's, from here on.
    fn take_bases(&mut self) {
        const SET_GS: u64 = 0x1001;
        const SET_FS: u64 = 0x1002;
        let Some((fs, gs)) = self.bases.take() else {
            return;
        };
        for (what, base) in [(SET_FS, fs), (SET_GS, gs)] {
            // SAFETY: the program has set these, and the library uses no thread-local data behind this.
            unsafe { sys::call(libc::SYS_arch_prctl as u64, [what, base, 0, 0, 0, 0]) };
        }
    }

    /// Takes over blocked signals and the alternate stack.
    fn adopt_signals(&mut self) -> Result<(), Error> {
        self.alt = Thread::native_alt(self.process.config.whole.then_some(&AltStack::NONE))?;
        let kick = bit(self.process.config.signal);
        self.mask = sys::block(libc::SIG_BLOCK, kick);
        self.cpu.set_blocked(self.mask & !kick)
    }

    /// Prepares the vCPU to go on at CPL 3.
    fn go_to_user(&mut self, registers: Registers) -> Result<(), Error> {
        let frame = Frame::user(registers.rip, registers.rsp, registers.rflags | BASE_FLAGS);
        *self.cpu.registers_mut() = registers;
        let at = self.area.put_frame(area::CALL, frame);
        self.cpu.go_to_monitor(stubs::resume(), at)
    }

    /// Leaves the guest: the thread goes on natively with `registers` and the vector state in `self.state`.
    fn leave(&mut self, registers: Registers) -> ! {
        count(&self.process.counters.leaves);
        self.away = true;
        self.process.watch.left();
        self.record.inside.store(false, SeqCst);
        // From here to the end, where all of the thread's state changes at once, the shim has no place to go on.
        sys::block(libc::SIG_SETMASK, !0);
        if let Some(arrived) = self.record.note.take() {
            self.send_again(&arrived);
        }
        tls::set(core::ptr::null());
        rseq::resume(core::mem::take(&mut self.restartable));
        self.take_bases();
        if !self.process.config.whole {
            self.alt = Thread::native_alt(None).unwrap_or(AltStack::NONE);
        }
        frame::seal(&mut self.state);
        let vectors = self.state.0.as_ptr() as u64;
        self.frame = Context::new(&registers, vectors, self.alt, self.mask);
        // SAFETY: registers are those of guest code of this very process, which may run natively as well; the state is one that XSAVE made.
        unsafe { stubs::dune_return(&raw const self.frame) }
    }

    /// Who went on natively is in the guest again, or has ended.
    fn is_back(&mut self) {
        if core::mem::take(&mut self.away) {
            self.process.watch.came_back();
        }
    }

    /// Called by the shim in a native thread: if the thread left for an exception, it comes back to handle the signal in the guest, and this does not return.
    pub fn come_back(arrived: &Arrived, context: &Context) {
        let Some(process) = crate::process::get() else {
            return;
        };
        let own = sys::thread_id();
        let record = process.records().find(|r| r.owner.load(Acquire) == own);
        let Some(record) = record.filter(|_| !process.closed.load(SeqCst)) else {
            return;
        };
        // SAFETY: the record is this thread's, which is not in the guest.
        let thread = unsafe { &mut *record.thread };
        if !core::mem::take(&mut thread.returns) {
            return;
        }
        thread.native = context.registers();
        thread.frame = *context;
        record.note.put(*arrived);
        let stack = thread.area.loop_stack();
        // SAFETY: the stack is the record's own and not in use; `begin_again` never returns.
        unsafe { stubs::dune_enter(core::ptr::from_mut(thread).cast(), stack, begin_again) };
    }
}

/// Whether a thread of this process is gone.
fn ended(process: i32, thread: i32) -> bool {
    let args = [process as u64, thread as u64, 0, 0, 0, 0];
    // SAFETY: signal 0 does nothing.
    unsafe { sys::call(libc::SYS_tgkill as u64, args) == -i64::from(libc::ESRCH) }
}

/// The first function on the run loop's stack.
unsafe extern "C" fn begin(thread: *mut core::ffi::c_void, rsp: u64, rip: u64) -> ! {
    // SAFETY: `enter` passes the thread's own record.
    let thread = unsafe { &mut *thread.cast::<Thread>() };
    thread.start(Registers {
        rsp,
        rip,
        ..Registers::default()
    })
}

/// The same for a thread that comes back with a signal. Every signal is blocked.
unsafe extern "C" fn begin_again(thread: *mut core::ffi::c_void, _: u64, _: u64) -> ! {
    // SAFETY: `come_back` passes the thread's own record.
    let thread = unsafe { &mut *thread.cast::<Thread>() };
    let registers = thread.native;
    let (mask, alt) = (thread.frame.mask, thread.frame.stack);
    let ready = thread.adopt().is_ok() && thread.adopt_signals().is_ok();
    (thread.mask, thread.alt) = (mask, alt);
    let vectors = thread.frame.vectors;
    if !thread.load_vectors(vectors) || !ready {
        thread.leave(registers);
    }
    thread.is_back();
    tls::set(thread.record);
    thread.start(registers)
}

impl Thread {
    /// The run loop's beginning, with the registers that guest code starts with.
    fn start(&mut self, registers: Registers) -> ! {
        count(&self.process.counters.enters);
        if self.process.closed.load(SeqCst) {
            self.leave(registers);
        }
        if self.go_to_user(registers).is_err() {
            self.leave(registers);
        }
        self.run_loop()
    }
}
