//! The self-test's subject: this process in guest mode. Runs in a child that was forked for it, where no libc function may be called.

use crate::arch::address::PAGE;
use crate::arch::pte::Rights;
use crate::arch::xsave;
use crate::dune::Dune;
use crate::error::Error;
use crate::self_test::{PAGES, Subject};
use crate::sys::{self, Mapping};
use crate::table::Flush;
use crate::trap::{self, Trap, Verdict};
use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::*};

/// Address that the handler saw last.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Guest mode of this process, with pages to write to.
pub struct Guest {
    dune: Dune,
    memory: Mapping,
    flush: Flush,
}

fn handler(trap: &mut Trap) -> Verdict {
    SEEN.store(trap.address, Relaxed);
    let page = (trap.address & !(PAGE - 1)) as usize;
    let given = Dune::get().map(|d| d.protect(page, PAGE as usize, Rights::RW));
    match given {
        Some(Ok(_)) => Verdict::Resume,
        _ => Verdict::Pass,
    }
}

impl Guest {
    /// Pages that are known to the tables and clean.
    ///
    /// # Errors
    /// What the library says.
    pub fn new(dune: Dune) -> Result<Guest, Error> {
        let memory = Mapping::new(PAGES as u64 * PAGE)?;
        let (start, len) = (memory.start() as usize, memory.len() as usize);
        dune.map(start, len)?;
        dune.on_exception(trap::PAGE_FAULT, Some(handler))?;
        let mut new = dune.dirty(start, len)?;
        new.by_ref().for_each(drop);
        dune.flush(new.finish())?;
        Ok(Guest {
            dune,
            memory,
            flush: Flush::nothing(),
        })
    }

    fn address(&self, page: usize) -> u64 {
        self.memory.start() + page as u64 * PAGE
    }
}

/// Something to compute: the same work inside and outside.
#[inline(never)]
fn work(memory: u64) -> u64 {
    let start = ticks();
    let mut x = 1u64;
    for i in 0..200_000u64 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i);
        let at = (memory + (x >> 40) % PAGE / 8 * 8) as *mut u64;
        // SAFETY: inside the first page of the test's memory.
        unsafe { at.write_volatile(at.read_volatile() ^ x) };
    }
    ticks() - start
}

fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

impl Subject for Guest {
    fn keeps_vectors(&mut self) -> bool {
        let pattern = 0x0123_4567_89ab_cdef_u64;
        let (low, high): (u64, u64);
        if xsave::enabled() & 4 == 0 {
            // SAFETY: getppid between a load and a store of a declared register.
            unsafe {
                asm!(
                    "movq xmm13, {p}", "syscall", "movq {low}, xmm13",
                    p = in(reg) pattern, low = out(reg) low,
                    inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _, out("xmm13") _,
                );
            }
            return low == pattern;
        }
        // SAFETY: the same; the system has enabled AVX.
        unsafe {
            asm!(
                "vbroadcastsd ymm13, qword ptr [{p}]", "syscall", "vmovq {low}, xmm13", "vextractf128 xmm13, ymm13, 1",
                "vmovq {high}, xmm13", "vzeroupper",
                p = in(reg) &pattern, low = out(reg) low, high = out(reg) high,
                inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _, out("xmm13") _,
            );
        }
        (low, high) == (pattern, pattern)
    }

    fn fault(&mut self, page: usize) -> Option<usize> {
        let address = self.address(page);
        SEEN.store(0, Relaxed);
        let flush = self
            .dune
            .protect(address as usize, PAGE as usize, Rights::NONE);
        self.dune.flush(flush.ok()?).ok()?;
        self.store(page);
        let seen = SEEN.load(Relaxed).checked_sub(self.memory.start())?;
        (seen % PAGE == 8).then_some((seen / PAGE) as usize)
    }

    fn store(&mut self, page: usize) {
        let at = (self.address(page) + 8) as *mut u64;
        // SAFETY: inside the test's memory.
        unsafe { at.write_volatile(1) };
    }

    fn take_dirty(&mut self, page: usize) -> bool {
        let at = self.address(page);
        let dirty = self.dune.entry(at as usize).is_some_and(|e| e.take_dirty());
        if dirty {
            self.flush.add(at);
        }
        dirty
    }

    fn flush(&mut self) {
        let flush = core::mem::replace(&mut self.flush, Flush::nothing());
        let _ = self.dune.flush(flush);
    }

    fn keeps_time(&mut self) -> bool {
        let inside = ticks();
        let left = self.dune.leave_thread();
        let outside = ticks();
        let entered = self.dune.enter_thread();
        let again = ticks();
        left.is_ok() && entered.is_ok() && inside < outside && outside < again
    }

    fn speed(&mut self) -> (u64, u64) {
        let (mut inside, mut outside) = (u64::MAX, u64::MAX);
        for _ in 0..5 {
            inside = inside.min(work(self.memory.start()));
            let _ = self.dune.leave_thread();
            outside = outside.min(work(self.memory.start()));
            let _ = self.dune.enter_thread();
        }
        (inside, outside)
    }
}

/// Ticks of a system call inside, the least of many.
pub fn system_call_ticks() -> u64 {
    let mut least = u64::MAX;
    for _ in 0..50 {
        let start = ticks();
        sys::thread_id();
        least = least.min(ticks() - start);
    }
    least
}
