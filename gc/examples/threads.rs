//! Collected objects shared by threads: a stack without locks, whose nodes nobody has to free.
//!
//! ```text
//! cargo run --example threads
//! ```

use dunegc::{DuneGc, Gc};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};
use std::thread;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

struct Node {
    value: u64,
    next: *mut Node,
}

/// Treiber's stack. With a collector there is no ABA problem and no hazard pointer: a node is not reused while anybody
/// looks at it.
#[derive(Default)]
struct Stack {
    top: AtomicPtr<Node>,
}

impl Stack {
    fn push(&self, value: u64) {
        let mut next = self.top.load(Relaxed);
        loop {
            let node = Gc::as_ptr(Gc::new(Node { value, next })).cast_mut();
            match self.top.compare_exchange_weak(next, node, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => next = now,
            }
        }
    }

    fn pop(&self) -> Option<u64> {
        let mut top = self.top.load(Acquire);
        loop {
            // SAFETY: a pointer to a node keeps it alive, be it from `Gc` or raw, and nodes do not change.
            let node = unsafe { top.as_ref() }?;
            match self
                .top
                .compare_exchange_weak(top, node.next, Acquire, Acquire)
            {
                Ok(_) => return Some(node.value),
                Err(now) => top = now,
            }
        }
    }
}

fn main() {
    const THREADS: u64 = 4;
    const VALUES: u64 = 50_000;

    let stack = Gc::new(Stack::default());
    let sum = Gc::new(AtomicU64::new(0));
    let longest = Gc::new(Mutex::new(Gc::<str>::from("")));
    let threads: Vec<_> = (0..THREADS)
        .map(|t| {
            // `Gc` is `Copy`: every thread has its own pointers to the same objects.
            thread::spawn(move || {
                for i in 0..VALUES {
                    stack.push(t * VALUES + i);
                    if i % 2 == 1 {
                        sum.fetch_add(stack.pop().unwrap_or(0) + stack.pop().unwrap_or(0), Relaxed);
                    }
                }
                let name = format!("thread {t} {}", "i".repeat(t as usize));
                let mut longest = longest.lock().expect("no thread panics");
                if name.len() > longest.len() {
                    *longest = name.as_str().into();
                }
            })
        })
        .collect();
    dunegc::collect().expect("the threads of this program can be stopped");
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    while let Some(value) = stack.pop() {
        sum.fetch_add(value, Relaxed);
    }
    let n = THREADS * VALUES;
    println!("sum: {} of {}", sum.load(Relaxed), n * (n - 1) / 2);
    println!(
        "longest name: {}",
        longest.lock().expect("no thread panics")
    );
    println!(
        "collections: {}",
        if dunegc::stats().collections > 0 {
            "some"
        } else {
            "none"
        }
    );
}
