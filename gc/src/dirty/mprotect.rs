//! `mprotect`: pages are made read-only, and the SIGSEGV of the first write is the report.
//!
//! Works on every kernel, and changes what the program sees: a system call that writes to a protected page fails with
//! `EFAULT`, and a program's own handler must not replace this one. So it is used only where it is asked for. It tracks
//! pieces of 64 KiB, since every piece that differs from its neighbours is a mapping for the kernel, which allows 65 530.
//!
//! Each piece has a byte: written or not. The handler first makes the piece writable and then sets its byte; a harvest
//! first clears the byte and then protects. So a piece that is writable with its byte clear has a handler on its way that will set
//! it; the handler blocks every signal, also the one that stops the world.

use super::failure::Failure;
use super::ranges::{Joiner, Range};
use super::tracking::{NoSource, Outcome, Source, When};
use crate::sys::mem::PAGE;
use crate::sys::raw::{Errno, syscall};
use crate::sys::{proc_maps, scratch, signal};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::*};

/// Pieces are aligned parts of address space of this size.
const PIECE: usize = 1 << 16;
/// Parts of the ranges that can be tracked.
const SEGMENTS: usize = 4096;
/// Pieces in all: 64 GiB.
const PIECES: usize = 1 << 20;

/// A part of a tracked range that was readable, writable and private when it was armed.
struct Segment {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Index of the byte of the piece that holds `start`.
    first: AtomicUsize,
}

/// What one arming tracks.
struct Table {
    count: AtomicUsize,
    pieces: AtomicUsize,
    segments: [Segment; SEGMENTS],
    written: [AtomicU8; PIECES],
}

/// What the handler looks at.
struct Shared {
    /// Used in turn: a handler that is late finds the other one unchanged.
    tables: [Table; 2],
    /// Number of the arming; its lowest bit says which table holds.
    generation: AtomicUsize,
    /// A piece could not be made writable alone, so all of its segment was: any page may have been written.
    overflowed: AtomicBool,
    /// The handler before ours.
    previous: Previous,
}

/// A `sigaction` in atomics.
struct Previous {
    handler: AtomicUsize,
    flags: AtomicU64,
    mask: AtomicU64,
}

/// Address of the [`Shared`], in a mapping of its own that is no root; 0 before the first use.
static SHARED: AtomicUsize = AtomicUsize::new(0);

fn shared() -> Option<&'static Shared> {
    let p = SHARED.load(Acquire) as *const Shared;
    // SAFETY: null, or a zeroed mapping of the right size that is never unmapped; all-zero is a valid `Shared`.
    unsafe { p.as_ref() }
}

impl Table {
    fn segments(&self) -> impl Iterator<Item = (&Segment, Range)> {
        self.segments[..self.count.load(Acquire)].iter().map(|s| {
            let (start, end) = (s.start.load(Relaxed), s.end.load(Relaxed));
            (s, Range { start, end })
        })
    }

    /// The segment of `addr`, the part of it in one piece around `addr`, and that piece's byte.
    fn piece(&self, addr: usize) -> Option<(Range, Range, &AtomicU8)> {
        let (s, all) = self
            .segments()
            .find(|(_, r)| (r.start..r.end).contains(&addr))?;
        let index = s.first.load(Relaxed) + addr / PIECE - all.start / PIECE;
        let piece = Range {
            start: (addr & !(PIECE - 1)).max(all.start),
            end: ((addr | (PIECE - 1)) + 1).min(all.end),
        };
        Some((all, piece, self.written.get(index)?))
    }

    fn add(&self, range: Range) -> Option<()> {
        let (n, first) = (self.count.load(Relaxed), self.pieces.load(Relaxed));
        let pieces = (range.end - 1) / PIECE - range.start / PIECE + 1;
        let segment = self.segments.get(n)?;
        for byte in self.written.get(first..first + pieces)? {
            byte.store(0, Relaxed);
        }
        segment.start.store(range.start, Relaxed);
        segment.end.store(range.end, Relaxed);
        segment.first.store(first, Relaxed);
        self.pieces.store(first + pieces, Relaxed);
        self.count.store(n + 1, Release);
        Some(())
    }
}

