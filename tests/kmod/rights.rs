//! A guest has the rights that the process has at that moment, and no other memory.

use crate::lives::Target;
use crate::raw::{CODE, Guest, MEMORY, PAGE, RW, map, protect};
use dune_sys as abi;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::time::{Duration, Instant};

/// mov [rdi], rax; hlt
const STORE: &[u8] = &[0x48, 0x89, 0x07, 0xf4];
/// mov rax, [rdi]; hlt
const LOAD: &[u8] = &[0x48, 0x8b, 0x07, 0xf4];
/// jmp rdi
const JUMP: &[u8] = &[0xff, 0xe7];

/// Runs code with RAX and RDI set.
fn with(guest: &Guest, run: &mut abi::Run, code: &[u8], rax: u64, rdi: usize) -> u32 {
    guest.code(code);
    run.set |= abi::SET_REGS;
    (run.regs.rip, run.regs.rax, run.regs.rdi) = (CODE as u64, rax, rdi as u64);
    guest.run(run)
}

/// Loads, stores and jumps to [`PAGE`] are allowed as `expected` says, in this order.
fn check(guest: &Guest, run: &mut abi::Run, what: &str, expected: [bool; 3]) {
    let codes = [(LOAD, "load"), (STORE, "store"), (JUMP, "jump")];
    for ((code, name), allowed) in codes.iter().zip(expected) {
        // 0xf4 is HLT: what a jump executes.
        let exit = with(guest, run, code, 0xf4, PAGE);
        let wanted = if allowed {
            abi::EXIT_HALT
        } else {
            abi::EXIT_REFUSED
        };
        assert_eq!(exit, wanted, "{what}: {name}");
        if !allowed {
            assert_eq!(run.detail, libc::EFAULT as u32, "{what}: {name}");
            assert_eq!(run.address & !0xfff, PAGE as u64, "{what}: {name}");
        }
    }
}

/// Rights are exact, also when they change under entries that are in use.
pub fn rights() {
    let guest = Guest::new();
    let page = guest.memory.wrapping_add(PAGE);
    let mut run = guest.vcpu();
    guest.word(PAGE, 0xf4);
    let (r, w, x) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    for round in 0..3 {
        for (rights, expected) in [
            (r | w, [true, true, false]),
            (r, [true, false, false]),
            (r | w | x, [true, true, true]),
            (r | x, [true, false, true]),
            (0, [false, false, false]),
            (r, [true, false, false]),
        ] {
            protect(page, 4096, rights);
            check(&guest, &mut run, &format!("{round}, {rights}"), expected);
        }
    }
    protect(page, 4096, r | w);
    assert_eq!(with(&guest, &mut run, STORE, 77, PAGE), abi::EXIT_HALT);
    assert_eq!(guest.read(PAGE), 77);
    // SAFETY: a page of the test's own.
    unsafe { libc::madvise(page.cast(), 4096, libc::MADV_DONTNEED) };
    assert_eq!(with(&guest, &mut run, LOAD, 1, PAGE), abi::EXIT_HALT);
    assert_eq!(run.regs.rax, 0, "a page that was given back");
    map(page, 4096, RW, libc::MAP_FIXED);
    guest.word(PAGE, 78);
    assert_eq!(with(&guest, &mut run, LOAD, 1, PAGE), abi::EXIT_HALT);
    assert_eq!(run.regs.rax, 78, "a page that was mapped anew");
}

/// Nothing behind the end of a mapping, also not the rest of a huge page; nothing outside of the chunk.
pub fn outside() {
    let guest = Guest::new();
    let mut run = guest.vcpu();
    const HUGE: usize = 2 << 20;
    let at = 2 * HUGE;
    let memory = guest.memory.wrapping_add(at);
    // SAFETY: pages of the test's own.
    unsafe { libc::madvise(memory.cast(), HUGE, libc::MADV_HUGEPAGE) };
    for page in 0..512 {
        let stored = with(&guest, &mut run, STORE, 5, at + page * 4096);
        assert_eq!(stored, abi::EXIT_HALT);
    }
    // SAFETY: pages of the test's own.
    let done = unsafe { libc::munmap(memory.wrapping_add(HUGE / 2).cast(), HUGE / 2) };
    assert_eq!(done, 0);
    let inside = with(&guest, &mut run, STORE, 5, at + HUGE / 2 - 8);
    assert_eq!(inside, abi::EXIT_HALT);
    for offset in [at + HUGE / 2, at + HUGE - 8, MEMORY, (1 << 28) - 8] {
        for code in [STORE, LOAD] {
            let exit = with(&guest, &mut run, code, 5, offset);
            assert_eq!(exit, abi::EXIT_REFUSED, "{offset:#x}");
        }
    }
    // Behind the chunk, by an entry of the guest's own that says so.
    guest.word(0x3000 + 127 * 8, 0x1000_0000 | 0x87);
    run.set |= abi::SET_FLUSH;
    let exit = with(&guest, &mut run, LOAD, 5, 127 << 21);
    assert_eq!((exit, run.address), (abi::EXIT_REFUSED, 0x1000_0000));
}

