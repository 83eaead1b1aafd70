//! Which pages of a range hold anything.
use super::raw::{Errno, Fd, syscall};
use core::sync::atomic::{AtomicU8, Ordering::*};

const PAGE: usize = 4096;

/// How a run of pages can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// In memory.
    Present,
    /// In swap, or (kernels before 6.15 do not tell) a guard page that faults when touched: read it with care.
    Swapped,
}

/// What counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Pages with content of their own: neither never-touched, nor the zero page, nor a file's page.
    Anonymous,
    /// Every page that the page table maps.
    Mapped,
}

/// An open /proc/self/pagemap.
pub struct Pagemap(Fd);

/// 0: PAGEMAP_SCAN not tried yet; 1: works; 2: the kernel does not know it, or it must not be used.
static SCAN: AtomicU8 = AtomicU8::new(0);

const PAGEMAP_SCAN: usize = 0xc060_6610;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_PFNZERO: u64 = 1 << 5;
const REGIONS: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
const _: () = assert!(size_of::<ScanArg>() == 96);

/// From here on the file is read: a seccomp filter may kill for PAGEMAP_SCAN.
pub fn avoid_scan() {
    SCAN.store(2, Relaxed);
}

impl Pagemap {
    /// Opens the file; EACCES in a process that is not dumpable.
    pub fn open() -> Result<Pagemap, Errno> {
        Fd::open(b"/proc/thread-self/pagemap\0", libc::O_RDONLY).map(Pagemap)
    }

    /// Calls `f(lo, hi, run)` for maximal runs of pages in `start..end` (page-aligned) that count, in ascending order.
    pub fn runs(
        &self,
        start: usize,
        end: usize,
        pages: Pages,
        f: &mut dyn FnMut(usize, usize, Run),
    ) -> Result<(), Errno> {
        if SCAN.load(Relaxed) != 2 {
            match self.scan(start, end, pages, f) {
                Err(Errno(libc::ENOTTY | libc::EINVAL)) if SCAN.load(Relaxed) == 0 => {
                    SCAN.store(2, Relaxed)
                }
                r => return r,
            }
        }
        self.read(start, end, pages, f)
    }

    fn scan(
        &self,
        start: usize,
        end: usize,
        pages: Pages,
        f: &mut dyn FnMut(usize, usize, Run),
    ) -> Result<(), Errno> {
        let mut found = [Region::default(); REGIONS];
        let mut joined = Joined {
            lo: 0,
            hi: 0,
            run: Run::Present,
        };
        let not = if pages == Pages::Anonymous {
            IS_FILE | IS_PFNZERO
        } else {
            0
        };
        let mut at = start as u64;
        while at < end as u64 {
            let mut arg = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags: 0,
                start: at,
                end: end as u64,
                walk_end: 0,
                vec: found.as_mut_ptr() as u64,
                vec_len: REGIONS as u64,
                max_pages: 0,
                category_inverted: not,
                category_mask: not,
                category_anyof_mask: IS_PRESENT | IS_SWAPPED,
                return_mask: IS_PRESENT,
            };
            // SAFETY: the argument and the region vector are valid for reading and writing; without flags nothing is changed.
            let n =
                unsafe { syscall!(libc::SYS_ioctl, self.0.number(), PAGEMAP_SCAN, &raw mut arg) }?;
            SCAN.store(1, Relaxed);
            for r in &found[..n] {
                let run = if r.categories & IS_PRESENT != 0 {
                    Run::Present
                } else {
                    Run::Swapped
                };
                joined.add(r.start as usize, r.end as usize, run, f);
            }
            at = arg.walk_end;
        }
        joined.flush(f);
        Ok(())
    }

    fn read(
        &self,
        start: usize,
        end: usize,
        pages: Pages,
        f: &mut dyn FnMut(usize, usize, Run),
    ) -> Result<(), Errno> {
        const FILE: u64 = 1 << 61;
        const SWAPPED: u64 = 1 << 62;
        const PRESENT: u64 = 1 << 63;
        const GUARD: u64 = 1 << 58;
        let mut entries = [0u64; 512];
        let mut joined = Joined {
            lo: 0,
            hi: 0,
            run: Run::Present,
        };
        let mut at = start;
        while at < end {
            let want = entries.len().min((end - at) / PAGE) * 8;
            // SAFETY: `entries` is valid for `want` bytes.
            let n = unsafe {
                syscall!(
                    libc::SYS_pread64,
                    self.0.number(),
                    entries.as_mut_ptr(),
                    want,
                    at / PAGE * 8
                )
            }?;
            if n < 8 {
                break;
            }
            for e in &entries[..n / 8] {
                let run = if e & PRESENT != 0 {
                    Some(Run::Present)
                } else if e & SWAPPED != 0 {
                    Some(Run::Swapped)
                } else {
                    None
                };
                let counts = e & GUARD == 0 && (pages == Pages::Mapped || e & FILE == 0);
                if let (Some(run), true) = (run, counts) {
                    joined.add(at, at + PAGE, run, f);
                }
                at += PAGE;
            }
        }
        joined.flush(f);
        Ok(())
    }
}

