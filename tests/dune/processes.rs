//! Forks, starts threads and a program.

use libdune::{Config, Dune};
use std::process::Command;

fn main() {
    Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    // SAFETY: the child makes system calls only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let text = if Dune::inside() {
            "child: inside\n"
        } else {
            "child: native\n"
        };
        // SAFETY: writes the text and ends.
        unsafe {
            libc::write(1, text.as_ptr().cast(), text.len());
            libc::_exit(7);
        }
    }
    let mut status = 0;
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, &mut status, 0) };
    println!("child's status: {}", libc::WEXITSTATUS(status));
    let threads: Vec<_> = (1..=4u64)
        .map(|i| std::thread::spawn(move || (Dune::inside(), (1..=i * 1000).sum::<u64>())))
        .collect();
    for thread in threads {
        let (inside, sum) = thread.join().expect("the thread ends");
        println!("thread: inside {inside}, sum {sum}");
    }
    let output = Command::new("uname").output().expect("uname runs");
    print!("uname says {}", String::from_utf8_lossy(&output.stdout));
    println!("still inside: {}", Dune::inside());
}