fn protect(range: Range, protection: i32) -> Result<(), Errno> {
    // SAFETY: callers pass parts of segments, which were readable and writable when they were armed. Faults of reads are not
    // caused, and those of writes are resolved by the handler.
    unsafe { syscall!(libc::SYS_mprotect, range.start, range.len(), protection) }.map(drop)
}

/// Makes what is mapped in `range` writable; holes make the kernel stop half-way.
fn make_writable(range: Range) {
    let done = protect(range, libc::PROT_READ | libc::PROT_WRITE);
    if done.is_err() && range.pages() > 1 {
        let middle = range.start + range.pages() / 2 * PAGE;
        make_writable(Range {
            end: middle,
            ..range
        });
        make_writable(Range {
            start: middle,
            ..range
        });
    }
}

impl Shared {
    fn table(&self) -> &Table {
        &self.tables[self.generation.load(Acquire) & 1]
    }

    /// Makes the piece around `addr` writable and notes that. False if it is not tracked.
    fn open_piece(&self, addr: usize) -> bool {
        const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
        loop {
            let generation = self.generation.load(SeqCst);
            let Some((segment, piece, byte)) = self.tables[generation & 1].piece(addr) else {
                if self.generation.load(SeqCst) == generation {
                    return false;
                }
                continue;
            };
            let page = Range::covering(addr, addr + 1);
            // The rest of a piece may have been unmapped.
            if protect(piece, READ_WRITE).is_err() && protect(page, READ_WRITE).is_err() {
                // As many mappings as the kernel allows: make them fewer.
                self.overflowed.store(true, SeqCst);
                if protect(segment, READ_WRITE).is_err() {
                    return false;
                }
            }
            byte.store(1, SeqCst);
            // Protected for another arming in between, after it was published: then noted there too.
            if self.generation.load(SeqCst) == generation {
                return true;
            }
        }
    }

    /// Adds the writable private parts of `range` and protects them.
    fn clean(&self, range: Range) -> Result<(), Failure> {
        let table = self.table();
        let mut result = Ok(());
        proc_maps::for_each(|m| {
            let part = Range {
                start: m.start.max(range.start),
                end: m.end.min(range.end),
            };
            if part.is_empty() || !m.write || !m.read || m.exec || m.shared || result.is_err() {
                return;
            }
            result = match table.add(part) {
                None => Err(Failure::Wrong(
                    "too many ranges, or more than 64 GiB, for mprotect",
                )),
                Some(()) => {
                    protect(part, libc::PROT_READ).map_err(|e| Failure::Call("mprotect", e))
                }
            };
        })
        .map_err(|e| Failure::Call("/proc/self/maps", e))?;
        result
    }

    /// Notes pieces that are writable though nobody made them so: the program has mapped something else there.
    fn note_replaced(&self) -> Result<(), Failure> {
        let table = self.table();
        proc_maps::for_each(|m| {
            if !m.write {
                return;
            }
            for (_, all) in table.segments() {
                let mut addr = m.start.max(all.start);
                while addr < m.end.min(all.end) {
                    if let Some((_, _, byte)) = table.piece(addr) {
                        byte.store(1, SeqCst);
                    }
                    addr = (addr | (PIECE - 1)) + 1;
                }
            }
        })
        .map_err(|e| Failure::Call("/proc/self/maps", e))
    }

    /// Reports the pieces that are writable; with `again`, protects them.
    fn collect(&self, again: bool, f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
        self.note_replaced()?;
        for (s, all) in self.table().segments() {
            let first = s.first.load(Relaxed);
            let mut start = all.start;
            while start < all.end {
                let end = ((start | (PIECE - 1)) + 1).min(all.end);
                let byte = &self.table().written[first + start / PIECE - all.start / PIECE];
                if byte.load(SeqCst) != 0 {
                    let piece = Range { start, end };
                    if again {
                        byte.store(0, SeqCst);
                        if protect(piece, libc::PROT_READ).is_err() {
                            // Partly unmapped, or too many mappings: it stays writable and is reported again.
                            byte.store(1, SeqCst);
                        }
                    }
                    f(piece);
                }
                start = end;
            }
        }
        Ok(())
    }

    fn release(&self) {
        for (_, all) in self.table().segments() {
            make_writable(all);
        }
    }
}

