//! `pagemap-scan`: userfaultfd with asynchronous write protection, read and renewed by PAGEMAP_SCAN (Linux 6.7).
//!
//! The kernel keeps one bit per page-table entry, "protected"; a write by anyone through the page table clears it without a
//! signal or message. PAGEMAP_SCAN reports entries without the bit and sets it in the same step, under the lock of the page
//! table, and flushes translations before it returns.
//!
//! A page that is not present has no bit and is not reported. When it is touched it appears without the bit, so it is
//! reported then; therefore no markers are needed for holes, and huge pages can still be given to them.
//!
//! A mapping that replaces a registered one is not registered. So the ranges are registered before each scan that protects while
//! the program runs, which changes nothing where they are. Its pages are then reported like all that were never protected. A scan
//! that only looks reports them too. With the world stopped there is one call per range: a scan that fails at memory which is not
//! registered. From there on the range is registered, protected and reported whole.

use super::abi::{self, PageRegion, ScanArg, UffdioApi, UffdioRegister, UffdioWriteprotect};
use super::failure::Failure;
use super::fork_mark::ForkMark;
use super::kept::Kept;
use super::probe;
use super::ranges::{Joiner, Range, Ranges};
use super::tracking::{NoSource, Outcome, Source, When};
use crate::sys::mem::{self, PAGE};
use crate::sys::raw::{Errno, Fd, syscall};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Regions that one call fills: 6 KiB of stack.
const REGIONS: usize = 256;
/// Pages that are looked at in the time of one more call.
const PER_CALL: usize = 100;

/// The source. Its descriptors belong to the process that opened them.
pub struct PagemapScan {
    uffd: Kept,
    pagemap: Kept,
    mark: ForkMark,
    /// seccomp filters of the thread that opened.
    filters: u32,
    /// Parts of the ranges that cannot be registered, because another userfaultfd has them or nothing is mapped: whatever is there
    /// is reported by every harvest.
    foreign: Ranges,
}

/// Mappings of another userfaultfd are told apart down to this size.
const LEAF: usize = 1 << 16;

/// Looks for written pages while the world is stopped, by several threads at once.
#[derive(Clone, Copy)]
pub struct Reader {
    pagemap: i32,
}

impl Reader {
    /// Reports the pages of a part of the tracked ranges that were written; changes nothing.
    ///
    /// # Errors
    /// The source does not work any more: any page may have been written.
    pub fn written(&self, part: Range, sink: &mut dyn FnMut(Range)) -> Result<usize, Failure> {
        let mut joined = Joiner::new(sink);
        look_for_few(self.pagemap, part, &mut |r| joined.add(r))?;
        Ok(joined.finish())
    }
}

/// What a scan looks for.
#[derive(Clone, Copy)]
enum Pages {
    /// Every page with content.
    All,
    /// Written since protected, or never protected; stay so.
    Written,
    /// The same; protected while they are reported.
    Protect,
    /// The same; EPERM at a mapping that is not registered.
    ProtectRegistered,
    /// Not protected, or without content: the kernel looks at one bit of each page, which takes half the time of the others.
    Open,
}

impl PagemapScan {
    /// Opens the descriptors and sees for itself that the kernel reports a write to a page of its own. Under a seccomp filter
    /// that is tried in a child first.
    ///
    /// # Errors
    /// What is missing here.
    pub fn open() -> Result<PagemapScan, Failure> {
        let filters = probe::filters();
        if filters > 0 {
            probe::in_child(|| PagemapScan::open_here(filters).map(drop))?;
        }
        PagemapScan::open_here(filters)
    }

    fn open_here(filters: u32) -> Result<PagemapScan, Failure> {
        let mut source = PagemapScan {
            uffd: userfaultfd()?,
            pagemap: pagemap()?,
            mark: ForkMark::new().map_err(|e| Failure::Call("madvise(MADV_WIPEONFORK)", e))?,
            filters,
            foreign: Ranges::new(),
        };
        source.try_out()?;
        Ok(source)
    }

