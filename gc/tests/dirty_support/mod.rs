//! What the tests of dirty sources share: memory, harvests as sets of pages, and sources that lie or are broken.
#![allow(dead_code)]
use dunegc::dirty::{Failure, InGuest, NoSource, Outcome, Range, Source, Tracking, When};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

pub mod cases;
pub mod model;

pub const PAGE: usize = 4096;
pub const HUGE: usize = 2 << 20;

/// One test at a time: a signal handler belongs to the process, and tests count its descriptors.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Writable private memory, aligned to a huge page.
pub struct Memory {
    mapped: usize,
    pub start: usize,
    pub pages: usize,
}

impl Memory {
    /// Untouched.
    pub fn new(pages: usize) -> Memory {
        // SAFETY: a fresh mapping.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                pages * PAGE + HUGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(p, libc::MAP_FAILED);
        let m = Memory {
            mapped: p as usize,
            start: (p as usize).next_multiple_of(HUGE),
            pages,
        };
        m.advise(0, pages, libc::MADV_NOHUGEPAGE);
        m
    }

    /// Every page present.
    pub fn filled(pages: usize) -> Memory {
        let m = Memory::new(pages);
        (0..pages).for_each(|i| m.write(i));
        m
    }

    pub fn range(&self) -> Range {
        self.part(0, self.pages)
    }

    pub fn part(&self, from: usize, to: usize) -> Range {
        assert!(from <= to && to <= self.pages);
        Range {
            start: self.start + from * PAGE,
            end: self.start + to * PAGE,
        }
    }

    pub fn at(&self, page: usize) -> *mut u8 {
        assert!(page < self.pages);
        (self.start + page * PAGE) as *mut u8
    }

    pub fn write(&self, page: usize) {
        let p = self.at(page);
        // SAFETY: inside the mapping, which is writable; tests run one at a time.
        unsafe { p.write_volatile(p.read_volatile().wrapping_add(1)) };
    }

