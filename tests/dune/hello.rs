//! Enters, prints, divides by zero and is told so, leaves.

use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::arch::asm;

fn divided(trap: &mut Trap) -> Verdict {
    println!("caught a division by zero");
    // DIV of a 64-bit register takes three bytes.
    trap.frame.rip += 3;
    trap.rax = 42;
    Verdict::Resume
}

fn main() {
    println!("native: {}", !Dune::inside());
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    println!("in guest mode: {}", Dune::inside());
    dune.on_exception(trap::DIVIDE, Some(divided))
        .expect("a handler");
    let quotient: u64;
    // SAFETY: the handler steps over the instruction and sets RAX.
    unsafe {
        asm!("div rcx", in("rcx") 0u64, inout("rax") 7u64 => quotient, inout("rdx") 0u64 => _)
    };
    println!("recovered with {quotient}");
    dune.leave_thread().expect("inside");
    println!("native again: {}", !Dune::inside());
}