    /// Writes one of two pages.
    fn try_out(&mut self) -> Result<(), Failure> {
        let page = mem::map(2 * PAGE);
        if page.is_null() {
            return Err(Failure::Call("mmap", Errno(libc::ENOMEM)));
        }
        let start = page as usize;
        let range = Range {
            start,
            end: start + 2 * PAGE,
        };
        // SAFETY: both pages are ours, mapped and writable.
        let write = |i: usize| unsafe { page.add(i * PAGE).write_volatile(1) };
        write(0);
        write(1);
        let mut written = 0;
        let result = self.protect(&[range], &mut |_| {}).and_then(|()| {
            write(1);
            self.protect(&[range], &mut |r| {
                written += if r.start == start + PAGE {
                    r.pages()
                } else {
                    2
                };
            })
        });
        mem::unmap(start, range.len());
        result?;
        if written == 1 {
            Ok(())
        } else {
            Err(Failure::Wrong(
                "PAGEMAP_SCAN does not report what was written",
            ))
        }
    }

    /// The calling thread may do what the source does: a seccomp filter that is new to it is tried in a child. Unless `thoroughly`, only
    /// filters are looked for that the program was seen to install.
    fn is_allowed(&mut self, thoroughly: bool) -> Result<(), Failure> {
        if !thoroughly && !super::FILTERED.load(Relaxed) {
            return Ok(());
        }
        let filters = probe::filters();
        if filters > 0 && filters != self.filters {
            probe::in_child(|| PagemapScan::open_here(filters).map(drop))?;
        }
        self.filters = filters;
        Ok(())
    }

    /// The program closed a descriptor, or put another file in its place.
    fn is_closed(&self) -> bool {
        self.mark.holds() && !(self.uffd.is_open() && self.pagemap.is_open())
    }

    /// The descriptors are open and lead to this process' memory.
    fn is_sound(&self) -> bool {
        self.mark.holds() && self.uffd.is_open() && self.pagemap.is_open()
    }

    /// Registers and protects `ranges`; reports what was not protected.
    fn protect(&mut self, ranges: &[Range], f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
        self.foreign.clear();
        for &range in ranges {
            self.enrol(range)?;
            self.walk(range, Pages::Protect, f)?;
        }
        Ok(())
    }

    /// Registers what is mapped in `range`; what cannot be registered is noted.
    fn enrol(&mut self, range: Range) -> Result<(), Failure> {
        match register(self.uffd.number(), range) {
            Ok(()) => Ok(()),
            Err(e @ Errno(libc::EBADF | libc::ENOTTY | libc::ENOSYS)) => {
                Err(Failure::Call("UFFDIO_REGISTER", e))
            }
            Err(_) if range.len() <= LEAF => {
                let noted = self.foreign.push(range);
                noted.map_err(|e| Failure::Call("list of ranges", e))
            }
            Err(_) => {
                let middle = range.start + (range.len() / 2).next_multiple_of(PAGE);
                self.enrol(Range {
                    end: middle,
                    ..range
                })?;
                self.enrol(Range {
                    start: middle,
                    ..range
                })
            }
        }
    }

    /// Scans `range`, and all pages of its foreign parts.
    fn walk(&self, range: Range, pages: Pages, f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
        let mut at = range.start;
        for foreign in self.foreign.as_slice() {
            let (lo, hi) = (foreign.start.max(at), foreign.end.min(range.end));
            if lo < hi {
                self.scan(at, lo, pages, f)?;
                self.scan(lo, hi, Pages::All, f)?;
                at = hi;
            }
        }
        self.scan(at, range.end, pages, f)
    }

    /// With the world stopped: reports and protects what was written in `range`, none of which is foreign.
    fn renew_protection(&mut self, range: Range, f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
        let mut done = range.start;
        let pagemap = self.pagemap.number();
        match scan_parts(
            pagemap,
            &mut done,
            range.end,
            Pages::ProtectRegistered,
            &mut |parts| {
                report(parts, f);
                Ok(())
            },
        ) {
            Err(Failure::Call(_, Errno(libc::EPERM))) => {}
            result => return result,
        }
        // Some pages behind `done` may have been protected without a report.
        if !self.is_sound() {
            return Err(Failure::Wrong("the program closed a descriptor"));
        }
        let rest = Range {
            start: done,
            ..range
        };
        self.enrol(rest)?;
        self.walk(rest, Pages::Protect, &mut |_| {})?;
        self.scan(rest.start, rest.end, Pages::All, f)
    }

    fn scan(
        &self,
        start: usize,
        end: usize,
        pages: Pages,
        f: &mut dyn FnMut(Range),
    ) -> Result<(), Failure> {
        scan(self.pagemap.number(), start, end, pages, f)
    }

    /// See [`reader`](super::reader).
    pub fn reader(&self) -> Option<Reader> {
        let can =
            self.is_sound() && self.foreign.as_slice().is_empty() && !super::FILTERED.load(Relaxed);
        can.then(|| Reader {
            pagemap: self.pagemap.number(),
        })
    }

