//! Edits its own page tables: two addresses for one page, then apart again.

use dunegc_tests::pages;
use libdune::arch::pte::{Rights, Value};
use libdune::table::Flush;
use libdune::{Config, Dune};

fn main() {
    let memory = pages(2);
    memory[..4096].fill(b'a');
    memory[4096..].fill(b'b');
    let start = memory.as_mut_ptr() as usize;
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.map(start, memory.len()).expect("pages");
    // SAFETY: the two pages of the mapping; volatile, because the tables change what they are.
    let read =
        |page: usize| unsafe { char::from(((start + page * 4096) as *const u8).read_volatile()) };
    let flush = |page: usize| {
        let mut flush = Flush::nothing();
        flush.add((start + page * 4096) as u64);
        dune.flush(flush).expect("inside");
    };
    println!("{} {}", read(0), read(1));
    let first = dune.entry(start).expect("known");
    let second = dune.entry(start + 4096).expect("known");
    let (one, two) = (first.load(), second.load());
    first.swap(Value::page(two.frame(), Rights::RW));
    flush(0);
    println!("{} {}", read(0), read(1));
    // SAFETY: the first page, which is another address of the second now.
    unsafe { ((start + 1) as *mut u8).write_volatile(b'c') };
    // SAFETY: the second page.
    println!("{}", unsafe {
        char::from(((start + 4097) as *const u8).read_volatile())
    });
    println!(
        "dirty: {} {}",
        first.load().dirty(),
        second.load().rights() == Rights::RW
    );
    first.swap(Value::page(one.frame(), Rights::RW));
    flush(0);
    println!("{} {}", read(0), read(1));
    dune.leave_thread().expect("inside");
    println!("{} {}", read(0), read(1));
}
