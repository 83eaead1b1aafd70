//! `dune-costs ENGINE`: what operations take by the time-stamp counter, and how many exits of the guest they are, the least of many times: natively, or in guest mode on the engine `kvm` or `kmod`.
//! In an emulator that counts instructions with it (QEMU's `-icount`), these are instructions of the program, the kernel and the hypervisor together.

use dunegc_tests::pages;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use libdune::{Choice, Config, Dune};
use std::arch::asm;
use std::arch::x86_64::_rdtsc;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// Pages of Appel and Li's second pattern.
const PAGES: usize = 100;

/// Which page the first pattern protects next (0: the second pattern).
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

/// Exits of the guest so far; none natively.
fn exits() -> u64 {
    Dune::get().map_or(0, |dune| {
        let s = dune.stats();
        s.system_calls + s.fills + s.exceptions + s.refused + s.interrupted + s.calls
    })
}

/// The least of many times of `work`, and the fewest exits; `before` is not counted.
fn least(mut before: impl FnMut(), mut work: impl FnMut()) -> (u64, u64) {
    let once = |work: &mut dyn FnMut()| {
        let (exits_before, start) = (exits(), ticks());
        work();
        let took = ticks() - start;
        (took, exits() - exits_before)
    };
    let own = (0..100).map(|_| once(&mut || ()).0).min();
    let times: Vec<(u64, u64)> = (0..60)
        .map(|_| {
            before();
            once(&mut work)
        })
        .collect();
    let fewest = |of: fn(&(u64, u64)) -> u64| times.iter().map(of).min().expect("some");
    (fewest(|t| t.0) - own.expect("some"), fewest(|t| t.1))
}

/// Changes rights: natively by the kernel, inside by the tables.
fn protect(at: usize, len: usize, writable: bool) {
    let Some(dune) = Dune::get() else {
        let rights = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        // SAFETY: memory of this program's own.
        assert_eq!(unsafe { libc::mprotect(at as *mut _, len, rights) }, 0);
        return;
    };
    let rights = if writable { Rights::RW } else { Rights::R };
    let flush = dune.protect(at, len, rights).expect("pages");
    dune.flush(flush).expect("inside");
}

/// What both handlers do: the page that faulted may be written again and, in the first pattern, another one not.
fn give_back(address: usize) {
    protect(address & !4095, 4096, true);
    match NEXT.load(Relaxed) {
        0 => {}
        next => protect(next, 4096, false),
    }
}

fn faulted(trap: &mut Trap) -> Verdict {
    give_back(trap.address as usize);
    Verdict::Resume
}

fn stepped(trap: &mut Trap) -> Verdict {
    trap.frame.rip += 2;
    Verdict::Resume
}

extern "C" fn signalled(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: what the kernel gives to a handler.
    unsafe {
        if signal == libc::SIGSEGV {
            give_back((*info).si_addr() as usize);
        } else {
            let context = context.cast::<libc::ucontext_t>();
            (*context).uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
        }
    }
}

fn handle_signals() {
    for signal in [libc::SIGSEGV, libc::SIGILL] {
        // SAFETY: a handler for faults of this program's own.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = signalled as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
}

fn store(at: usize) {
    // SAFETY: memory of this program's own, or a fault that a handler repairs.
    unsafe { (at as *mut u64).write_volatile(1) };
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let engine = match name.as_str() {
        "native" => None,
        "kvm" => Some(Choice::Kvm),
        "kmod" => Some(Choice::Kmod),
        _ => panic!("native, kvm or kmod"),
    };
    let memory = pages(1000);
    memory.fill(1);
    let (start, len) = (memory.as_ptr() as usize, memory.len());
    match engine {
        None => handle_signals(),
        Some(engine) => {
            let config = Config {
                engine,
                ..Config::default()
            };
            let dune = Dune::enter(config).unwrap_or_else(|e| panic!("{e}"));
            dune.on_exception(trap::PAGE_FAULT, Some(faulted))
                .expect("a handler");
            dune.on_exception(trap::INVALID, Some(stepped))
                .expect("a handler");
            dune.map(start, len).expect("inside");
        }
    }
    let say = |what: &str, (ticks, exits): (u64, u64)| {
        println!("{name}: {what}: {ticks}, exits: {exits}");
    };
    let call = || {
        // SAFETY: asks for a number.
        unsafe { libc::syscall(libc::SYS_getppid) };
    };
    say("system call", least(|| (), call));
    // SAFETY: the handler steps over it.
    say("exception", least(|| (), || unsafe { asm!("ud2") }));

    let at = Cell::new(start);
    protect(start, 4096, false);
    let other = || {
        let next = if at.get() == start {
            start + 4096
        } else {
            start
        };
        NEXT.store(next, Relaxed);
    };
    let fault = || {
        store(at.get());
        at.set(NEXT.load(Relaxed));
    };
    let first = least(other, fault);
    say(
        "fault, a page given back, one protected (Appel and Li 1)",
        first,
    );
    NEXT.store(0, Relaxed);
    let second = least(
        || (),
        || {
            protect(start, PAGES * 4096, false);
            (0..PAGES).for_each(|page| store(start + page * 4096));
        },
    );
    say(
        "the same for each of 100 pages, protected at once (Appel and Li 2)",
        (second.0 / PAGES as u64, second.1),
    );

    let Some(dune) = Dune::get() else { return };
    let harvest = || {
        let mut dirty = dune.dirty(start, len).expect("inside");
        dirty.by_ref().for_each(drop);
        dune.flush(dirty.finish()).expect("inside");
    };
    say(
        "first write to a clean page",
        least(harvest, || store(start)),
    );
    say("write", least(|| store(start), || store(start)));
    let write_all = || (0..1000).for_each(|page| store(start + page * 4096));
    say(
        "harvest of 1000 dirty pages, with flush",
        least(write_all, harvest),
    );
    say("harvest of 1000 clean pages", least(harvest, harvest));
}