    pub fn advise(&self, from: usize, to: usize, advice: i32) {
        let r = self.part(from, to);
        // SAFETY: inside our own mapping, whose content no test relies on after such advice.
        let result = unsafe { libc::madvise(r.start as *mut _, r.len(), advice) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Replaces pages by a new mapping at the same address.
    pub fn remap(&self, from: usize, to: usize) {
        let r = self.part(from, to);
        // SAFETY: replaces a part of our own mapping.
        let p = unsafe {
            libc::mmap(
                r.start as *mut _,
                r.len(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        assert_eq!(p as usize, r.start);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping; no test keeps pointers into it.
        unsafe { libc::munmap(self.mapped as *mut _, self.pages * PAGE + HUGE) };
    }
}

/// What a harvest said about one [`Memory`].
#[derive(Debug)]
pub enum Written {
    Pages(BTreeSet<usize>),
    Everything,
}

impl Written {
    pub fn has(&self, page: usize) -> bool {
        match self {
            Written::Pages(all) => all.contains(&page),
            Written::Everything => true,
        }
    }

    #[track_caller]
    pub fn assert_has(&self, pages: impl IntoIterator<Item = usize>) {
        for p in pages {
            assert!(self.has(p), "page {p} was lost: {self:?}");
        }
    }
}

/// What tests need to know about a source beyond its contract.
pub trait Tested: Source + Sized {
    const NAME: &'static str;
    /// Pages reported around one that was written; 0: the source may report anything.
    const PIECE: usize;
    /// A system call may write to tracked pages at any time.
    const KERNEL_WRITES: bool;
    /// Rounds of random writes, with this source and with one that lies on top of it.
    const ROUNDS: [usize; 2] = [10_000; 2];
    fn make() -> Self;
}

impl<const RIGHTS: bool> Tested for InGuest<RIGHTS> {
    const NAME: &'static str = if RIGHTS { "dune-wp" } else { "dune" };
    const PIECE: usize = 1;
    const KERNEL_WRITES: bool = true;
    // What a lie adds does not concern the engine, and each round is many exits.
    const ROUNDS: [usize; 2] = [10_000, 500];
    fn make() -> Self {
        Self::open().unwrap()
    }
}

#[track_caller]
pub fn armed<S: Tested>(m: &Memory) -> Tracking<S> {
    let mut t = Tracking::new(S::make());
    t.arm(&[m.range()]).unwrap();
    t
}

#[track_caller]
pub fn harvest<S: Source>(t: &mut Tracking<S>, m: &Memory, when: When) -> Written {
    let mut pages = BTreeSet::new();
    let mut n = 0;
    let outcome = t.harvest(when, &mut |r| {
        assert!(r.start.is_multiple_of(PAGE) && r.start < r.end, "{r:?}");
        n += r.pages();
        for at in (r.start..r.end).step_by(PAGE) {
            if at >= m.start && at < m.start + m.pages * PAGE {
                assert!(pages.insert((at - m.start) / PAGE), "reported twice: {r:?}");
            }
        }
    });
    match outcome {
        Outcome::Everything => Written::Everything,
        Outcome::Pages(count) => {
            assert_eq!(count, n);
            Written::Pages(pages)
        }
    }
}

pub fn running<S: Source>(t: &mut Tracking<S>, m: &Memory) -> Written {
    harvest(t, m, When::Running)
}

pub fn last<S: Source>(t: &mut Tracking<S>, m: &Memory) -> Written {
    harvest(t, m, When::Stopped { keep: false })
}

/// Takes the calling thread into guest mode for good, where that can be had; threads that it makes are there too.
pub fn enter_guest_mode() {
    dunegc::dirty::offer(&libdune::interface::INTERFACE);
    if libdune::Dune::inside() {
        return;
    }
    let config = libdune::Config {
        whole: true,
        ..libdune::Config::default()
    };
    let entered = match libdune::Dune::get() {
        Some(dune) => dune.enter_thread(),
        None => libdune::Dune::enter(config).map(drop),
    };
    entered.unwrap_or_else(|e| eprintln!("no guest mode: {e}"));
}

/// Whether the machine has an engine for guest mode; else why not.
pub fn engine() -> Result<(), libdune::Error> {
    libdune::engine::any::AnyEngine::open(libdune::Choice::Any).map(drop)
}

/// Runs `f` in a child, which must not panic.
#[track_caller]
pub fn in_child(f: impl FnOnce()) {
    assert_eq!(status_of_child(f), 0, "the child failed");
}

/// The wait status of a child that runs `f`: 0 without a panic.
pub fn status_of_child(f: impl FnOnce()) -> i32 {
    // SAFETY: the child uses only this test's code and ends with _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    let mut status = -1;
    // SAFETY: waits for our child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// Whether a source must work here, found out without its own code: a source that is broken must not be skipped.
pub fn must_work(name: &str) -> bool {
    match name {
        "mprotect" => true,
        "dune" | "dune-wp" => engine().is_ok(),
        "pagemap-scan" => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            let mut numbers = release
                .split(['.', '-'])
                .map_while(|n| n.parse::<u32>().ok());
            let version = (numbers.next(), numbers.next());
            // SAFETY: takes flags, makes a descriptor, touches no memory.
            let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | 1) };
            if fd >= 0 {
                // SAFETY: the descriptor was just made.
                unsafe { libc::close(fd as i32) };
            }
            fd >= 0 && version >= (Some(6), Some(7))
        }
        _ => std::env::var("DUNEGC_TEST_DIRTY").as_deref() == Ok(name),
    }
}

/// A small generator, so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

/// Lies in every way that the contract allows: pages that were not written, `Everything`, delays.
pub struct Liar<S>(pub S, pub Random);

impl<S: Source> Source for Liar<S> {
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        self.0.arm(ranges)
    }

    fn track(&mut self, range: Range) -> Result<(), Failure> {
        self.0.track(range)
    }

    fn harvest(
        &mut self,
        ranges: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure> {
        if self.1.below(4) == 0 {
            std::thread::sleep(std::time::Duration::from_micros(self.1.below(100) as u64));
        }
        let mut found: Vec<Range> = Vec::new();
        let said = self.0.harvest(ranges, when, &mut |r| found.push(r))?;
        if said == Outcome::Everything || self.1.below(10) == 0 {
            return Ok(Outcome::Everything);
        }
        let mut pages: BTreeSet<usize> = found
            .iter()
            .flat_map(|r| (r.start..r.end).step_by(PAGE))
            .collect();
        for _ in 0..self.1.below(5) {
            let r = ranges[self.1.below(ranges.len())];
            pages.insert(r.start + self.1.below(r.pages()) * PAGE);
        }
        for &start in &pages {
            sink(Range {
                start,
                end: start + PAGE,
            });
        }
        Ok(Outcome::Pages(pages.len()))
    }

    fn disarm(&mut self, ranges: &[Range]) {
        self.0.disarm(ranges);
    }
}
