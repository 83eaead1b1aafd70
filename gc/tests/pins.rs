//! Pins: they count, they hold the whole object and what it reaches, and they end.

use dunegc::raw::{self, Kind};
use std::hint::black_box;
use std::process::Command;

const MANY: usize = 300;

/// Overwrites dead stack frames, in which pointers may have stayed.
#[inline(never)]
fn clear_stack() {
    black_box([0u8; 32 << 10]);
}

fn collect() {
    clear_stack();
    raw::collect().expect("nothing keeps the world from being stopped");
}

/// Objects, each with a pointer to another one; the addresses inverted.
#[inline(never)]
fn make(size: usize) -> Vec<[usize; 2]> {
    let pair = |_| {
        let (p, to) = (raw::alloc(Kind::Scan, size), raw::alloc(Kind::Atomic, 24));
        // SAFETY: the last whole word of the object.
        unsafe { p.add(size - 8).cast::<usize>().write(to as usize) };
        [!(p as usize), !(to as usize)]
    };
    (0..MANY).map(pair).collect()
}

#[inline(never)]
fn alive(hidden: impl Iterator<Item = usize>) -> usize {
    hidden
        .filter(|&h| raw::find(!black_box(h)).is_some_and(|o| o.base == !h))
        .count()
}

#[test]
fn pinned_objects_stay() {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["pinned", "--exact", "--ignored", "--test-threads", "1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run in a child process by pinned_objects_stay"]
fn pinned() {
    raw::disable();
    for size in [32, 200, 70_000] {
        let hidden = make(size);
        #[inline(never)]
        fn each(hidden: &[[usize; 2]], f: impl Fn(usize, usize)) {
            hidden.iter().enumerate().for_each(|(i, &[h, _])| f(i, !h));
        }
        // From any byte, twice.
        each(&hidden, |i, p| assert!(raw::pin(p + i % size)));
        each(&hidden, |i, p| assert!(raw::pin(p + size - 1 - i % size)));
        for pins_left in [2, 1] {
            collect();
            collect();
            assert_eq!(
                alive(hidden.iter().flatten().copied()),
                2 * MANY,
                "{pins_left} pins"
            );
            each(&hidden, |i, p| assert!(raw::unpin(p + i * 7 % size)));
        }
        each(&hidden, |_, p| assert!(!raw::unpin(p), "no pin is left"));
        collect();
        let left = alive(hidden.iter().map(|h| h[0]));
        assert!(
            left <= MANY / 10,
            "{left} of {MANY} objects of {size} bytes are left without pins"
        );
    }
}

#[test]
fn only_objects_can_be_pinned() {
    let p = raw::alloc(Kind::Malloc, 100) as usize;
    let on_stack = 0_u64;
    for addr in [0, 16, &raw const on_stack as usize, p.wrapping_add(1 << 42)] {
        assert!(!raw::pin(addr) && !raw::unpin(addr), "{addr:#x}");
    }
    assert!(!raw::unpin(p), "not pinned");
    assert!(raw::pin(p) && raw::unpin(p));
    // A large one, because small ones count as allocated as long as they lie in a thread's cache.
    let large = raw::alloc(Kind::Malloc, 300_000);
    // SAFETY: the test's own objects.
    unsafe { raw::free(p as *mut u8).and(raw::free(large)) }.unwrap();
    assert!(!raw::pin(large as usize + 8), "freed");
}
