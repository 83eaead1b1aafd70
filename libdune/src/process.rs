//! What all threads of the process in guest mode share.

use crate::arch::address::Range;
use crate::arch::pte::{FRAME, Rights};
use crate::arch::registers::BASE_FLAGS;
use crate::arch::segments::{Frame, Gate, Idt};
use crate::arch::xsave;
use crate::call;
use crate::engine::any::{AnyEngine, AnyEngineCpu};
use crate::engine::mock::MockCpu;
use crate::engine::{Cpu, Engine, Exit, Start};
use crate::error::Error;
use crate::gpa::{Chunk, GpaMap, Layout};
use crate::lock::Lock;
use crate::maps;
use crate::monitor::area::{self, Area};
use crate::monitor::{self, stubs};
use crate::stats::{Counters, Stats};
use crate::sys::Mapping;
use crate::table::{Tables, View};
use crate::thread::{Record, Thread};
use crate::trap;
use crate::watch::Watch;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

/// A vCPU of the engine in use. Without trouble (the default) just that.
pub type AnyCpu = MockCpu<AnyEngineCpu>;

/// Most threads in guest mode at a time.
pub const MAX_THREADS: usize = 1024;

/// The process's virtual machine. There is one at a time, and it is never freed: threads may be anywhere in it.
pub struct Process {
    engine: AnyEngine,
    /// Process id: a forked child has the memory but not the machine.
    pub id: i32,
    pub tables: Lock<Tables>,
    pub view: View,
    /// Where the tables lie, now and later.
    table_memory: Range,
    /// The machine of the process that this one was forked from: its tables are a copy that nobody uses.
    before: Option<&'static Process>,
    idt: Mapping,
    /// Descriptor of the list of mappings.
    list: i32,
    threads: [AtomicPtr<Record>; MAX_THREADS],
    thread_count: AtomicU32,
    /// vCPUs that were asked for.
    cpus: AtomicU32,
    /// Rises with each flush that concerns others.
    pub epoch: AtomicU64,
    /// No thread may be in guest mode any more.
    pub closed: AtomicBool,
    pub counters: Counters,
    /// Who relies on dirty bits, and who writes without setting them.
    pub watch: Watch,
    pub config: crate::Config,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(core::ptr::null_mut());
/// Held while the process is made.
static MAKING: Lock<()> = Lock::new(());

/// The process's machine, if there is one and this is not a forked child.
pub fn get() -> Option<&'static Process> {
    let process = newest()?;
    (process.id == crate::sys::process_id()).then_some(process)
}

/// Whether this process, or one that it was forked from, has made a machine.
pub fn was_entered() -> bool {
    !PROCESS.load(Acquire).is_null()
}

/// The engine that was asked for then.
pub fn engine_before() -> crate::Choice {
    newest().map_or_else(crate::Choice::default, |p| p.config.engine)
}

/// Access to the tables of the process's machine.
pub fn view() -> Option<View> {
    Some(newest()?.view)
}

/// The addresses of page tables: of the process's machine, and of those of the processes that it was forked from.
pub fn table_memory() -> impl Iterator<Item = Range> {
    core::iter::successors(newest(), |process| process.before).map(|process| process.table_memory)
}

/// The machine of this process, or of one that it was forked from.
fn newest() -> Option<&'static Process> {
    // SAFETY: null or published by `make`, and never freed.
    unsafe { PROCESS.load(Acquire).as_ref() }
}

unsafe extern "C" {
    /// The first byte of the program or shared object that this library is part of.
    static __ehdr_start: u8;
    /// The first byte behind it.
    static _end: u8;
}

/// Makes the process's machine.
///
/// # Errors
/// There is one already, or the machine, the kernel or memory does not allow it.
#[inline(never)]
pub fn make(config: crate::Config) -> Result<&'static Process, Error> {
    let _making = MAKING.lock();
    if get().is_some() {
        return Err(Error::Entered);
    }
    if xsave::enabled() & 3 != 3 || xsave::size() > xsave::MAX {
        return Err(Error::Missing("XSAVE with a state of at most 4096 bytes"));
    }
    trap::STATE_SIZE.store((xsave::size() as u64).next_multiple_of(64), Relaxed);
    trap::STATE_MASK.store(xsave::enabled(), Relaxed);
    let memory = Mapping::new((size_of::<Process>() as u64).next_multiple_of(4096))?;
    let at = memory.start() as *mut Process;
    let list = maps::open()?;
    let process = Process::new(config, list).inspect_err(|_| maps::close())?;
    // SAFETY: fresh memory of this size, page aligned.
    let process = unsafe {
        at.write(process);
        &*at
    };
    if let Err(e) = process.prepare() {
        // SAFETY: nobody else knows of it, no vCPU of it exists any more, and it is not used below.
        unsafe { at.drop_in_place() };
        maps::close();
        return Err(e);
    }
    core::mem::forget(memory);
    crate::signal::shim::KICK.store(config.signal, Relaxed);
    crate::signal::action::handle_kick(config.signal);
    PROCESS.store(at, Release);
    if config.whole {
        crate::signal::action::adopt();
    }
    Ok(process)
}

