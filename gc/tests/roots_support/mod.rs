//! What the tests of root enumeration share: values that only the memory under test holds, and looking for them.
#![allow(dead_code)]
use dunegc::roots::{self, Mappings, RootKind, RootRange, RootsConfig};
use dunegc::world;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

pub const MASK: u64 = 0x5a5a_a5a5_3c3c_c3c3;
static NEXT: AtomicU64 = AtomicU64::new(0x1234_5678_9abc_0001);

/// A value that exists only in disguise until [`show`]n.
#[derive(Clone, Copy)]
pub struct Secret(pub u64);

impl Secret {
    pub fn new() -> Secret {
        Secret(NEXT.fetch_add(0x0101_0000_0100, Relaxed))
    }
    /// The value itself; must stay in the place under test.
    #[inline(always)]
    pub fn show(self) -> u64 {
        self.0 ^ black_box(MASK)
    }
}

/// The kinds of range in which the secret's value was found, with addresses (of the copy for transient ranges).
#[inline(always)]
pub fn find(
    secret: Secret,
    mappings: Mappings,
    exclude: &[(usize, usize)],
) -> Vec<(RootKind, usize)> {
    // The caller's frame stays, as `enumerate` asks; the vector has its memory beforehand: others may hold malloc's lock.
    let mut found = Vec::with_capacity(64);
    let mut bytes = 0usize;
    let w = world::stop().unwrap();
    let r = roots::enumerate(
        &w,
        RootsConfig { mappings },
        exclude,
        &mut |r: RootRange| {
            bytes += r.hi - r.lo;
            search(r, secret, &mut found);
        },
    );
    w.resume();
    r.unwrap();
    found
}

#[inline(never)]
pub fn search(r: RootRange, secret: Secret, found: &mut Vec<(RootKind, usize)>) {
    let mask = black_box(MASK);
    let mut at = r.lo.next_multiple_of(8);
    while at + 8 <= r.hi && r.kind != RootKind::StackObject {
        // SAFETY: the enumeration promises readable memory while the world is stopped.
        let word = unsafe { (at as *const u64).read_volatile() };
        if black_box(word ^ mask) == secret.0 && found.len() < found.capacity() {
            found.push((r.kind, at));
        }
        at += 8;
    }
}

pub fn kinds(found: &[(RootKind, usize)]) -> Vec<RootKind> {
    found.iter().map(|f| f.0).collect()
}

/// Runs `hold` in a thread; it must call the closure it gets, with the secret's value in place, and the closure returns
/// when `check` has run.
pub fn with_thread(hold: impl FnOnce(&AtomicUsize) + Send, check: impl FnOnce()) {
    let phase = AtomicUsize::new(0);
    std::thread::scope(|s| {
        s.spawn(|| hold(&phase));
        while phase.load(Acquire) != 1 {
            std::thread::yield_now();
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        phase.store(2, Release);
        if let Err(e) = done {
            std::panic::resume_unwind(e);
        }
    });
}

#[inline(never)]
pub fn wait(phase: &AtomicUsize) {
    phase.store(1, Release);
    while phase.load(Acquire) != 2 {
        std::hint::spin_loop();
    }
}

pub const BOTH: [Mappings; 2] = [Mappings::All, Mappings::SegmentsOnly];

/// Calls `f` with every root range while the world is stopped.
pub fn each_range(mappings: Mappings, f: &mut dyn FnMut(RootRange)) {
    let w = world::stop().unwrap();
    let r = roots::enumerate(&w, RootsConfig { mappings }, &[], f);
    w.resume();
    r.unwrap();
}

/// Overwrites what calls left below the caller's frame, and the caller-saved registers with it.
#[inline(never)]
pub fn scrub() {
    let mut deep = [0u64; 4096];
    black_box(&mut deep);
    // SAFETY: only clears registers that a call may change.
    unsafe {
        std::arch::asm!(
            "xor eax, eax",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor esi, esi",
            "xor edi, edi",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "pxor xmm0, xmm0",
            "pxor xmm1, xmm1",
            clobber_abi("C")
        );
    }
}
