//! A naive model of the heap: what was handed out, and what must be in it.
#![allow(dead_code)]

use dunegc::raw::{self, FreeError, Kind};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// All kinds.
pub const KINDS: [Kind; 5] = [
    Kind::Malloc,
    Kind::Scan,
    Kind::Atomic,
    Kind::Uncollectable,
    Kind::AtomicUncollectable,
];

/// Address ranges of live objects of all threads: an overlap is an error of the allocator. Objects that the collector may
/// free behind our back are not entered.
static LIVE: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Enters a range.
pub fn enter(base: usize, size: usize) {
    let mut live = LIVE.lock().unwrap();
    if let Some((&b, &s)) = live.range(..base + size).next_back() {
        assert!(
            b + s <= base,
            "{base:#x}+{size:#x} overlaps the live object {b:#x}+{s:#x}"
        );
    }
    live.insert(base, size);
}

/// Takes a range out.
pub fn leave(base: usize) {
    LIVE.lock().unwrap().remove(&base).expect("entered before");
}

/// An object that the test holds.
#[derive(Debug)]
pub struct Held {
    /// Where it starts.
    pub p: *mut u8,
    /// What was asked for.
    pub size: usize,
    /// What it is.
    pub kind: Kind,
    /// What its content is made from.
    pub seed: u64,
}

// SAFETY: whoever has the value has the object.
unsafe impl Send for Held {}

fn pattern(seed: u64, word: usize) -> u64 {
    // Never an address of the heap: the top bit is set.
    (seed ^ word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63
}

impl Held {
    /// Allocates and fills; `None` if the heap is exhausted. `zeroed` asks for zeroed memory of any kind.
    pub fn new(kind: Kind, size: usize, align: usize, zeroed: bool, seed: u64) -> Option<Held> {
        let p = match (align > 16, zeroed) {
            (true, _) => raw::alloc_aligned(kind, size, align),
            (false, true) => raw::alloc_zeroed(kind, size),
            (false, false) => raw::alloc(kind, size),
        };
        if p.is_null() {
            return None;
        }
        let zero = raw::is_zeroed(kind) || zeroed && align <= 16;
        let held = Held {
            p,
            size,
            kind,
            seed,
        };
        held.check_object();
        assert_eq!(
            p as usize % align.max(16),
            0,
            "alignment {align} of {p:p}, {size} bytes"
        );
        if zero {
            // SAFETY: the object is this test's own and at least `size` bytes long.
            let bytes = unsafe { std::slice::from_raw_parts(p, size) };
            assert!(
                bytes.iter().all(|&b| b == 0),
                "{p:p} ({kind:?}, {size} bytes, alignment {align}) is not zero"
            );
        }
        enter(p as usize, held.usable());
        held.fill();
        Some(held)
    }

    /// Usable size as the heap tells it.
    pub fn usable(&self) -> usize {
        raw::find(self.p as usize)
            .expect("a live object is found")
            .size
    }

    /// What the heap says about it is right, from its first, last and a middle byte.
    pub fn check_object(&self) {
        let usable = self.usable();
        assert!(
            usable >= self.size.max(1),
            "{self:?} has {usable} usable bytes"
        );
        for at in [0, usable / 2, usable - 1] {
            let o = raw::find(self.p as usize + at).expect("a live object is found from inside");
            assert_eq!(
                (o.base, o.size, o.kind),
                (self.p as usize, usable, self.kind),
                "{self:?} from byte {at}"
            );
        }
    }

    fn words(&self) -> usize {
        self.size / 8
    }

    /// Writes the pattern.
    pub fn fill(&self) {
        let p = self.p.cast::<u64>();
        for i in 0..self.words() {
            // SAFETY: word `i` lies in the object.
            unsafe { p.add(i).write(pattern(self.seed, i)) };
        }
        for i in self.words() * 8..self.size {
            // SAFETY: byte `i` lies in the object.
            unsafe { self.p.add(i).write(self.seed as u8) };
        }
    }

    fn check_prefix(&self, size: usize) {
        let p = self.p.cast::<u64>();
        for i in 0..size / 8 {
            // SAFETY: word `i` lies in the object.
            let got = unsafe { p.add(i).read() };
            assert_eq!(got, pattern(self.seed, i), "word {i} of {self:?}");
        }
    }

    /// The content is what was written.
    pub fn check(&self) {
        self.check_prefix(self.size);
        for i in self.words() * 8..self.size {
            // SAFETY: byte `i` lies in the object.
            let got = unsafe { self.p.add(i).read() };
            assert_eq!(got, self.seed as u8, "byte {i} of {self:?}");
        }
    }

    /// Resizes; the content up to the smaller size stays, and what a zeroed kind gains behind its old usable end is zero.
    pub fn resize(&mut self, size: usize) {
        let usable = self.usable();
        leave(self.p as usize);
        // SAFETY: the object is this test's own; the old pointer is forgotten.
        let p = unsafe { raw::realloc(self.p, size) }.expect("a live object can be resized");
        if p.is_null() {
            enter(self.p as usize, usable);
            return;
        }
        let old = std::mem::replace(&mut self.size, size);
        self.p = p;
        self.check_object();
        enter(p as usize, self.usable());
        self.check_prefix(old.min(size));
        if raw::is_zeroed(self.kind) {
            for i in usable..size {
                // SAFETY: byte `i` lies in the object.
                let got = unsafe { p.add(i).read() };
                assert_eq!(
                    got, 0,
                    "byte {i} of {self:?}, which had {usable} usable bytes"
                );
            }
        }
        self.fill();
    }

    /// Checks the content and frees.
    pub fn free(self) {
        self.check();
        leave(self.p as usize);
        // SAFETY: the object is this test's own and not used afterwards.
        unsafe { raw::free(self.p) }.unwrap_or_else(|e| panic!("{self:?}: {e:?}"));
    }

    /// Frees it twice and looks at the error.
    pub fn free_twice(self) {
        let (p, usable, kind) = (self.p, self.usable(), self.kind);
        self.free();
        // SAFETY: nothing uses the object; the error is what is tested.
        match unsafe { raw::free(p) } {
            Err(FreeError::DoubleFree(o)) => {
                assert_eq!((o.base, o.size, o.kind), (p as usize, usable, kind))
            }
            // Its block became free memory, where no object starts.
            Err(FreeError::Interior(None)) => {}
            other => panic!("the second free of {p:p} ({kind:?}, {usable} bytes) gives {other:?}"),
        }
    }

    /// Frees pointers into it: refused, and the object stays.
    pub fn free_inside(&self) {
        let usable = self.usable();
        for at in [1, 8, usable / 2, usable - 1] {
            let at = at.clamp(1, usable - 1);
            // SAFETY: nothing is freed.
            match unsafe { raw::free(self.p.add(at)) } {
                Err(FreeError::Interior(Some(o))) => {
                    assert_eq!((o.base, o.size), (self.p as usize, usable))
                }
                other => panic!("freeing byte {at} of {self:?} gives {other:?}"),
            }
        }
        self.check();
    }
}

/// A small deterministic generator.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    /// A size: mostly small, sometimes some blocks.
    pub fn size(&mut self) -> usize {
        match self.below(20) {
            0..10 => self.below(129),
            10..16 => self.below(2049),
            16..19 => self.below(40_000),
            _ => self.below(400_000),
        }
    }

    /// A kind.
    pub fn kind(&mut self) -> Kind {
        KINDS[self.below(KINDS.len())]
    }
}