/// Joins neighbouring runs of one sort.
struct Joined {
    lo: usize,
    hi: usize,
    run: Run,
}

impl Joined {
    fn add(&mut self, lo: usize, hi: usize, run: Run, f: &mut dyn FnMut(usize, usize, Run)) {
        if self.hi == lo && self.run == run {
            self.hi = hi;
        } else {
            self.flush(f);
            *self = Joined { lo, hi, run };
        }
    }

    fn flush(&mut self, f: &mut dyn FnMut(usize, usize, Run)) {
        if self.lo != self.hi {
            f(self.lo, self.hi, self.run);
        }
        self.lo = self.hi;
    }
}

/// Whether the page at `addr` can be read; brings it into memory. (Asks the kernel to copy a byte: a guard page, a page
/// behind the end of its file or device memory gives EFAULT instead of a signal.)
pub fn readable(addr: usize) -> bool {
    let mut byte = 0u8;
    copy(addr, &mut byte, 1) == Ok(1)
}

/// Copies `len` bytes from `from` to `to`, as far as they can be read; the number copied.
pub fn copy(from: usize, to: *mut u8, len: usize) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: to.cast(),
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: from as *mut _,
        iov_len: len,
    };
    // SAFETY: the callers pass a buffer of `len` bytes; the kernel checks the source.
    unsafe {
        syscall!(
            libc::SYS_process_vm_readv,
            super::raw::getpid(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn map(pages: usize) -> usize {
        super::super::scratch::map(pages * PAGE).unwrap() as usize
    }

    type Get =
        fn(&Pagemap, usize, usize, Pages, &mut dyn FnMut(usize, usize, Run)) -> Result<(), Errno>;

    fn both(lo: usize, pages: usize, which: Pages, want: &[(usize, usize)]) {
        let pm = Pagemap::open().unwrap();
        let ways: [(&str, Get); 2] = [("scan", Pagemap::scan), ("read", Pagemap::read)];
        for (name, get) in ways {
            let mut got = Vec::new();
            match get(&pm, lo, lo + pages * PAGE, which, &mut |a, b, _| {
                got.push(((a - lo) / PAGE, (b - lo) / PAGE))
            }) {
                Err(Errno(libc::ENOTTY)) => {
                    std::eprintln!("skipped: this kernel has no PAGEMAP_SCAN")
                }
                r => {
                    r.unwrap();
                    assert_eq!(got, want, "{name}");
                }
            }
        }
    }

    #[test]
    fn finds_touched_pages_only() {
        let lo = map(3000);
        // SAFETY: our own mapping; no huge pages, so that single pages stay single.
        unsafe {
            libc::madvise(lo as *mut _, 3000 * PAGE, libc::MADV_NOHUGEPAGE);
            for p in (0..10).chain([100]).chain((200..2000).step_by(3)) {
                *((lo + p * PAGE) as *mut u8) = 1;
            }
        }
        let want: Vec<_> = [(0, 10), (100, 101)]
            .into_iter()
            .chain((200..2000).step_by(3).map(|p| (p, p + 1)))
            .collect();
        both(lo, 3000, Pages::Anonymous, &want);
    }

    #[test]
    fn a_private_file_mapping_counts_where_it_was_written() {
        let f = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        use std::os::fd::AsRawFd;
        // SAFETY: a fresh private mapping of a file that is longer than eight pages; only it is written.
        let lo = unsafe {
            let p = libc::mmap(
                std::ptr::null_mut(),
                8 * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE,
                f.as_raw_fd(),
                0,
            );
            assert_ne!(p, libc::MAP_FAILED);
            for i in 0..8 {
                std::ptr::read_volatile(p.cast::<u8>().add(i * PAGE));
            }
            p.cast::<u8>().add(3 * PAGE).write(1);
            p as usize
        };
        both(lo, 8, Pages::Anonymous, &[(3, 4)]);
        both(lo, 8, Pages::Mapped, &[(0, 8)]);
    }

    #[test]
    fn unreadable_memory_is_told_apart() {
        let lo = map(2);
        // SAFETY: our own mapping.
        unsafe { libc::mprotect((lo + PAGE) as *mut _, PAGE, libc::PROT_NONE) };
        assert!(readable(lo) && !readable(lo + PAGE));
    }
}