extern "C" fn on_fault(sig: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    const SEGV_ACCERR: i32 = 2;
    let Some(shared) = shared() else { return };
    // SAFETY: the kernel passes a valid siginfo, which for SIGSEGV of a fault holds an address.
    let (code, addr) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == SEGV_ACCERR && shared.open_piece(addr) {
        return;
    }
    shared.previous.call(sig, info, context);
}

impl Previous {
    fn call(&self, sig: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
        let handler = self.handler.load(Acquire);
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            // The faulting instruction runs again, and then the default action ends the process as it would have without us.
            let _ = signal::set_default(sig);
            return;
        }
        let flags = self.flags.load(Relaxed);
        // As the kernel would have entered it.
        // SAFETY: with SA_SIGINFO the third argument is the interrupted context.
        let interrupted = unsafe {
            (&raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask)
                .cast::<u64>()
                .read()
        };
        let own = if flags & libc::SA_NODEFER as u64 == 0 {
            signal::bit(sig)
        } else {
            0
        };
        signal::set_mask(interrupted | self.mask.load(Relaxed) | own);
        // SAFETY: the program installed this function as a handler; the flags say with which arguments. A function of one
        // argument ignores the other two.
        let f: signal::Handler = unsafe { core::mem::transmute::<usize, signal::Handler>(handler) };
        f(sig, info, context);
    }
}

/// The source. One per process, as the handler is.
pub struct Mprotect(&'static Shared);

impl Mprotect {
    /// Maps the tables. The handler is installed when first armed.
    ///
    /// # Errors
    /// No memory.
    pub fn open() -> Result<Mprotect, Failure> {
        if let Some(shared) = shared() {
            return Ok(Mprotect(shared));
        }
        let p = scratch::map(size_of::<Shared>().next_multiple_of(PAGE))
            .map_err(|e| Failure::Call("mmap", e))?;
        // The caller holds the lock of the module, or is a test that is alone.
        SHARED.store(p as usize, Release);
        shared()
            .map(Mprotect)
            .ok_or(Failure::Call("mmap", Errno(libc::ENOMEM)))
    }

    /// Makes the pieces of `range` that are tracked writable; they count as written.
    pub fn unprotect(&self, range: Range) {
        let mut addr = range.start;
        while addr < range.end {
            self.0.open_piece(addr);
            addr = (addr | (PIECE - 1)) + 1;
        }
    }

    /// Our handler is in place; installs it if nobody's or the program's is there.
    fn install(&self) -> Result<(), Failure> {
        let failed = |e| Failure::Call("sigaction(SIGSEGV)", e);
        let now = signal::disposition(libc::SIGSEGV).map_err(failed)?;
        if now.handler == on_fault as *const () as usize {
            return Ok(());
        }
        let previous = &self.0.previous;
        previous.flags.store(now.flags, Relaxed);
        previous.mask.store(now.mask, Relaxed);
        previous.handler.store(now.handler, Release);
        signal::install(libc::SIGSEGV, on_fault).map_err(failed)
    }
}

impl Source for Mprotect {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        let shared = self.0;
        let armed = self.install().and_then(|()| {
            let next = shared.generation.load(Relaxed) + 1;
            let table = &shared.tables[next & 1];
            table.count.store(0, SeqCst);
            table.pieces.store(0, Relaxed);
            shared.overflowed.store(false, SeqCst);
            shared.generation.store(next, SeqCst);
            ranges.iter().try_for_each(|&r| shared.clean(r))
        });
        armed.map_err(|failure| {
            shared.release();
            NoSource::Failed(failure)
        })
    }

    fn track(&mut self, range: Range) -> Result<(), Failure> {
        self.0.clean(range)
    }

    fn harvest(
        &mut self,
        _: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        let mut joined = Joiner::new(sink);
        self.0.collect(when.goes_on(), &mut |r| joined.add(r))?;
        let pages = joined.finish();
        if self.0.overflowed.load(SeqCst) {
            return Ok(Outcome::Everything);
        }
        Ok(Outcome::Pages(pages))
    }

    fn disarm(&mut self, _: &[Range]) {
        // Outside of a cycle no system call of the program shall fail.
        self.0.release();
    }
}
