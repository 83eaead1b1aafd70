//! Life and death of objects: reachability, reuse, the limit, return of memory. One process per setting.

mod heap_support;

use dunegc::raw::{self, Kind};
use std::hint::black_box;
use std::process::Command;

fn collect() {
    raw::collect().expect("nothing keeps the world from being stopped");
}

/// Overwrites dead stack frames, in which pointers may have stayed.
#[inline(never)]
fn clear_stack() {
    black_box([0u8; 32 << 10]);
}

/// `n` objects of `size` bytes; their addresses inverted, so that the vector is no root for them.
#[inline(never)]
fn make(kind: Kind, n: usize, size: usize) -> Vec<usize> {
    (0..n).map(|_| !(raw::alloc(kind, size) as usize)).collect()
}

/// How many of them exist.
#[inline(never)]
fn alive(hidden: &[usize]) -> usize {
    hidden
        .iter()
        .filter(|&&h| raw::find(!black_box(h)).is_some_and(|o| o.base == !h))
        .count()
}

/// Runs the test `name` of this file in a child process with other settings.
fn child(name: &str, settings: &[(&str, &str)]) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--test-threads", "1"])
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{name} with {settings:?}: {}\n{text}",
        out.status
    );
}

/// Unreachable objects of collected kinds go, of all sizes; explicit ones stay.
#[test]
fn the_unreachable_is_collected() {
    child("collected_or_not", &[]);
    child("collected_or_not", &[("DUNEGC_MARKERS", "2")]);
    child("collected_or_not", &[("DUNEGC_BACKGROUND", "no")]);
}

#[test]
#[ignore = "run in a child process by the_unreachable_is_collected"]
fn collected_or_not() {
    raw::disable();
    for size in [16, 40, 200, 3000, 30_000, 70_000, 300_000] {
        let n = if size < 10_000 { 2000 } else { 60 };
        for (kind, collected) in [
            (Kind::Scan, true),
            (Kind::Atomic, true),
            (Kind::Malloc, false),
            (Kind::Uncollectable, false),
            (Kind::AtomicUncollectable, false),
        ] {
            let hidden = make(kind, n, size);
            assert_eq!(alive(&hidden), n);
            clear_stack();
            collect();
            clear_stack();
            collect();
            let left = alive(&hidden);
            if collected {
                // A word somewhere may look like a pointer to one; slots left in the cache count as allocated.
                assert!(
                    left <= n / 50 + 70,
                    "{left} of {n} {kind:?} objects of {size} bytes are left"
                );
            } else {
                assert_eq!(left, n, "{kind:?} objects of {size} bytes");
                // SAFETY: the test's own objects.
                hidden
                    .iter()
                    .for_each(|&h| unsafe { raw::free(!h as *mut u8) }.unwrap());
            }
        }
    }
}

/// What is reachable stays, through chains of collected and of malloc'ed objects, whatever is allocated and dropped around it.
#[test]
fn the_reachable_stays() {
    const N: usize = 3000;
    for link in [Kind::Scan, Kind::Malloc, Kind::Uncollectable] {
        // A list: each link points to the next and to a leaf of a collected kind.
        let mut head: *mut usize = std::ptr::null_mut();
        for i in 0..N {
            let leaf = raw::alloc(
                if i % 2 == 0 { Kind::Scan } else { Kind::Atomic },
                24 + i % 500,
            )
            .cast::<usize>();
            let node = raw::alloc(link, 32 + i % 90).cast::<usize>();
            // SAFETY: both objects are at least three words long.
            unsafe {
                leaf.write(!i);
                node.write(head as usize);
                node.add(1).write(leaf as usize);
                node.add(2).write(i);
            }
            head = node;
            if i % 700 == 0 {
                collect();
            }
            black_box(raw::alloc(Kind::Scan, 1 + i % 3000));
        }
        collect();
        let (mut n, mut node) = (0, head);
        while !node.is_null() {
            // SAFETY: nodes and leaves were made above, and are reachable from `head`.
            unsafe {
                let i = node.add(2).read();
                assert_eq!(i, N - 1 - n);
                assert_eq!(
                    (node.add(1).read() as *const usize).read(),
                    !i,
                    "leaf {i} of {link:?} links"
                );
                assert!(raw::find(node.add(1).read()).is_some());
                node = node.read() as *mut usize;
            }
            n += 1;
        }
        assert_eq!(n, N);
    }
}

