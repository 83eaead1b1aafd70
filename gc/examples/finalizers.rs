//! `Drop` on the finalizer thread: parents before children, each value once.
//!
//! ```text
//! cargo run --example finalizers
//! ```

use dunegc::{DuneGc, Finalize, Gc};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, ThreadId};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

static CLOSED: AtomicUsize = AtomicUsize::new(0);
static CHILD_FIRST: AtomicUsize = AtomicUsize::new(0);
static SAME_THREAD: AtomicUsize = AtomicUsize::new(0);

/// A connection that says goodbye when it ends, through the transport that it shares with others.
struct Connection {
    transport: Gc<Finalize<Transport>>,
    opened_by: ThreadId,
}

struct Transport {
    open: AtomicUsize,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The transport has not been dropped: this connection reaches it.
        self.transport.with(|t| t.open.fetch_sub(1, Relaxed));
        CLOSED.fetch_add(1, Relaxed);
        if thread::current().id() == self.opened_by {
            SAME_THREAD.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if *self.open.get_mut() != 0 {
            CHILD_FIRST.fetch_add(1, Relaxed);
        }
    }
}

/// Opens connections and forgets them.
#[inline(never)]
fn talk(connections: usize) {
    let transport = Gc::with_drop(Transport {
        open: AtomicUsize::new(connections),
    });
    for _ in 0..connections {
        Gc::with_drop(Connection {
            transport,
            opened_by: thread::current().id(),
        });
    }
}

fn main() {
    for _ in 0..10 {
        talk(100);
    }
    for _ in 0..3 {
        dunegc::collect().expect("the threads of this program can be stopped");
        assert!(
            dunegc::wait_for_finalizers(Duration::from_secs(10)),
            "finalizers are still running"
        );
    }
    let closed = CLOSED.load(Relaxed);
    println!("more than 800 of 1000 connections closed: {}", closed > 800);
    println!("closed twice: {}", closed.saturating_sub(1000));
    println!(
        "on the thread that opened them: {}",
        SAME_THREAD.load(Relaxed)
    );
    println!(
        "transports dropped before their connections: {}",
        CHILD_FIRST.load(Relaxed)
    );
}
