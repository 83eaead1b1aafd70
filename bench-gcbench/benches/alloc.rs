//! malloc and free, calloc, realloc: the collector's untyped interface against the C library's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dunegc::raw::{self, Kind};

/// An allocator under test.
#[derive(Clone, Copy)]
struct Allocator {
    name: &'static str,
    alloc: fn(usize) -> *mut u8,
    alloc_zeroed: fn(usize) -> *mut u8,
    resize: fn(*mut u8, usize) -> *mut u8,
    free: fn(*mut u8),
}

const DUNEGC: Allocator = Allocator {
    name: "dunegc",
    alloc: |size| raw::alloc(Kind::Malloc, size),
    alloc_zeroed: |size| raw::alloc_zeroed(Kind::Malloc, size),
    // SAFETY: the benchmarks resize only what they allocated here, and use the result alone afterwards.
    resize: |p, size| unsafe { raw::realloc(p, size) }.expect("an object of ours"),
    // SAFETY: the benchmarks free once what they allocated here.
    free: |p| unsafe { raw::free(p) }.expect("an object of ours"),
};

const GLIBC: Allocator = Allocator {
    name: "glibc",
    // SAFETY: malloc takes any size.
    alloc: |size| unsafe { libc::malloc(size) }.cast(),
    // SAFETY: calloc takes any size.
    alloc_zeroed: |size| unsafe { libc::calloc(1, size) }.cast(),
    // SAFETY: the benchmarks resize only what they allocated here, and use the result alone afterwards.
    resize: |p, size| unsafe { libc::realloc(p.cast(), size) }.cast(),
    // SAFETY: the benchmarks free once what they allocated here.
    free: |p| unsafe { libc::free(p.cast()) },
};

const BOTH: [Allocator; 2] = [DUNEGC, GLIBC];

fn pair(c: &mut Criterion) {
    let mut group = c.benchmark_group("malloc-free-pair");
    for size in [16, 64, 256, 1024, 16 << 10, 1 << 20] {
        for a in BOTH {
            group.bench_function(BenchmarkId::new(a.name, size), |b| {
                b.iter(|| (a.free)(black_box((a.alloc)(black_box(size)))));
            });
        }
    }
    group.finish();
}

/// As many objects as a program holds between two phases, freed in the order of their birth.
fn batch(c: &mut Criterion) {
    const COUNT: usize = 10_000;
    let mut group = c.benchmark_group("malloc-10000-free-10000");
    group.throughput(Throughput::Elements(COUNT as u64));
    for size in [16, 64, 256] {
        for a in BOTH {
            let mut objects = vec![std::ptr::null_mut(); COUNT];
            group.bench_function(BenchmarkId::new(a.name, size), |b| {
                b.iter(|| {
                    objects
                        .iter_mut()
                        .for_each(|slot| *slot = (a.alloc)(black_box(size)));
                    objects.iter().for_each(|p| (a.free)(*p));
                });
            });
        }
    }
    group.finish();
}

fn calloc(c: &mut Criterion) {
    let mut group = c.benchmark_group("calloc-free-pair");
    for size in [16, 64, 256, 1024, 16 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(size as u64));
        for a in BOTH {
            group.bench_function(BenchmarkId::new(a.name, size), |b| {
                b.iter(|| (a.free)(black_box((a.alloc_zeroed)(black_box(size)))));
            });
        }
    }
    group.finish();
}

/// A vector that doubles from 16 bytes to `limit`.
fn realloc(c: &mut Criterion) {
    let mut group = c.benchmark_group("realloc-doubling");
    for limit in [4 << 10, 1 << 20] {
        for a in BOTH {
            group.bench_function(BenchmarkId::new(a.name, limit), |b| {
                b.iter(|| {
                    let mut p = (a.alloc)(16);
                    let mut size = 32;
                    while size <= limit {
                        p = (a.resize)(black_box(p), size);
                        size *= 2;
                    }
                    (a.free)(p);
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = pair, batch, calloc, realloc
}
criterion_main!(benches);