/// Freed memory is used again: allocating and freeing for ever needs no more than once.
#[test]
fn freed_memory_is_reused() {
    child("reuse", &[]);
    child("reuse", &[("DUNEGC_MODE", "reclaim")]);
}

#[test]
#[ignore = "run in a child process by freed_memory_is_reused"]
fn reuse() {
    let round = |kind: Kind, size: usize, n: usize| {
        let v: Vec<*mut u8> = (0..n).map(|_| raw::alloc(kind, size)).collect();
        // SAFETY: the test's own objects.
        v.into_iter().for_each(|p| unsafe { raw::free(p) }.unwrap());
    };
    for kind in [Kind::Malloc, Kind::Scan, Kind::AtomicUncollectable] {
        for (size, n) in [
            (16, 50_000),
            (1000, 4000),
            (20_000, 300),
            (100_000, 60),
            (1 << 20, 8),
        ] {
            round(kind, size, n);
            let before = raw::figures().heap;
            (0..20).for_each(|_| round(kind, size, n));
            let after = raw::figures().heap;
            assert!(
                after <= before + before / 2 + (1 << 20),
                "{kind:?}, {n} times {size}: {before} bytes of heap, then {after}"
            );
        }
    }
}

/// What another thread frees is used again by the thread that allocated it, all of it, whatever the order of the frees.
#[test]
fn what_others_free_is_reused() {
    let keep = ("DUNEGC_DECAY", "-1");
    child("remote_reuse", &[keep]);
    child("remote_reuse", &[keep, ("DUNEGC_BACKGROUND", "no")]);
}

#[test]
#[ignore = "run in a child process by what_others_free_is_reused"]
fn remote_reuse() {
    raw::disable();
    for (size, n) in [(16, 100_000), (48, 20_000), (1000, 4000), (20_000, 500)] {
        // Neighbours together, and so that each goes alone.
        for stride in [1, 67] {
            let mut known = std::collections::HashSet::new();
            for round in 0..4 {
                let hidden = make(Kind::Malloc, n, size);
                let fresh = hidden.iter().filter(|&&h| known.insert(h)).count();
                // The rest of the last block, and what is left in the caches of threads.
                assert!(
                    round == 0 || fresh <= (64 << 10) / size + n / 50 + 70,
                    "{fresh} of {n} objects of {size} bytes lie in fresh memory, stride {stride}, round {round}"
                );
                let free = || {
                    for from in 0..stride {
                        for &h in hidden.iter().skip(from).step_by(stride) {
                            // SAFETY: the test's own objects, each freed once.
                            unsafe { raw::free(!h as *mut u8) }.unwrap();
                        }
                    }
                    raw::thread_exit();
                };
                std::thread::scope(|s| s.spawn(free).join().unwrap());
            }
        }
    }
}

/// At the limit allocation gives null, what is there stays intact, and after a free there is room again.
#[test]
fn the_limit_holds() {
    child("limit", &[("DUNEGC_MAX_HEAP", "8M")]);
    child(
        "limit",
        &[("DUNEGC_MAX_HEAP", "8M"), ("DUNEGC_BACKGROUND", "no")],
    );
}

/// Garbage does not count: far more than the limit can be allocated and dropped.
#[inline(never)]
fn garbage() {
    for i in 0..40_000 {
        assert!(
            !black_box(raw::alloc(Kind::Scan, 1000 + i % 1000)).is_null(),
            "allocation {i}"
        );
    }
    for i in 0..300 {
        assert!(
            !black_box(raw::alloc(Kind::Atomic, 500_000)).is_null(),
            "large allocation {i}"
        );
    }
}