impl Process {
    fn new(config: crate::Config, list: i32) -> Result<Process, Error> {
        let engine = AnyEngine::open(config.engine)?;
        let limits = config.trouble.limits(engine.limits());
        let layout = if config.packed {
            Layout::Packed
        } else {
            Layout::for_width(limits.address_bits)
        };
        let gpa = GpaMap::new(layout, limits.address_bits, limits.slots);
        let tables = Tables::new(gpa, &mut |chunk| {
            config.trouble.slot(chunk.slot)?;
            engine.back(chunk)
        })?;
        Ok(Process {
            view: tables.view(),
            table_memory: tables.range(),
            before: newest(),
            id: crate::sys::process_id(),
            engine,
            tables: Lock::new(tables),
            idt: Mapping::new(size_of::<Idt>() as u64)?,
            list,
            threads: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_THREADS],
            thread_count: AtomicU32::new(0),
            cpus: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            counters: Counters::default(),
            watch: Watch::new(),
            config,
        })
    }

    /// Maps the monitor and fills the gates.
    fn prepare(&self) -> Result<(), Error> {
        self.idt.populate(0, self.idt.len())?;
        // All of the object that the library is part of, and this structure: what `trap::dispatch` needs.
        let (start, end) = (&raw const __ehdr_start, &raw const _end);
        self.fill_mapped(Range::covering(start as u64, end as u64))?;
        let own = core::ptr::from_ref(self) as u64;
        self.fill(
            Range::covering(own, own + size_of::<Process>() as u64),
            Rights::RW,
        )?;
        let idt = self.idt.start();
        self.fill(Range::covering(idt, idt + self.idt.len()), Rights::RW)?;
        for vector in 0..32 {
            self.set_gate(vector, trap::has_handler(vector));
        }
        let [root, offset] = self.view.walk();
        for (to, value) in trap::WALK.iter().zip([root, offset, FRAME]) {
            to.store(value, Relaxed);
        }
        trap::FULL_FLUSH.store(self.config.full_flush, Relaxed);
        let gate = |handler| Gate::new(handler, area::CALL, true);
        self.put_gate(
            monitor::SYSTEM_CALL,
            gate(stubs::exit(stubs::EXIT_SYSTEM_CALL)),
        );
        self.put_gate(monitor::CALL, gate(stubs::exit(stubs::EXIT_CALL)));
        self.put_gate(monitor::FLUSH_ALL, gate(stubs::flush_all()));
        self.put_gate(monitor::FLUSH_PAGES, gate(stubs::flush_pages()));
        self.find_way_out()
    }

    /// Finds out whether INT at CPL 3 reaches the gates: with a vCPU that is used for nothing else.
    fn find_way_out(&self) -> Result<(), Error> {
        call::SOFTWARE_INTERRUPTS.store(true, Relaxed);
        let (mut cpu, area) = self.cpu()?;
        let at = area.put_frame(area::CALL, Frame::user(stubs::call(), 0, BASE_FLAGS));
        cpu.go_to_monitor(stubs::resume(), at)?;
        let reached = loop {
            match cpu.run()? {
                Exit::Halt => break stubs::exit_index(cpu.registers().rip),
                Exit::Interrupted => {}
                Exit::Refused => {
                    return Err(Error::SelfTest("the guest cannot reach its own code"));
                }
            }
        };
        match reached {
            Some(stubs::EXIT_CALL) => Ok(()),
            // Refused by the CPU, or by a kernel that interprets the instruction.
            Some(6 | 13) => {
                call::SOFTWARE_INTERRUPTS.store(false, Relaxed);
                Ok(())
            }
            _ => Err(Error::SelfTest("INT reaches no gate of the guest")),
        }
    }

    fn put_gate(&self, vector: u8, gate: Gate) {
        let idt = self.idt.start() as *mut Idt;
        // SAFETY: inside the table. A vCPU that takes this vector meanwhile is not defined by the architecture; gates change only for vectors whose
        // way, old or new, leads to the same thread's run loop, and both words are written whole, the address words of both stubs being equal
        // but for the low 16 bits, which lie in one word.
        unsafe { (&raw mut (*idt).0[usize::from(vector)]).write_volatile(gate) };
    }

    /// Has the guest deal with exceptions of a vector if it can: the program has a handler, or writes are watched. Only inside.
    pub fn open_gate(&self, vector: u8) {
        let writes = vector == trap::PAGE_FAULT && self.watch.takes_rights();
        call::gate(vector, writes || trap::has_handler(vector));
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        stats.faults += self.records().map(|r| r.faults.load(Relaxed)).sum::<u64>();
        stats
    }

    /// Sends exceptions of a vector to the program's handler in the guest, or to the run loop.
    pub fn set_gate(&self, vector: u8, upward: bool) {
        let stack = match vector {
            2 | 8 | 18 => area::ANY_TIME,
            trap::PAGE_FAULT => area::PAGE_FAULT,
            _ => area::EXCEPTION,
        };
        let handler = if upward {
            stubs::upward_of(vector)
        } else {
            stubs::exit(vector.into())
        };
        let user = matches!(vector, 3 | 4);
        self.put_gate(vector, Gate::new(handler, stack, user));
    }

    /// Makes pages usable in the guest.
    ///
    /// # Errors
    /// No memory or no slot.
    pub fn fill(&self, range: Range, rights: Rights) -> Result<(), Error> {
        self.fill_under_lock(&mut self.tables.lock(), range, rights)
    }

    /// The same for who holds the lock of `tables`.
    ///
    /// # Errors
    /// No memory or no slot.
    pub fn fill_under_lock(
        &self,
        tables: &mut Tables,
        range: Range,
        rights: Rights,
    ) -> Result<(), Error> {
        let mut back = |chunk: Chunk| {
            self.config.trouble.slot(chunk.slot)?;
            self.engine.back(chunk)
        };
        tables.fill(range, rights, &mut back)
    }

    /// Makes everything usable that is mapped in a range.
    ///
    /// # Errors
    /// No memory or no slot.
    pub fn fill_mapped(&self, wanted: Range) -> Result<(), Error> {
        let mut at = wanted.start;
        while let Some(area) = maps::find(at)?.filter(|a| a.range.start < wanted.end) {
            if let Some(range) = area.range.intersection(wanted)
                && area.rights != Rights::NONE
            {
                self.fill(range, area.rights)?;
            }
            at = area.range.end;
        }
        Ok(())
    }

    /// The records of all threads that are or were in guest mode.
    pub fn records(&self) -> impl Iterator<Item = &'static Record> {
        let known = (self.thread_count.load(Acquire) as usize).min(MAX_THREADS);
        let record = |slot: &AtomicPtr<Record>| {
            // SAFETY: null while it is made, else a record, which is never freed.
            unsafe { slot.load(Acquire).as_ref() }
        };
        self.threads[..known].iter().filter_map(record)
    }

    /// Adds the record of one more thread, which `make` makes.
    ///
    /// # Errors
    /// There are too many, or what `make` says.
    pub fn add_thread(
        &'static self,
        make: impl FnOnce(&'static Process) -> Result<(&'static Record, &'static mut Thread), Error>,
    ) -> Result<&'static mut Thread, Error> {
        let most = MAX_THREADS.min(self.config.threads as usize) as u32;
        let number = self
            .thread_count
            .fetch_update(AcqRel, Acquire, |n| (n < most).then_some(n + 1))
            .map_err(|_| Error::Threads(most))?;
        let (record, thread) = make(self)?;
        self.threads[number as usize].store(core::ptr::from_ref(record).cast_mut(), Release);
        Ok(thread)
    }

    /// The engine's name.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Descriptors of the machine's: the first and the last number.
    pub fn descriptors(&self) -> (i32, i32) {
        let (first, last) = self.engine.descriptors();
        (first.min(self.list), last.max(self.list))
    }

    /// In a forked child: closes what it has of its parent's machine.
    pub fn close_in_child(&self) {
        self.engine.close();
        maps::close();
    }

    /// A vCPU with its memory.
    pub fn cpu(&self) -> Result<(AnyCpu, Area), Error> {
        let area = Area::new()?;
        for range in area.ranges() {
            self.fill(range, Rights::RW)?;
            self.view.pin(range);
        }
        self.config.trouble.cpu(self.cpus.fetch_add(1, Relaxed))?;
        let cpu = self.engine.cpu(&Start {
            root: self.view.root(),
            gdt: area.gdt(),
            idt: self.idt.start(),
            task: area.task(),
            system_call: if call::SOFTWARE_INTERRUPTS.load(Relaxed) {
                stubs::system_call()
            } else {
                stubs::system_call_int3()
            },
        })?;
        Ok((MockCpu::new(cpu, self.config.trouble), area))
    }
}
