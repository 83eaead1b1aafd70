//! `mprotect`: pages are made read-only, and the SIGSEGV of the first write is the report.
//!
//! Works on every kernel, and changes what the program sees: a system call that writes to a protected page fails with
//! `EFAULT`, unless it was announced ([`in_kernel`]), and the handler must be called first ([`segv`]). So it is used only where it is asked
//! for. It tracks pieces of 64 KiB, since every piece that differs from its neighbours is a mapping for the kernel, which allows 65 530.
//!
//! Each piece has a byte, which says whether it was written, and whether it stays writable. The handler first makes the piece writable and then sets its byte; a harvest
//! first clears the byte and then protects. So a piece that is writable with its byte clear has a handler on its way that will set
//! it; the handler blocks every signal, also the one that stops the world.

use super::failure::Failure;
use super::in_kernel::{self, Protecting};
use super::ranges::{Joiner, Range};
use super::segv;
use super::tracking::{NoSource, Outcome, Source, When};
use crate::sys::mem::PAGE;
use crate::sys::raw::{Errno, syscall};
use crate::sys::{proc_maps, scratch};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::*};

/// Pieces are aligned parts of address space of this size.
const PIECE: usize = 1 << 16;
/// Parts of the ranges that can be tracked.
const SEGMENTS: usize = 4096;
/// Pieces in all: 64 GiB.
const PIECES: usize = 1 << 20;
/// The piece was written.
const WRITTEN: u8 = 1;
/// It is not protected any more in this arming.
const OPEN: u8 = 2;

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
            byte.fetch_or(WRITTEN, SeqCst);
            // Protected for another arming in between, after it was published: then noted there too.
            if self.generation.load(SeqCst) == generation {
                return true;
            }
        }
    }

    /// The page was protected in the last arming and is writable now: the fault is reported late.
    fn is_open_again(&self, addr: usize) -> bool {
        let mut writable = false;
        let last = self.generation.load(SeqCst).wrapping_sub(1);
        let read = self.tables[last & 1].piece(addr).is_some()
            && proc_maps::for_each(|m| writable |= m.write && (m.start..m.end).contains(&addr))
                .is_ok();
        read && writable
    }

    /// Protects a piece again, unless it is to stay writable: then it is reported again.
    fn close_piece(&self, piece: Range, byte: &AtomicU8) {
        let protecting = Protecting::page(piece.start);
        if byte.load(SeqCst) & OPEN != 0 || protecting.first(piece).is_some() {
            return;
        }
        byte.fetch_and(!WRITTEN, SeqCst);
        if protect(piece, libc::PROT_READ).is_err() {
            // Partly unmapped, or too many mappings.
            byte.fetch_or(WRITTEN, SeqCst);
        }
    }

    /// Protects a part that was added to the table, but for pieces that system calls may write: those count as written.
    fn close(&self, part: Range) -> Result<(), Errno> {
        let protecting = Protecting::all();
        let mut at = part.start;
        while at < part.end {
            let rest = Range { start: at, ..part };
            let open = protecting.first(rest);
            let from = open.map_or(part.end, |r| (r.start & !(PIECE - 1)).max(at));
            let to = open.map_or(part.end, |r| {
                (((r.end - 1) | (PIECE - 1)) + 1).min(part.end)
            });
            if at < from {
                protect(
                    Range {
                        start: at,
                        end: from,
                    },
                    libc::PROT_READ,
                )?;
            }
            for addr in (from..to).step_by(PAGE) {
                if let Some((_, _, byte)) = self.table().piece(addr) {
                    byte.fetch_or(WRITTEN, SeqCst);
                }
            }
            at = to;
        }
        Ok(())
    }

    /// Makes the tracked pieces of `range` writable. They count as written, and `for_good` for the rest of this arming.
    fn open(&self, range: Range, for_good: bool) {
        let mut addr = range.start;
        while addr < range.end {
            if for_good && let Some((_, _, byte)) = self.table().piece(addr) {
                byte.fetch_or(OPEN | WRITTEN, SeqCst);
                in_kernel::wait(range);
            }
            self.open_piece(addr);
            addr = (addr | (PIECE - 1)) + 1;
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
                Some(()) => self.close(part).map_err(|e| Failure::Call("mprotect", e)),
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
                        byte.fetch_or(WRITTEN, SeqCst);
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
                        self.close_piece(piece, byte);
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
    if code == SEGV_ACCERR
        && (shared.open_piece(addr) || shared.is_open_again(addr) || shared.open_piece(addr))
    {
        return;
    }
    segv::pass_on(sig, info, context);
}

/// A system call may write to `range` until the result is dropped. In processes where [`in_kernel::is_needed`]; any thread, any time.
pub fn announce(range: Range) -> in_kernel::Call {
    let call = in_kernel::list(range);
    in_kernel::wait(Range::covering(range.start & !(PIECE - 1), range.end));
    if let Some(shared) = shared() {
        shared.open(range, false);
    }
    call
}

/// `range` is put to a use in which system calls write to it that nobody announces: it is writable until the next arming.
pub fn open_for_good(range: Range) {
    if let Some(shared) = shared() {
        shared.open(range, true);
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
        self.0.open(range, false);
    }
}

impl Source for Mprotect {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        let shared = self.0;
        let armed = segv::install(on_fault).and_then(|()| {
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
