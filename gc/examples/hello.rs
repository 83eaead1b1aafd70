//! The global allocator and a list of collected objects.
//!
//! ```text
//! cargo run --example hello
//! ```

use dunegc::{DuneGc, Gc};

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

struct List {
    value: u64,
    next: Option<Gc<List>>,
}

/// A list of the numbers below `n`.
fn count_to(n: u64) -> Option<Gc<List>> {
    (0..n)
        .rev()
        .fold(None, |next, value| Some(Gc::new(List { value, next })))
}

fn sum(list: Option<Gc<List>>) -> u64 {
    std::iter::successors(list, |node| node.next)
        .map(|node| node.value)
        .sum()
}

fn main() {
    // `Box`, `Vec`, `String` come from the same heap, and are freed when they are dropped, as ever.
    let words: Vec<String> = ["collected", "and", "owned"].map(String::from).into();
    println!("{} memory, side by side", words.join(" "));

    // A thousand lists, one after the other. Nobody frees them.
    let total: u64 = (0..1000).map(|_| sum(count_to(1000))).sum();
    println!("sum: {total}");

    // A list of a million objects goes without recursion.
    let long = count_to(1_000_000);
    println!("long list: {}", sum(long));

    dunegc::collect().expect("the threads of this program can be stopped");
    let stats = dunegc::stats();
    println!(
        "collections: {}",
        if stats.collections > 0 {
            "some"
        } else {
            "none"
        }
    );
    println!(
        "allocated more than 30 MB: {}",
        stats.allocated_bytes > 30_000_000
    );
    println!("heap less than that: {}", stats.heap_bytes < 30_000_000);
}