    /// Takes protection off; the pages count as written.
    pub fn unprotect(&self, range: Range) {
        // Without a hint the first writes cost a fault each; a filter may kill.
        if self.is_sound() && !super::FILTERED.load(Relaxed) {
            // A hint: where it fails the first writes cost a fault each.
            let _ = abi::ioctl(
                self.uffd.number(),
                &mut UffdioWriteprotect {
                    start: range.start as u64,
                    len: range.len() as u64,
                    mode: 0,
                },
            );
        }
    }

    /// Opens anew what the program closed or a fork made useless, and tracks `ranges` again.
    fn renew(&mut self, ranges: &[Range]) -> Result<(), Failure> {
        // A program that goes through its descriptors may come to the new ones as well.
        const TRIES: u32 = 5;
        let closed = self.is_closed();
        let mut tries = 1;
        loop {
            self.uffd.close();
            self.pagemap.close();
            let done = PagemapScan::open().and_then(|source| {
                *self = source;
                self.protect(ranges, &mut |_| {})
            });
            if done.is_ok() && closed {
                say_closed();
            }
            if done.is_ok() || !closed || tries == TRIES || self.is_sound() {
                return done;
            }
            tries += 1;
        }
    }

    fn look(
        &mut self,
        ranges: &[Range],
        when: When,
        f: &mut dyn FnMut(Range),
    ) -> Result<(), Failure> {
        // Without the userfaultfd nothing is registered any more, which scans with the world stopped find out.
        let sound = match when {
            When::Running => self.is_sound(),
            When::Stopped { .. } => self.mark.holds() && self.pagemap.is_open(),
        };
        if !sound {
            return Err(Failure::Wrong("the program closed a descriptor"));
        }
        match when {
            When::Stopped { keep: true } if self.foreign.as_slice().is_empty() => ranges
                .iter()
                .try_for_each(|&range| self.renew_protection(range, f)),
            When::Stopped { keep: false } if self.foreign.as_slice().is_empty() => ranges
                .iter()
                .try_for_each(|&range| look_for_few(self.pagemap.number(), range, f)),
            When::Stopped { keep: false } => ranges
                .iter()
                .try_for_each(|&range| self.walk(range, Pages::Written, f)),
            _ if !self.uffd.is_open() => Err(Failure::Wrong("the program closed a descriptor")),
            _ => self.protect(ranges, f),
        }
    }
}

impl Source for PagemapScan {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        let allowed = self.is_allowed(true);
        let armed = allowed.and_then(|()| self.look(ranges, When::Running, &mut |_| {}));
        armed
            .or_else(|_| self.renew(ranges))
            .map_err(NoSource::Failed)
    }

    fn track(&mut self, range: Range) -> Result<(), Failure> {
        if !self.is_sound() {
            // The next harvest sees it too.
            return Ok(());
        }
        self.is_allowed(false)?;
        let enrolled = self.enrol(range);
        match enrolled.and_then(|()| self.walk(range, Pages::Protect, &mut |_| {})) {
            // The program closed or replaced a descriptor meanwhile: as above.
            Err(_) if !self.is_sound() => Ok(()),
            tracked => tracked,
        }
    }

    fn harvest(
        &mut self,
        ranges: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        let mut joined = Joiner::new(sink);
        let allowed = self.is_allowed(false);
        match allowed.and_then(|()| self.look(ranges, when, &mut |r| joined.add(r))) {
            Ok(()) => Ok(Outcome::Pages(joined.finish())),
            Err(_) => {
                // Pages may have been protected and not reported.
                self.renew(ranges)?;
                Ok(Outcome::Everything)
            }
        }
    }

    fn disarm(&mut self, _: &[Range]) {
        // Pages stay protected: most are never written before the next cycle, which then has less to protect.
    }
}

/// Says once in a process that descriptors were closed.
fn say_closed() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        crate::message!(
            "the program closed or replaced a descriptor of dirty source pagemap-scan; opened again"
        );
    }
}

/// Calls `f` for runs of pages from `start` to `end` in ascending order.
fn scan(
    pagemap: i32,
    start: usize,
    end: usize,
    pages: Pages,
    f: &mut dyn FnMut(Range),
) -> Result<(), Failure> {
    scan_parts(pagemap, &mut { start }, end, pages, &mut |parts| {
        report(parts, f);
        Ok(())
    })
}