#[inline(never)]
fn wipe_stack() {
    black_box([0u8; 64 << 10]);
}

#[test]
#[ignore = "run in a child process by the_limit_holds"]
fn limit() {
    garbage();
    // What is left of it on the stack would keep some of it.
    wipe_stack();
    for size in [48, 5000, 200_000] {
        let mut v = Vec::new();
        while let Some(h) = heap_support::Held::new(Kind::Malloc, size, 1, false, v.len() as u64) {
            v.push(h);
            assert!(
                v.len() * size <= 8 << 20,
                "more than the limit was handed out"
            );
        }
        assert!(
            v.len() * size >= 5 << 20,
            "only {} bytes fit below a limit of 8 MiB",
            v.len() * size
        );
        v.drain(..v.len() / 2).for_each(heap_support::Held::free);
        let again = heap_support::Held::new(Kind::Malloc, size, 1, false, 1)
            .expect("half of the heap is free");
        again.free();
        v.into_iter().for_each(heap_support::Held::free);
    }
}

fn rss() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// After a spike the memory goes back to the system, without any further call of the program if a helper thread runs.
#[test]
fn memory_goes_back_after_a_spike() {
    child("spike", &[]);
    child("spike", &[("DUNEGC_BACKGROUND", "no")]);
}

#[test]
#[ignore = "run in a child process by memory_goes_back_after_a_spike"]
fn spike() {
    const SPIKE: usize = 200 << 20;
    for size in [100, 10_000, 3 << 20] {
        black_box(raw::alloc(Kind::Malloc, 1));
        let before = rss();
        let v: Vec<*mut u8> = (0..SPIKE / size)
            .map(|_| {
                let p = raw::alloc(Kind::Malloc, size);
                // SAFETY: the object is `size` bytes long.
                unsafe { p.write_bytes(1, size) };
                p
            })
            .collect();
        assert!(rss() > before + SPIKE / 10 * 9);
        // SAFETY: the test's own objects.
        v.into_iter().for_each(|p| unsafe { raw::free(p) }.unwrap());
        std::thread::sleep(std::time::Duration::from_millis(250));
        black_box(raw::alloc(Kind::Malloc, 100_000));
        raw::trim(0);
        let after = rss();
        assert!(
            after < before + SPIKE / 10,
            "{size}-byte objects: {} MiB before, {} MiB after",
            before >> 20,
            after >> 20
        );
    }
}

/// Mode `reclaim`: a lost malloc'ed object survives one collection as a suspect and goes in the second; one found again in
/// between starts anew.
#[test]
fn reclaim_takes_two_cycles() {
    child("suspects", &[("DUNEGC_MODE", "reclaim")]);
    child(
        "suspects",
        &[("DUNEGC_MODE", "reclaim"), ("DUNEGC_MARKERS", "2")],
    );
}

#[test]
#[ignore = "run in a child process by reclaim_takes_two_cycles"]
fn suspects() {
    raw::disable();
    for size in [64, 3000, 200_000] {
        let n = if size < 10_000 { 1000 } else { 50 };
        let hidden = make(Kind::Malloc, n, size);
        // The objects with an odd index are visible before the second collection.
        clear_stack();
        collect();
        assert_eq!(alive(&hidden), n, "one cycle is not enough");
        let mut visible: Vec<usize> = hidden.iter().skip(1).step_by(2).map(|h| !h).collect();
        black_box(&visible);
        collect();
        let left = alive(&hidden);
        assert!(
            left >= n / 2 && left <= n / 2 + n / 20 + 70,
            "{left} of {n} objects of {size} bytes are left, half are visible"
        );
        visible.fill(0);
        drop(black_box(visible));
        clear_stack();
        collect();
        let left = alive(&hidden);
        assert!(
            left >= n / 2,
            "objects seen again have two cycles anew; {left} of {n} are left"
        );
        clear_stack();
        collect();
        clear_stack();
        collect();
        let left = alive(&hidden);
        assert!(
            left <= n / 20 + 70,
            "{left} of {n} objects of {size} bytes are left though lost"
        );
    }
}
