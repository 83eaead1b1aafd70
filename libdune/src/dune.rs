//! The library's interface.

use crate::arch::address::{PAGE, Range, USER_END};
use crate::arch::pte::{Entry, Rights};
use crate::call;
use crate::caps::Caps;
use crate::engine::any::Choice;
use crate::engine::mock::Trouble;
use crate::error::Error;
use crate::process::{self, Process};
use crate::stats::Stats;
use crate::table::{Dirty, Flush};
use crate::thread::{self, Thread};
use crate::trap::{self, Handler};

/// How the process enters.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most threads in guest mode at a time.
    pub threads: u32,
    /// A signal that nobody else uses (SIGSTKFLT, which Linux never sends, if nothing else is said). It is blocked in threads that are in guest mode and ends
    /// their runs.
    pub signal: i32,
    /// Threads that are made by a thread in guest mode start there too.
    pub follow: bool,
    /// Place memory in guest-physical addresses in the order of its use, as on a processor whose physical addresses are short.
    pub packed: bool,
    /// The program knows nothing of guest mode: what cannot be done for it there ([`Error::Unsupported`]) ends guest mode for all threads, and the program goes on
    /// natively.
    pub whole: bool,
    /// Flushes are of all translations, also where few pages changed. For comparison.
    pub full_flush: bool,
    /// Which engine runs the guest.
    pub engine: Choice,
    /// What goes wrong, for tests.
    pub trouble: Trouble,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            threads: 256,
            // Not one of the real-time signals: those are refused when too many are queued.
            signal: libc::SIGSTKFLT,
            follow: true,
            packed: false,
            whole: false,
            full_flush: false,
            engine: Choice::Any,
            trouble: Trouble::None,
        }
    }
}

