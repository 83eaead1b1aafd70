//! Binary trees of collected nodes. `--swap` works as in the C program.

use std::cell::{Cell, RefCell};
use std::sync::Barrier;

use dunegc::Gc;

use crate::common::gcbench::{ARRAY_DOUBLES, DEPTHS, STRETCH_DEPTH, fill, iterations};
use crate::common::{Random, Work, finish, mix, option};

#[derive(Default)]
struct Node {
    left: Cell<Link>,
    right: Cell<Link>,
    i: Cell<i32>,
    _j: i32,
}

type Link = Option<Gc<Node>>;

/// Swaps subtrees of one level of a tree at random distances between allocations.
struct Swapper {
    root: Gc<Node>,
    depth: u64,
    /// Swaps after 100 000 allocations, on average.
    rate: u64,
    random: Random,
    allocations_left: u64,
}

thread_local! {
    /// The swapper of the long-lived tree of this thread, once the tree is complete.
    static SWAPPER: RefCell<Option<Swapper>> = const { RefCell::new(None) };
}

impl Swapper {
    fn start(root: Gc<Node>, depth: u32, rate: u64) {
        let mut swapper = Swapper {
            root,
            depth: u64::from(depth),
            rate,
            random: Random::default(),
            allocations_left: 0,
        };
        swapper.draw_distance();
        SWAPPER.set(Some(swapper));
    }

    fn draw_distance(&mut self) {
        self.allocations_left = 1 + self.random.draw() % (200_000 / self.rate);
    }

    fn allocated(&mut self) {
        self.allocations_left -= 1;
        if self.allocations_left == 0 {
            let level = 1 + self.random.draw() % self.depth;
            let (to_a, to_b) = (self.random.draw() >> 20, self.random.draw() >> 20);
            let root = self.root;
            slot(&root, level, to_a, |a| {
                slot(&root, level, to_b, |b| {
                    let kept = a.get();
                    a.set(b.get());
                    b.set(kept);
                });
            });
            self.draw_distance();
        }
    }
}

/// Calls `f` with the link that `path` leads to.
fn slot(root: &Gc<Node>, level: u64, mut path: u64, f: impl FnOnce(&Cell<Link>)) {
    let side = |n: &Gc<Node>, path: u64| match path & 1 {
        1 => n.left.get(),
        _ => n.right.get(),
    };
    let mut n = *root;
    for _ in 1..level {
        n = side(&n, path).expect("a link of a complete tree");
        path >>= 1;
    }
    f(if path & 1 == 1 { &n.left } else { &n.right });
}

fn new_node(left: Link, right: Link) -> Gc<Node> {
    let node = Gc::new(Node {
        left: Cell::new(left),
        right: Cell::new(right),
        ..Node::default()
    });
    SWAPPER.with_borrow_mut(|swapper| {
        if let Some(swapper) = swapper {
            swapper.allocated();
        }
    });
    node
}

/// Numbers the nodes in the order of the tree.
fn number(node: Link, next: &mut i32) {
    if let Some(n) = node {
        n.i.set(*next);
        *next += 1;
        number(n.left.get(), next);
        number(n.right.get(), next);
    }
}

/// A checksum in which every node counts with its place.
fn tree_order(node: Link, sum: u64) -> u64 {
    node.map_or(sum + 1, |n| {
        let left = tree_order(n.left.get(), mix(sum, n.i.get() as u64));
        tree_order(n.right.get(), left)
    })
}

fn populate(depth: u32, node: Gc<Node>) {
    if depth > 0 {
        let (left, right) = (new_node(None, None), new_node(None, None));
        node.left.set(Some(left));
        node.right.set(Some(right));
        populate(depth - 1, left);
        populate(depth - 1, right);
    }
}

fn make_tree(depth: u32) -> Gc<Node> {
    if depth == 0 {
        return new_node(None, None);
    }
    let left = make_tree(depth - 1);
    let right = make_tree(depth - 1);
    new_node(Some(left), Some(right))
}

fn spine(tree: Gc<Node>) -> u64 {
    std::iter::successors(Some(tree), |n| n.left.get()).count() as u64
}

fn tree_sum(node: Link) -> u64 {
    node.map_or(0, |n| {
        1 + n.i.get() as u64 + tree_sum(n.left.get()) + tree_sum(n.right.get())
    })
}

fn time_construction(depth: u32) -> u64 {
    let mut sum = 0;
    for _ in 0..iterations(depth) {
        let tree = new_node(None, None);
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

fn run(long_lived: u32, swaps: u64) -> Kept {
    let mut sum = spine(make_tree(STRETCH_DEPTH));
    let tree = new_node(None, None);
    populate(long_lived, tree);
    let mut doubles = vec![0.0; ARRAY_DOUBLES];
    fill(&mut doubles);
    let array = Gc::<[f64]>::from_slice_atomic(&doubles);
    drop(doubles);
    if swaps > 0 {
        number(Some(tree), &mut 0);
        Swapper::start(tree, long_lived, swaps);
    }
    let (first, last, step) = DEPTHS;
    for depth in (first..=last).step_by(step) {
        sum = mix(sum, time_construction(depth));
    }
    SWAPPER.set(None);
    Kept { tree, array, sum }
}

impl Kept {
    /// Checksums of the trees and of the array. A tree cannot leave its thread: `Cell` is not `Sync`.
    fn check(&self, swaps: u64) -> (u64, u64, u64) {
        let order = if swaps > 0 {
            tree_order(Some(self.tree), 0)
        } else {
            0
        };
        (
            order,
            self.sum + tree_sum(Some(self.tree)),
            (self.array[1000] * 1e9) as u64,
        )
    }
}

pub fn main() {
    let long_lived = option("--long-lived", 16) as u32;
    let threads = option("--threads", 1);
    let swaps = option("--swap", 0);
    if swaps > 100_000 || swaps > 0 && long_lived < 1 {
        eprintln!("gcbench: --swap is 0 to 100000 and needs --long-lived 1 or more");
        std::process::exit(2);
    }
    let all_done = Barrier::new(threads as usize);
    let work_of_one = || {
        let kept = run(long_lived, swaps);
        all_done.wait();
        kept
    };
    let mut work = Work::default();
    let sums: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| work_of_one().check(swaps)))
            .collect();
        let first = work.time(work_of_one).check(swaps);
        let rest = others
            .into_iter()
            .map(|t| t.join().expect("a benchmark thread panicked"));
        std::iter::once(first).chain(rest).collect()
    });
    let checksum = sums.iter().fold(0, |mut sum, (order, tree, array)| {
        if swaps > 0 {
            sum = mix(sum, *order);
        }
        mix(mix(sum, *tree), *array)
    });
    finish("gcbench", checksum, &work);
}
