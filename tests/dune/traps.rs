//! Exceptions at CPL 3: privileged and invalid instructions reach handlers, not the machine.

use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::arch::asm;
use std::sync::atomic::{AtomicUsize, Ordering::*};

static STEP: AtomicUsize = AtomicUsize::new(0);

fn step_over(trap: &mut Trap) -> Verdict {
    println!("exception {} at CPL {}", trap.vector, trap.frame.cs & 3);
    trap.frame.rip += STEP.load(Relaxed) as u64;
    Verdict::Resume
}

fn main() {
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.on_exception(trap::PROTECTION, Some(step_over))
        .expect("a handler");
    dune.on_exception(trap::INVALID, Some(step_over))
        .expect("a handler");
    // SAFETY: each instruction is refused at CPL 3; the handler steps over it.
    unsafe {
        STEP.store(1, Relaxed);
        asm!("hlt");
        asm!("cli");
        STEP.store(2, Relaxed);
        asm!("ud2");
        asm!("wrmsr", in("ecx") 0x10, in("eax") 0, in("edx") 0);
        STEP.store(3, Relaxed);
        asm!("mov cr3, {}", in(reg) 0u64);
    }
    println!("still inside: {}", Dune::inside());
}