fn report(parts: &[PageRegion], f: &mut dyn FnMut(Range)) {
    for r in parts {
        f(Range {
            start: r.start as usize,
            end: r.end as usize,
        });
    }
}

/// Reports what was written in `range`, most of which is protected.
fn look_for_few(pagemap: i32, range: Range, f: &mut dyn FnMut(Range)) -> Result<(), Failure> {
    let mut done = range.start;
    scan_parts(pagemap, &mut done, range.end, Pages::Open, &mut |parts| {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(());
        };
        // Some of these have no content.
        let (start, end) = (first.start as usize, last.end as usize);
        if (end - start) / PAGE < parts.len() * PER_CALL {
            return scan(pagemap, start, end, Pages::Written, f);
        }
        parts.iter().try_for_each(|part| {
            let (start, end) = (part.start as usize, part.end as usize);
            scan(pagemap, start, end, Pages::Written, f)
        })
    })
}

/// Calls `f` with some runs of pages at a time, from `done` to `end` in ascending order. Behind an error those before `done` are reported.
fn scan_parts(
    pagemap: i32,
    done: &mut usize,
    end: usize,
    pages: Pages,
    f: &mut dyn FnMut(&[PageRegion]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut found = [PageRegion::default(); REGIONS];
    let (flags, mask) = match pages {
        Pages::All => (0, 0),
        Pages::Written => (0, abi::IS_WRITTEN),
        Pages::Protect => (abi::WP_MATCHING, abi::IS_WRITTEN),
        Pages::ProtectRegistered => (abi::WP_MATCHING | abi::CHECK_WPASYNC, abi::IS_WRITTEN),
        Pages::Open => (0, abi::IS_WRITTEN),
    };
    // Pages that are neither present nor swapped hold nothing. Asking for that also keeps the kernel off a
    // path that takes absent pages for written.
    let anyof = match pages {
        Pages::Open => 0,
        _ => abi::IS_PRESENT | abi::IS_SWAPPED,
    };
    while *done < end {
        let at = *done as u64;
        let mut arg = ScanArg {
            size: size_of::<ScanArg>() as u64,
            flags,
            start: at,
            end: end as u64,
            vec: found.as_mut_ptr() as u64,
            vec_len: REGIONS as u64,
            category_mask: mask,
            category_anyof_mask: anyof,
            return_mask: mask,
            ..ScanArg::default()
        };
        let n = match abi::ioctl(pagemap, &mut arg) {
            Ok(n) => n,
            Err(Errno(libc::EINTR)) => continue,
            Err(e) => return Err(Failure::Call("PAGEMAP_SCAN", e)),
        };
        f(&found[..n])?;
        if arg.walk_end <= at {
            return Err(Failure::Wrong("PAGEMAP_SCAN makes no progress"));
        }
        *done = arg.walk_end as usize;
    }
    Ok(())
}

fn userfaultfd() -> Result<Kept, Failure> {
    const FLAGS: i32 = libc::O_CLOEXEC | libc::O_NONBLOCK | abi::UFFD_USER_MODE_ONLY;
    // SAFETY: takes flags only.
    let open = || unsafe { syscall!(libc::SYS_userfaultfd, FLAGS) };
    let fd = Fd::make(|| open().map(|n| Fd::from_number(n as i32)));
    let fd = fd.map_err(|e| Failure::Call("userfaultfd", e))?;
    let mut api = UffdioApi {
        api: abi::UFFD_API,
        features: abi::FEATURE_WP_ASYNC | abi::FEATURE_WP_UNPOPULATED,
        ioctls: 0,
    };
    abi::ioctl(fd.number(), &mut api)
        .map_err(|e| Failure::Call("userfaultfd with WP_ASYNC (Linux 6.7)", e))?;
    Kept::new(fd).map_err(|e| Failure::Call("userfaultfd", e))
}

fn pagemap() -> Result<Kept, Failure> {
    let failed = |e| Failure::Call("/proc/self/pagemap", e);
    // Not /proc/self, which is empty once the main thread has exited.
    let fd = Fd::open(b"/proc/thread-self/pagemap\0", libc::O_RDONLY).map_err(failed)?;
    Kept::new(fd).map_err(failed)
}

fn register(uffd: i32, range: Range) -> Result<(), Errno> {
    let mut arg = UffdioRegister {
        start: range.start as u64,
        len: range.len() as u64,
        mode: abi::REGISTER_MODE_WP,
        ioctls: 0,
    };
    abi::ioctl(uffd, &mut arg).map(drop)
}
