//! Random graphs against a naive model: what the model reaches is there after every collection, with its content; most of
//! the rest is gone in the end.

mod api_support;

use api_support::{alone, collect, collect_until};
use dunegc::{DuneGc, Gc, GcVec, Weak};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

struct Node {
    id: usize,
    edges: RefCell<GcVec<Gc<Node>>>,
    payload: Gc<[u64]>,
}

fn checksum(id: usize) -> impl Iterator<Item = u64> {
    (0..id as u64 % 37).map(move |n| {
        (id as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(n as u32)
    })
}

impl Node {
    fn new(id: usize) -> Gc<Node> {
        let payload = Gc::<[u64]>::from_slice_atomic(&checksum(id).collect::<Vec<_>>());
        Gc::new(Node {
            id,
            edges: RefCell::default(),
            payload,
        })
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A node that root `root` holds.
    New {
        root: usize,
    },
    /// An edge between what two roots lead to.
    Link {
        from: usize,
        to: usize,
    },
    /// Removes an edge.
    Unlink {
        from: usize,
        edge: usize,
    },
    /// A root follows an edge.
    Follow {
        root: usize,
        edge: usize,
    },
    /// A root lets go.
    Forget {
        root: usize,
    },
    Collect,
}

const ROOTS: usize = 12;

fn ops() -> impl Strategy<Value = Op> {
    let root = || 0..ROOTS;
    prop_oneof![
        6 => root().prop_map(|root| Op::New { root }),
        8 => (root(), root()).prop_map(|(from, to)| Op::Link { from, to }),
        2 => (root(), any::<usize>()).prop_map(|(from, edge)| Op::Unlink { from, edge }),
        3 => (root(), any::<usize>()).prop_map(|(root, edge)| Op::Follow { root, edge }),
        2 => root().prop_map(|root| Op::Forget { root }),
        1 => Just(Op::Collect),
    ]
}

/// Runs the operations on both and compares. The result: ids the model does not reach, and weak pointers to all nodes.
#[inline(never)]
fn run(ops: &[Op]) -> (BTreeSet<usize>, Vec<Weak<Node>>) {
    let mut roots: Vec<Option<Gc<Node>>> = vec![None; ROOTS];
    let mut weak: Vec<Weak<Node>> = Vec::new();
    let mut model_roots: Vec<Option<usize>> = vec![None; ROOTS];
    let mut model_edges: Vec<Vec<usize>> = Vec::new();
    for op in ops {
        match *op {
            Op::New { root } => {
                let id = weak.len();
                let node = Node::new(id);
                weak.push(Gc::downgrade(node));
                roots[root] = Some(node);
                model_roots[root] = Some(id);
                model_edges.push(Vec::new());
            }
            Op::Link { from, to } => {
                if let (Some(a), Some(b)) = (roots[from], roots[to]) {
                    a.edges.borrow_mut().push(b);
                    model_edges[a.id].push(b.id);
                }
            }
            Op::Unlink { from, edge } => {
                if let Some(node) = roots[from].filter(|n| !n.edges.borrow().is_empty()) {
                    let edge = edge % model_edges[node.id].len();
                    node.edges.borrow_mut().swap_remove(edge);
                    model_edges[node.id].swap_remove(edge);
                }
            }
            Op::Follow { root, edge } => {
                if let Some(node) = roots[root].filter(|n| !n.edges.borrow().is_empty()) {
                    let edge = edge % model_edges[node.id].len();
                    roots[root] = Some(node.edges.borrow()[edge]);
                    model_roots[root] = Some(model_edges[node.id][edge]);
                }
            }
            Op::Forget { root } => (roots[root], model_roots[root]) = (None, None),
            Op::Collect => {
                collect();
                compare(&roots, &model_roots, &model_edges, &weak);
            }
        }
    }
    collect();
    let reached = compare(&roots, &model_roots, &model_edges, &weak);
    roots.fill(None);
    (
        (0..weak.len()).filter(|id| !reached.contains(id)).collect(),
        weak,
    )
}

/// Compares content and edges of everything that the model reaches.
fn compare(
    roots: &[Option<Gc<Node>>],
    model_roots: &[Option<usize>],
    model_edges: &[Vec<usize>],
    weak: &[Weak<Node>],
) -> BTreeSet<usize> {
    let ids: Vec<_> = roots.iter().map(|r| r.map(|n| n.id)).collect();
    assert_eq!(ids, model_roots);
    let mut reached = BTreeSet::new();
    let mut work: Vec<usize> = model_roots.iter().copied().flatten().collect();
    while let Some(id) = work.pop() {
        if reached.insert(id) {
            let node = weak[id]
                .upgrade()
                .unwrap_or_else(|| panic!("node {id} is reachable, but gone"));
            assert_eq!(node.id, id);
            assert!(
                node.payload.iter().copied().eq(checksum(id)),
                "payload of node {id}: {:x?}",
                node.payload
            );
            let edges: Vec<usize> = node.edges.borrow().iter().map(|n| n.id).collect();
            assert_eq!(edges, model_edges[id], "edges of node {id}");
            work.extend(edges);
        }
    }
    reached
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_model_reaches_is_there(ops in proptest::collection::vec(ops(), 1..400)) {
        let _alone = alone();
        run(&ops);
    }
}

#[test]
fn most_of_the_rest_is_gone() {
    let _alone = alone();
    let mut ops = Vec::new();
    for n in 0..3000 {
        let root = n % ROOTS;
        ops.push(Op::New { root });
        ops.push(Op::Link {
            from: root,
            to: (root + 1) % ROOTS,
        });
        ops.push(Op::Link {
            from: (root + 1) % ROOTS,
            to: root,
        });
        if n % 50 == 49 {
            ops.extend((0..ROOTS).map(|root| Op::Forget { root }));
        }
    }
    let (lost, weak) = run(&ops);
    assert!(lost.len() > 2000, "the model keeps too much");
    let left = || {
        lost.iter()
            .filter(|id| weak[**id].upgrade().is_some())
            .count()
    };
    collect_until(|| left() < lost.len() / 2);
    assert!(
        left() < lost.len() / 2,
        "{} of {} unreachable nodes left",
        left(),
        lost.len()
    );
}
