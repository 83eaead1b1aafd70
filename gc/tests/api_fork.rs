//! A forked child allocates, collects and drops, also when other threads were busy at the fork.

mod api_support;

use api_support::{alone, collect, collect_until, elsewhere};
use dunegc::{DuneGc, Gc};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

static DROPS: AtomicUsize = AtomicUsize::new(0);

struct Counted(#[allow(dead_code)] String);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPS.fetch_add(1, SeqCst);
    }
}

fn make(n: usize) {
    elsewhere(|| (0..n).for_each(|_| _ = Gc::with_drop(Counted("text".into()))));
}

/// Runs `f` in a child and returns its exit status; 99 for a panic, 98 after 60 s.
fn in_child(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child runs nothing but `f` and ends by `_exit`; the allocator and the collector support that.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(60) };
        let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: no preconditions.
        unsafe { libc::_exit(ok.map_or(99, |ok| i32::from(!ok))) }
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        1000 + libc::WTERMSIG(status)
    }
}

#[test]
fn child_collects_and_drops() {
    let _alone = alone();
    make(200);
    collect_until(|| DROPS.load(SeqCst) > 100);
    assert!(
        DROPS.load(SeqCst) > 100,
        "the parent's finalizer thread works"
    );
    let kept = Gc::new([5u64; 10]);
    let status = in_child(|| {
        DROPS.store(0, SeqCst);
        make(200);
        collect_until(|| DROPS.load(SeqCst) > 100);
        DROPS.load(SeqCst) > 100 && kept[9] == 5
    });
    assert_eq!(status, 0);
    collect();
    assert_eq!(kept[0], 5);
}

#[test]
fn while_others_allocate() {
    let _alone = alone();
    let done = AtomicBool::new(false);
    let statuses: Vec<i32> = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let owned: Vec<Box<u64>> = (0..100).map(Box::new).collect();
                    let collected = Gc::<[Gc<u64>]>::from_fn(100, |n| Gc::new(n as u64));
                    assert_eq!(*owned[99] + *collected[1], 100);
                }
            });
        }
        let statuses = (0..20)
            .map(|_| {
                in_child(|| {
                    let kept: Vec<Gc<[u64; 3]>> = (0..5000).map(|n| Gc::new([n; 3])).collect();
                    dunegc::collect().expect("the only thread can be stopped");
                    (0..5000u64).for_each(|n| _ = black_box(Gc::new([n; 3])));
                    kept.iter().enumerate().all(|(n, gc)| **gc == [n as u64; 3])
                })
            })
            .collect();
        done.store(true, Relaxed);
        statuses
    });
    assert_eq!(statuses, [0; 20]);
}
