//! Binary trees of collected nodes.

use std::cell::Cell;
use std::sync::Barrier;

use dunegc::Gc;

use crate::common::gcbench::{ARRAY_DOUBLES, DEPTHS, STRETCH_DEPTH, fill, iterations};
use crate::common::{Work, finish, mix, option};

#[derive(Default)]
struct Node {
    left: Cell<Link>,
    right: Cell<Link>,
    i: i32,
    _j: i32,
}

type Link = Option<Gc<Node>>;

fn populate(depth: u32, node: Gc<Node>) {
    if depth > 0 {
        let (left, right) = (Gc::new(Node::default()), Gc::new(Node::default()));
        node.left.set(Some(left));
        node.right.set(Some(right));
        populate(depth - 1, left);
        populate(depth - 1, right);
    }
}

fn make_tree(depth: u32) -> Gc<Node> {
    if depth == 0 {
        return Gc::new(Node::default());
    }
    let left = Cell::new(Some(make_tree(depth - 1)));
    let right = Cell::new(Some(make_tree(depth - 1)));
    Gc::new(Node {
        left,
        right,
        i: 0,
        _j: 0,
    })
}

fn spine(tree: Gc<Node>) -> u64 {
    std::iter::successors(Some(tree), |n| n.left.get()).count() as u64
}

fn tree_sum(node: Link) -> u64 {
    node.map_or(0, |n| {
        1 + n.i as u64 + tree_sum(n.left.get()) + tree_sum(n.right.get())
    })
}

fn time_construction(depth: u32) -> u64 {
    let mut sum = 0;
    for _ in 0..iterations(depth) {
        let tree = Gc::new(Node::default());
        populate(depth, tree);
        sum += spine(tree);
    }
    for _ in 0..iterations(depth) {
        sum += spine(make_tree(depth));
    }
    sum
}

/// What one thread keeps.
struct Kept {
    tree: Gc<Node>,
    array: Gc<[f64]>,
    sum: u64,
}

fn run(long_lived: u32) -> Kept {
    let mut sum = spine(make_tree(STRETCH_DEPTH));
    let tree = Gc::new(Node::default());
    populate(long_lived, tree);
    let mut doubles = vec![0.0; ARRAY_DOUBLES];
    fill(&mut doubles);
    let array = Gc::<[f64]>::from_slice_atomic(&doubles);
    drop(doubles);
    let (first, last, step) = DEPTHS;
    for depth in (first..=last).step_by(step) {
        sum = mix(sum, time_construction(depth));
    }
    Kept { tree, array, sum }
}

impl Kept {
    /// Checksums of the trees and of the array. A tree cannot leave its thread: `Cell` is not `Sync`.
    fn check(&self) -> (u64, u64) {
        (
            self.sum + tree_sum(Some(self.tree)),
            (self.array[1000] * 1e9) as u64,
        )
    }
}

pub fn main() {
    let long_lived = option("--long-lived", 16) as u32;
    let threads = option("--threads", 1);
    let all_done = Barrier::new(threads as usize);
    let work_of_one = || {
        let kept = run(long_lived);
        all_done.wait();
        kept
    };
    let mut work = Work::default();
    let sums: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| work_of_one().check()))
            .collect();
        let first = work.time(work_of_one).check();
        let rest = others
            .into_iter()
            .map(|t| t.join().expect("a benchmark thread panicked"));
        std::iter::once(first).chain(rest).collect()
    });
    let checksum = sums
        .iter()
        .fold(0, |sum, (tree, array)| mix(mix(sum, *tree), *array));
    finish("gcbench", checksum, &work);
}
