//! On Linux as it is: `mprotect` and SIGSEGV.

use super::{PAGE, PAGES, Row, least, now, pages, sources, write};
use anyhow::Result;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// The page that the handler protects; 0: none.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static START: AtomicUsize = AtomicUsize::new(0);

fn protect(at: usize, len: usize, write: bool) {
    let rights = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
    // SAFETY: pages of a mapping of our own, which only this benchmark uses.
    let result = unsafe { libc::mprotect(at as *mut _, len, rights) };
    assert_eq!(result, 0, "mprotect");
}

extern "C" fn faulted(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel fills it for a fault.
    let page = unsafe { (*info).si_addr() } as usize & !(PAGE - 1);
    if NEXT.load(Relaxed) != 0 {
        protect(super::other(START.load(Relaxed), page), PAGE, false);
    }
    protect(page, PAGE, true);
}

extern "C" fn skip(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the context of a handler with SA_SIGINFO, at an instruction of two bytes.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] += 2;
    }
}

pub(super) fn handle(
    signal: i32,
    handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
) {
    // SAFETY: installs a handler that does what its signal needs.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// All figures.
pub fn all() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut row = |name, ticks| {
        rows.push(Row {
            name,
            ticks,
            exits: None,
        });
    };
    row("system call (getppid)", super::system_calls());
    row("first touch of a new page", super::first_touches());
    handle(libc::SIGFPE, skip);
    row("trap (division by zero, handled)", super::traps());
    handle(libc::SIGSEGV, faulted);
    let at = pages(PAGES);
    START.store(at, Relaxed);
    row("Appel 1: prot1 + trap + unprot, a page", {
        NEXT.store(1, Relaxed);
        protect(at, PAGE, false);
        least(PAGES, || super::chase(at))
    });
    NEXT.store(0, Relaxed);
    row("Appel 2: protN + trap + unprot, a page", {
        protect(at, PAGES * PAGE, true);
        least(PAGES, || {
            let start = now();
            protect(at, PAGES * PAGE, false);
            (0..PAGES).for_each(|i| write(at + i * PAGE));
            now() - start
        })
    });
    // Where the kernel has no userfaultfd with write protection, or does not allow it, there are no such rows.
    if let Ok(ticks) = super::uffd::with_thread() {
        row(
            "userfaultfd, another thread: protN + fault + unprot, a page",
            ticks,
        );
    }
    if let Ok(ticks) = super::uffd::with_signal() {
        row("userfaultfd, SIGBUS: protN + fault + unprot, a page", ticks);
    }
    use dunegc::dirty::Kind;
    for (kind, first, harvests) in [
        (
            Kind::PagemapScan,
            "first write, pagemap-scan",
            [
                "harvest of 4096 pages, 0 % written, pagemap-scan",
                "harvest of 4096 pages, 10 % written, pagemap-scan",
                "harvest of 4096 pages, 100 % written, pagemap-scan",
            ],
        ),
        (
            Kind::SoftDirty,
            "first write, soft-dirty",
            [
                "harvest of 4096 pages, 0 % written, soft-dirty",
                "harvest of 4096 pages, 10 % written, soft-dirty",
                "harvest of 4096 pages, 100 % written, soft-dirty",
            ],
        ),
    ] {
        for (name, ticks) in sources::costs(kind, first, harvests) {
            row(name, ticks);
        }
    }
    Ok(rows)
}
