//! Floating point across system calls, exceptions and the way in and out, in two threads.

use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::arch::asm;

fn spoils(trap: &mut Trap) -> Verdict {
    // The handler's own use of the vector registers must not be seen.
    let noise: f64 = (1..100).map(|i| f64::from(i).sqrt()).sum();
    trap.frame.rip += if noise > 0.0 { 2 } else { 0 };
    Verdict::Resume
}

/// The logistic map, sensitive to every bit.
fn compute(disturb: impl Fn(usize)) -> [f64; 4] {
    let mut x = [0.1, 0.2, 0.3, 0.4];
    for i in 0..2000 {
        for v in &mut x {
            *v = 3.9 * *v * (1.0 - *v);
        }
        disturb(i);
    }
    x
}

fn main() {
    let expected = compute(|_| ());
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.on_exception(trap::INVALID, Some(spoils))
        .expect("a handler");
    let work = move || {
        compute(|i| match i % 3 {
            // SAFETY: no arguments.
            0 => drop(unsafe { libc::getppid() }),
            // SAFETY: the handler steps over the instruction.
            1 => unsafe { asm!("ud2") },
            _ if i % 100 == 2 => {
                dune.leave_thread().expect("inside");
                dune.enter_thread().expect("outside");
            }
            _ => {}
        })
    };
    let other = std::thread::spawn(work);
    println!("same: {}", work() == expected);
    println!(
        "same in a thread: {}",
        other.join().expect("the thread ends") == expected
    );
}
