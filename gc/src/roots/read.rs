//! Emitting a range so that reading it neither faults, nor blocks, nor brings memory into being.
use super::classify::Class;
use super::{RootKind, RootRange};
use crate::sys::pagemap::{self, Pagemap, Pages, Run};
use crate::sys::raw::{Errno, syscall};

const PAGE: usize = 4096;
/// Bytes that are copied at a time from memory that might fault.
pub(super) const COPY: usize = 256 << 10;

/// How pages are found and copied.
pub(super) struct Reader<'a> {
    /// None: not readable (the process is not dumpable); every page counts then.
    pub pagemap: Option<Pagemap>,
    /// A buffer of [`COPY`] bytes.
    pub copy: usize,
    /// Shared memory may be in swap, where nothing tells of it.
    pub swap_in_use: bool,
    pub emit: &'a mut dyn FnMut(RootRange),
}

impl Reader<'_> {
    /// Emits the pages of `lo..hi`, part of one mapping of class `class`, that may hold pointers.
    pub fn range(&mut self, lo: usize, hi: usize, class: Class, kind: RootKind) {
        match class {
            Class::Private | Class::Data => self.private(lo, hi, kind),
            Class::Shared => resident(lo, hi, self.swap_in_use, |a, b| self.direct(a, b, kind)),
            Class::SharedFile => resident(lo, hi, self.swap_in_use, |a, b| self.copied(a, b, kind)),
            Class::Skip => {}
        }
    }

    /// Emits `lo..hi` as it is.
    pub fn direct(&mut self, lo: usize, hi: usize, kind: RootKind) {
        if lo < hi {
            (self.emit)(RootRange {
                lo,
                hi,
                kind,
                transient: false,
            });
        }
    }

    fn private(&mut self, lo: usize, hi: usize, kind: RootKind) {
        let Some(pagemap) = &self.pagemap else {
            return self.direct(lo, hi, kind);
        };
        let emit = &mut *self.emit;
        let mut clipped = |a: usize, b: usize| {
            let (lo, hi) = (a.max(lo), b.min(hi));
            if lo < hi {
                emit(RootRange {
                    lo,
                    hi,
                    kind,
                    transient: false,
                });
            }
        };
        let (first, end) = (lo & !(PAGE - 1), hi.next_multiple_of(PAGE));
        let r = pagemap.runs(first, end, Pages::Anonymous, &mut |a, b, run| match run {
            Run::Present => clipped(a, b),
            Run::Swapped => (a..b)
                .step_by(PAGE)
                .filter(|p| pagemap::readable(*p))
                .for_each(|p| clipped(p, p + PAGE)),
        });
        if r.is_err() {
            self.direct(lo, hi, kind);
        }
    }

    /// Emits copies, so that a file truncated by another process, or a device, cannot raise a signal.
    fn copied(&mut self, lo: usize, hi: usize, kind: RootKind) {
        let mut at = lo;
        while at < hi {
            let want = COPY.min(hi - at);
            match pagemap::copy(at, self.copy as *mut u8, want) {
                Ok(n) if n > 0 => {
                    (self.emit)(RootRange {
                        lo: self.copy,
                        hi: self.copy + n,
                        kind,
                        transient: true,
                    });
                    at += n;
                }
                Err(Errno(libc::EPERM | libc::ENOSYS)) => return self.direct(at, hi, kind),
                _ => at = (at + 1).next_multiple_of(PAGE),
            }
        }
    }
}

/// Calls `f` for the runs of shared pages in memory; for all of `lo..hi` if pages may be in swap or nothing is known.
/// Pages of a disk file that the kernel has written back and dropped are left out.
fn resident(lo: usize, hi: usize, all: bool, mut f: impl FnMut(usize, usize)) {
    let mut seen = [0u8; 1024];
    let (mut at, mut run) = (lo & !(PAGE - 1), lo);
    while at < hi {
        let pages = seen.len().min((hi - at).div_ceil(PAGE));
        // SAFETY: mincore writes one byte per page of the range into `seen`.
        let mut asked =
            || unsafe { syscall!(libc::SYS_mincore, at, pages * PAGE, seen.as_mut_ptr()) };
        if all || asked().is_err() {
            seen = [1; 1024];
        }
        for s in &seen[..pages] {
            if s & 1 == 0 {
                if run < at {
                    f(run, at);
                }
                run = at + PAGE;
            }
            at += PAGE;
        }
    }
    if run < hi {
        f(run, hi);
    }
}

/// Whether any swap space is used.
pub(super) fn swap_in_use() -> bool {
    let mut info = core::mem::MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: `info` is valid for writing; zeroes are a valid value if the call fails.
    let (r, info) = unsafe {
        (
            syscall!(libc::SYS_sysinfo, info.as_mut_ptr()),
            info.assume_init(),
        )
    };
    r.is_err() || info.totalswap != info.freeswap
}
