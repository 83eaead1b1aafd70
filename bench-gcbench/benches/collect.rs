//! Mark rate and pause over live heaps of several sizes and shapes.

use std::ptr::null_mut;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dunegc::raw::{self, Kind};
use dunegc::stats;

/// Bytes of one node: two links and six words that are no pointers.
const NODE: usize = 64;

type Node = *mut [usize; NODE / 8];

fn node() -> Node {
    let p: Node = raw::alloc(Kind::Scan, NODE).cast();
    assert!(!p.is_null(), "out of memory");
    p
}

/// A binary tree of `count` nodes in breadth-first order of allocation: wide, so many markers find work.
/// Collections must be off: until the nodes are linked, only memory of the C library holds them.
fn tree(count: usize) -> Node {
    let nodes: Vec<Node> = (0..count).map(|_| node()).collect();
    for (k, &parent) in nodes.iter().enumerate() {
        for side in 0..2 {
            let child = nodes.get(2 * k + 1 + side).copied().unwrap_or(null_mut());
            // SAFETY: `parent` was allocated above and is still allocated: the caller switched collections off.
            unsafe { (*parent)[side] = child as usize };
        }
    }
    nodes[0]
}

/// A list of `count` nodes: every link must be loaded before the next one is known.
fn list(count: usize) -> Node {
    let mut head: Node = null_mut();
    for _ in 0..count {
        let n = node();
        // SAFETY: `n` was just allocated and is held by this stack frame.
        unsafe { (*n)[0] = head as usize };
        head = n;
    }
    head
}

type Shape = (&'static str, fn(usize) -> Node);
const SHAPES: [Shape; 2] = [("tree", tree), ("list", list)];

/// Measures collections by a counter of nanoseconds in the statistics.
fn measure(c: &mut Criterion, name: &str, counter: fn(&stats::Stats) -> u64) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    for (shape, build) in SHAPES {
        for mib in [8_usize, 64] {
            let bytes = mib << 20;
            raw::disable();
            let root = build(bytes / NODE);
            raw::enable();
            // An uncollectable object is a root; locals of the benchmark may live in registers alone.
            let holder: *mut Node = raw::alloc(Kind::Uncollectable, size_of::<Node>()).cast();
            // SAFETY: `holder` is as large as the pointer written to it.
            unsafe { holder.write(root) };
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(shape, format!("{mib}MiB")), |b| {
                b.iter_custom(|iterations| {
                    let before = counter(&stats::snapshot());
                    for _ in 0..iterations {
                        raw::collect().expect("a collection");
                    }
                    Duration::from_nanos(counter(&stats::snapshot()) - before)
                });
            });
            // SAFETY: `holder` was allocated above and is not used after this.
            unsafe { raw::free(holder.cast()) }.expect("an object of ours");
        }
    }
    group.finish();
}

fn mark_rate(c: &mut Criterion) {
    measure(c, "mark", |s| s.mark_ns);
}

fn pause(c: &mut Criterion) {
    measure(c, "pause", |s| s.pause_total_ns);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = mark_rate, pause
}
criterion_main!(benches);
