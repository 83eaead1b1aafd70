//! Binary trees of boxes.

use crate::common::gcbench::{ARRAY_DOUBLES, DEPTHS, STRETCH_DEPTH, fill, iterations};
use crate::common::{Work, finish, mix, option};

#[derive(Default)]
struct Node {
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
    i: i32,
    _j: i32,
}

fn populate(depth: u32, node: &mut Node) {
    if depth > 0 {
        let left = node.left.insert(Box::default());
        let right = node.right.insert(Box::default());
        populate(depth - 1, left);
        populate(depth - 1, right);
    }
}

fn make_tree(depth: u32) -> Box<Node> {
    if depth == 0 {
        return Box::default();
    }
    let left = make_tree(depth - 1);
    let right = make_tree(depth - 1);
    Box::new(Node {
        left: Some(left),
        right: Some(right),
        i: 0,
        _j: 0,
    })
}

fn spine(tree: &Node) -> u64 {
    std::iter::successors(Some(tree), |n| n.left.as_deref()).count() as u64
}

fn tree_sum(node: Option<&Node>) -> u64 {
    node.map_or(0, |n| {
        1 + n.i as u64 + tree_sum(n.left.as_deref()) + tree_sum(n.right.as_deref())
    })
}

fn time_construction(depth: u32) -> u64 {
    let mut sum = 0;
    for _ in 0..iterations(depth) {
        let mut tree: Box<Node> = Box::default();
        populate(depth, &mut tree);
        sum += spine(&tree);
    }
    for _ in 0..iterations(depth) {
        sum += spine(&make_tree(depth));
    }
    sum
}

struct Kept {
    tree: Box<Node>,
    array: Vec<f64>,
    sum: u64,
}

fn run(long_lived: u32) -> Kept {
    let mut sum = spine(&make_tree(STRETCH_DEPTH));
    let mut tree: Box<Node> = Box::default();
    populate(long_lived, &mut tree);
    let mut array = vec![0.0; ARRAY_DOUBLES];
    fill(&mut array);
    let (first, last, step) = DEPTHS;
    for depth in (first..=last).step_by(step) {
        sum = mix(sum, time_construction(depth));
    }
    Kept { tree, array, sum }
}

/// All of the work once, with everything dropped at its end.
pub fn once(long_lived: u32) -> u64 {
    let kept = run(long_lived);
    mix(kept.sum, tree_sum(Some(&kept.tree)))
}

pub fn main() {
    let long_lived = option("--long-lived", 16) as u32;
    let threads = option("--threads", 1);
    if option("--swap", 0) > 0 {
        eprintln!("gcbench: --swap is not there with boxes");
        std::process::exit(2);
    }
    let mut work = Work::default();
    let kept: Vec<Kept> = work.time(|| {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| run(long_lived)))
                .collect();
            let first = run(long_lived);
            let rest = others
                .into_iter()
                .map(|t| t.join().expect("a benchmark thread panicked"));
            std::iter::once(first).chain(rest).collect()
        })
    });
    let mut checksum = 0;
    for one in &kept {
        checksum = mix(checksum, one.sum + tree_sum(Some(&one.tree)));
        checksum = mix(checksum, (one.array[1000] * 1e9) as u64);
    }
    work.time(|| drop(kept));
    finish("gcbench", checksum, &work);
}