/// The process's guest mode. There is one; this is a handle.
#[derive(Clone, Copy)]
pub struct Dune(&'static Process);

impl Dune {
    /// Takes the process into guest mode, with the calling thread as the first. When this returns, the caller runs there.
    ///
    /// # Errors
    /// It is there already, or machine, kernel or memory do not allow it.
    pub fn enter(config: Config) -> Result<Dune, Error> {
        if !(1..=64).contains(&config.signal) || config.threads == 0 {
            return Err(Error::Missing(
                "a signal from 1 to 64 and room for a thread",
            ));
        }
        // Also for a handler on the run loop's stack, which has no room for what follows.
        if process::get().is_some() {
            return Err(Error::Entered);
        }
        let process = process::make(config)?;
        Thread::enter(process)?;
        Ok(Dune(process))
    }

    /// What this machine offers. Tries the engine in a child process; takes some milliseconds.
    ///
    /// # Errors
    /// Why guest mode cannot be had.
    pub fn probe() -> Result<Caps, Error> {
        Caps::probe(Choice::Any)
    }

    /// The same for one engine.
    ///
    /// # Errors
    /// Why guest mode cannot be had through it.
    pub fn probe_engine(engine: Choice) -> Result<Caps, Error> {
        Caps::probe(engine)
    }

    /// The same for one configuration, given up after so many milliseconds.
    ///
    /// # Errors
    /// Why guest mode cannot be had with it.
    pub fn probe_within(config: Config, milliseconds: u64) -> Result<Caps, Error> {
        Caps::probe_within(config, milliseconds)
    }

    /// The name of the engine that runs the guest: `kvm` or `kmod`.
    pub fn engine(self) -> &'static str {
        self.0.engine()
    }

    /// The handle, if the process has entered. No system call if the caller is inside.
    pub fn get() -> Option<Dune> {
        let inside = thread::current().map(|record| record.process);
        inside.or_else(process::get).map(Dune)
    }

    /// Whether the calling thread runs in guest mode now.
    pub fn inside() -> bool {
        thread::current().is_some()
    }

    /// Takes the calling thread into guest mode.
    ///
    /// # Errors
    /// It is there already, or no vCPU can be had.
    pub fn enter_thread(self) -> Result<(), Error> {
        Thread::enter(self.0)
    }

    /// Takes the calling thread out of guest mode.
    ///
    /// # Errors
    /// It is not there.
    pub fn leave_thread(self) -> Result<(), Error> {
        thread::current().ok_or(Error::NotEntered)?;
        call::leave();
        Ok(())
    }

    /// Fills the tables for all that is mapped in `start..start + len`, so that its first use is no exit. Only inside.
    ///
    /// # Errors
    /// The range is bad, or memory is short.
    pub fn map(self, start: usize, len: usize) -> Result<(), Error> {
        let range = whole(start, len)?;
        thread::current().ok_or(Error::NotEntered)?;
        match call::map(range.start, range.end) {
            0.. => Ok(()),
            error => Err(Error::System("map", -error as i32)),
        }
    }

    /// Changes what the guest may do with pages, without a system call and without an exit. A fault goes to the page-fault handler until
    /// [`Dune::release`]. The process's own rights stay, and are the most that counts. Only inside.
    ///
    /// # Errors
    /// The range is bad, or memory is short.
    pub fn protect(self, start: usize, len: usize, rights: Rights) -> Result<Flush, Error> {
        let range = whole(start, len)?;
        self.known(range)?;
        let mut flush = Flush::nothing();
        self.0.view.each(range, |page, entry| {
            let old = entry.set_rights(rights, true);
            if old.loses_rights(entry.load()) {
                flush.add(page);
            }
        });
        Ok(flush)
    }

    /// Gives pages back the rights that the process has, at their next use. Only inside.
    ///
    /// # Errors
    /// The range is bad.
    pub fn release(self, start: usize, len: usize) -> Result<Flush, Error> {
        let range = whole(start, len)?;
        thread::current().ok_or(Error::NotEntered)?;
        let mut flush = Flush::nothing();
        self.0.view.each(range, |page, entry| {
            if entry.set_rights(Rights::NONE, false).present() {
                flush.add(page);
            }
        });
        Ok(flush)
    }

    /// The entry of a page, once its table exists: for programs that edit their tables themselves. They owe the flushes.
    pub fn entry(self, address: usize) -> Option<&'static Entry> {
        self.0.view.entry(address as u64)
    }

    /// Registers what handles an exception, page faults among them; `None` removes it. Only inside.
    ///
    /// # Errors
    /// There is no such exception, or the thread is not inside.
    pub fn on_exception(self, vector: u8, handler: Option<Handler>) -> Result<(), Error> {
        if vector >= 32 || matches!(vector, 2 | 8 | 18) {
            return Err(Error::Missing("a handler for this exception"));
        }
        thread::current().ok_or(Error::NotEntered)?;
        trap::set_handler(vector, handler);
        self.0.open_gate(vector);
        Ok(())
    }

    /// Pages of `start..start + len` that were written since they were last reported, each cleared as it is reported. Pages that the tables did not
    /// know before count as written. What the kernel writes in a system call is not seen. Only inside.
    ///
    /// # Errors
    /// The range is bad, or the thread is not inside.
    pub fn dirty(self, start: usize, len: usize) -> Result<Dirty, Error> {
        let range = whole(start, len)?;
        thread::current().ok_or(Error::NotEntered)?;
        Ok(self.0.view.dirty(range))
    }

    /// Flushes, on all vCPUs: when it returns, no write goes unseen and no right that was taken is left. No exit if no other thread is inside.
    ///
    /// # Errors
    /// The thread is not inside.
    pub fn flush(self, flush: Flush) -> Result<(), Error> {
        let own = thread::current().ok_or(Error::NotEntered)?;
        if flush.is_empty() {
            return Ok(());
        }
        let epoch = own.raise_epoch();
        if !own.others_inside() || !call::flush_others(epoch) {
            call::flush_own(&flush);
        }
        Ok(())
    }

    /// Counts so far.
    pub fn stats(self) -> Stats {
        self.0.stats()
    }

    /// Has every page of a range known to the tables.
    fn known(self, range: Range) -> Result<(), Error> {
        thread::current().ok_or(Error::NotEntered)?;
        let mut known = 0;
        self.0.view.each(range, |_, entry| {
            known += u64::from(entry.load() != crate::arch::pte::Value::EMPTY);
        });
        if known < range.pages() {
            self.map(range.start as usize, (range.end - range.start) as usize)?;
        }
        Ok(())
    }
}

/// A range that consists of whole pages of user space.
fn whole(start: usize, len: usize) -> Result<Range, Error> {
    let (start, len) = (start as u64, len as u64);
    let end = start.checked_add(len).filter(|e| *e <= USER_END);
    match end {
        Some(end) if len > 0 && start % PAGE == 0 && len % PAGE == 0 => Ok(Range { start, end }),
        _ => Err(Error::BadRange),
    }
}