/// After a fork, parent and child have pages of their own.
pub fn copies() {
    let guest = Guest::new();
    let mut run = guest.vcpu();
    for round in 0..20u64 {
        assert_eq!(with(&guest, &mut run, STORE, round, PAGE), abi::EXIT_HALT);
        let mut ends = [0; 2];
        // SAFETY: writes two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: the child only reads, writes memory of its own and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut byte = 0u8;
            // SAFETY: one byte of our own.
            let got = unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) };
            let old = guest.read(PAGE);
            guest.word(PAGE, 999);
            let run = guest.device.run(&mut run);
            let good = got == 1 && old == round && run == Err(libc::EIO);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!good)) };
        }
        assert_eq!(with(&guest, &mut run, STORE, 555, PAGE), abi::EXIT_HALT);
        // SAFETY: one byte of our own; then the child is waited for.
        unsafe {
            assert_eq!(libc::write(ends[1], (&raw const round).cast(), 1), 1);
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(status, 0, "the child saw something else");
            libc::close(ends[0]);
            libc::close(ends[1]);
        }
        assert_eq!(with(&guest, &mut run, LOAD, 1, PAGE), abi::EXIT_HALT);
        assert_eq!(run.regs.rax, 555, "the child's store is the parent's");
    }
}

/// The process changes its mappings while the guest uses them.
pub fn changing() {
    const PAGES: usize = 64;
    let guest = Guest::new();
    // 1: rdi = rsi; 2: inc qword [rdi]; rdi += 4096; cmp rdi, rdx; jb 2; jmp 1
    guest.code(&[
        0x48, 0x89, 0xf7, 0x48, 0xff, 0x07, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0x48, 0x39, 0xd7,
        0x72, 0xf1, 0xeb, 0xec,
    ]);
    let stop = AtomicBool::new(false);
    let target = Target::default();
    let refused = std::thread::scope(|scope| {
        let (guest, stop) = (&guest, &stop);
        let target = &target;
        let runner = scope.spawn(move || {
            target.here();
            let mut refused = 0;
            let mut run = guest.vcpu();
            (run.regs.rsi, run.regs.rdx) = (PAGE as u64, (PAGE + PAGES * 4096) as u64);
            run.regs.rdi = PAGE as u64;
            // The kernel ends the run when the test ends it, by the signal below.
            while !stop.load(Relaxed) {
                guest.device.run(&mut run).expect("it runs");
                match run.exit {
                    abi::EXIT_INTERRUPTED => {}
                    abi::EXIT_REFUSED => refused += 1,
                    other => panic!("exit {other}"),
                }
            }
            refused
        });
        let end = Instant::now() + Duration::from_secs(3);
        let mut random = 1u64;
        let mut rounds = 0;
        while Instant::now() < end {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(9);
            let page = (random >> 40) as usize % PAGES;
            let at = guest.memory.wrapping_add(PAGE + page * 4096);
            // From here on the guest must not reach what was here: the new page stays zero.
            map(at, 4096, libc::PROT_READ, libc::MAP_FIXED);
            for _ in 0..(random >> 33) % 2000 {
                assert_eq!(
                    guest.read(PAGE + page * 4096),
                    0,
                    "a store without the right"
                );
            }
            match random >> 60 {
                0..8 => protect(at, 4096, RW),
                8..12 => {
                    map(at, 4096, RW, libc::MAP_FIXED);
                }
                // SAFETY: pages of the test's own; some stay away for a while.
                _ => unsafe {
                    libc::munmap(at.cast(), 4096);
                    std::thread::yield_now();
                    map(at, 4096, RW, libc::MAP_FIXED);
                },
            }
            rounds += 1;
        }
        stop.store(true, Relaxed);
        target.interrupt(|| runner.is_finished());
        assert!(rounds > 20, "{rounds} rounds");
        runner.join().expect("the guest's thread")
    });
    assert!(refused > 0, "the guest never met a page without rights");
}
