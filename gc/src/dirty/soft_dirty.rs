//! `soft-dirty`: bit 55 of /proc/self/pagemap, cleared by writing 4 to /proc/self/clear_refs (CONFIG_MEM_SOFT_DIRTY).
//!
//! Reading and clearing are two steps, and clearing is for the whole process. So bits are cleared only by `arm`: a harvest reports
//! what was written since then, also what an earlier harvest reported. That is allowed, but does not shrink. Somebody else
//! who clears (a checkpoint, the program itself) would make us lose writes: a page of our own, written after each clearing, shows
//! whether that happened.

use super::failure::Failure;
use super::fork_mark::ForkMark;
use super::kept::Kept;
use super::ranges::{Joiner, Range};
use super::tracking::{NoSource, Outcome, Source, When};
use crate::sys::mem::{self, PAGE};
use crate::sys::raw::{Errno, Fd, syscall};

const SOFT_DIRTY: u64 = 1 << 55;
const SWAPPED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;
/// Entries read at a time: 4 KiB of stack.
const ENTRIES: usize = 512;

/// The source. Its descriptors belong to the process that opened them.
pub struct SoftDirty {
    pagemap: Kept,
    clear_refs: Kept,
    mark: ForkMark,
    canary: Canary,
}

/// A page that nobody but this source writes.
struct Canary(usize);

impl Canary {
    fn new() -> Result<Canary, Failure> {
        let page = mem::map(PAGE);
        if page.is_null() {
            return Err(Failure::Call("mmap", Errno(libc::ENOMEM)));
        }
        Ok(Canary(page as usize))
    }

    fn range(&self) -> Range {
        Range {
            start: self.0,
            end: self.0 + PAGE,
        }
    }

    fn write(&self) {
        // SAFETY: the page is mapped, writable and ours until drop.
        unsafe { (self.0 as *mut u8).write_volatile(1) };
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        mem::unmap(self.0, PAGE);
    }
}

impl SoftDirty {
    /// Opens the files and sees for itself that the kernel reports a write to a page of its own and nothing else. Clears the bits of
    /// the process.
    ///
    /// # Errors
    /// What is missing here.
    pub fn open() -> Result<SoftDirty, Failure> {
        let source = SoftDirty {
            pagemap: keep(
                b"/proc/thread-self/pagemap\0",
                libc::O_RDONLY,
                "/proc/self/pagemap",
            )?,
            clear_refs: keep(
                b"/proc/thread-self/clear_refs\0",
                libc::O_WRONLY,
                CLEAR_REFS,
            )?,
            mark: ForkMark::new().map_err(|e| Failure::Call("madvise(MADV_WIPEONFORK)", e))?,
            canary: Canary::new()?,
        };
        source.canary.write();
        source.clear()?;
        let cleared = !source.canary_is_dirty()?;
        source.canary.write();
        if cleared && source.canary_is_dirty()? {
            Ok(source)
        } else {
            Err(Failure::Wrong(
                "this kernel does not keep soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)",
            ))
        }
    }

    fn is_sound(&self) -> bool {
        self.mark.holds() && self.pagemap.is_open() && self.clear_refs.is_open()
    }

    fn clear(&self) -> Result<(), Failure> {
        let text = b"4";
        // SAFETY: the kernel reads one byte.
        unsafe {
            syscall!(
                libc::SYS_pwrite64,
                self.clear_refs.number(),
                text.as_ptr(),
                1,
                0
            )
        }
        .map(drop)
        .map_err(|e| Failure::Call(CLEAR_REFS, e))
    }

    fn canary_is_dirty(&self) -> Result<bool, Failure> {
        let mut dirty = false;
        self.scan(self.canary.range(), &mut |_| dirty = true)?;
        Ok(dirty)
    }

    fn scan(&self, range: Range, f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
        let mut entries = [0u64; ENTRIES];
        let mut at = range.start;
        while at < range.end {
            let want = ENTRIES.min((range.end - at) / PAGE) * 8;
            // SAFETY: `entries` is valid for `want` bytes.
            let n = unsafe {
                syscall!(
                    libc::SYS_pread64,
                    self.pagemap.number(),
                    entries.as_mut_ptr(),
                    want,
                    at / PAGE * 8
                )
            }
            .map_err(|e| Failure::Call("/proc/self/pagemap", e))?;
            if n < 8 {
                return Err(Failure::Wrong("/proc/self/pagemap ends early"));
            }
            for e in &entries[..n / 8] {
                // A page that is absent in a new mapping has the bit too, but holds nothing.
                if e & SOFT_DIRTY != 0 && e & (PRESENT | SWAPPED) != 0 {
                    f(Range {
                        start: at,
                        end: at + PAGE,
                    });
                }
                at += PAGE;
            }
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<(), Failure> {
        self.pagemap.close();
        self.clear_refs.close();
        *self = SoftDirty::open()?;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if !self.is_sound() {
            self.renew()?;
        }
        self.clear()?;
        self.canary.write();
        Ok(())
    }
}

const CLEAR_REFS: &str = "/proc/self/clear_refs";

fn keep(path: &[u8], flags: i32, name: &'static str) -> Result<Kept, Failure> {
    Fd::open(path, flags)
        .and_then(Kept::new)
        .map_err(|e| Failure::Call(name, e))
}

impl Source for SoftDirty {
    fn arm(&mut self, _: &[Range]) -> Result<(), NoSource> {
        self.begin().map_err(NoSource::Failed)
    }

    fn track(&mut self, _: Range) -> Result<(), Failure> {
        // Bits are kept for all memory. What was written before this call is reported too.
        Ok(())
    }

    fn harvest(
        &mut self,
        ranges: &[Range],
        _: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        if !self.is_sound() {
            self.begin()?;
            return Ok(Outcome::Everything);
        }
        let mut joined = Joiner::new(sink);
        for &range in ranges {
            self.scan(range, &mut |r| joined.add(r))?;
        }
        let pages = joined.finish();
        // After the scan, so that a clearing before it or during it is seen.
        if !self.canary_is_dirty()? {
            self.begin()?;
            return Ok(Outcome::Everything);
        }
        Ok(Outcome::Pages(pages))
    }

    fn disarm(&mut self, _: &[Range]) {
        // Bits cost nothing once set; pages that were not written keep their protection.
    }
}
