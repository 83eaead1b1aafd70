//! Cyclic graphs, built and forgotten: each node knows its neighbours, and they know it.
//!
//! ```text
//! cargo run --example graph
//! ```

use dunegc::{DuneGc, Gc, GcVec, Weak};
use std::cell::RefCell;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

struct Node {
    id: usize,
    edges: RefCell<GcVec<Gc<Node>>>,
}

/// A ring of `n` nodes with chords: every node can be reached from every other.
fn ring(n: usize) -> Gc<[Gc<Node>]> {
    let nodes = Gc::<[_]>::from_fn(n, |id| {
        Gc::new(Node {
            id,
            edges: RefCell::default(),
        })
    });
    for (i, node) in nodes.iter().enumerate() {
        let mut edges = node.edges.borrow_mut();
        edges.push(nodes[(i + 1) % n]);
        edges.push(nodes[(i + n - 1) % n]);
        edges.push(nodes[i * 7 % n]);
    }
    nodes
}

/// Nodes that can be reached from `start`.
fn reachable(start: Gc<Node>, n: usize) -> usize {
    let mut seen = vec![false; n];
    let mut work = vec![start];
    while let Some(node) = work.pop() {
        if !std::mem::replace(&mut seen[node.id], true) {
            work.extend(node.edges.borrow().iter());
        }
    }
    seen.iter().filter(|s| **s).count()
}

/// Builds a ring, checks it, and returns a weak pointer to one of its nodes.
#[inline(never)]
fn build_and_forget(n: usize) -> Weak<Node> {
    let nodes = ring(n);
    assert_eq!(reachable(nodes[0], n), n);
    Gc::downgrade(nodes[n / 2])
}

fn main() {
    let n = 1000;
    let kept = ring(n)[0]; // one pointer keeps the whole ring
    let lost: Vec<Weak<Node>> = (0..50).map(|_| build_and_forget(n)).collect();

    dunegc::collect().expect("the threads of this program can be stopped");
    println!("kept ring: {} of {n} nodes reachable", reachable(kept, n));
    // A stale word on the stack can keep a ring for a while: the collector is conservative.
    let alive = lost.iter().filter(|weak| weak.upgrade().is_some()).count();
    println!(
        "at least 40 of 50 lost rings are collected: {}",
        alive <= 10
    );
}
