//! Tests of the marker.

use super::*;
use crate::heap::{self, alloc, find};
use crate::kind::Kind;
use crate::mark::rescan;
use crate::mark::shared::{Scope, Work, shared};

const CELLS: usize = 7000;

fn object(kind: Kind, size: usize) -> *mut usize {
    let p = alloc::alloc(kind, size, true);
    assert!(!p.is_null());
    p.cast()
}

fn is_marked(addr: usize) -> bool {
    let s = find::slot(addr).expect("an object");
    s.block.mark(s.index).load(Relaxed) != 0
}

/// Objects in a chain of two behind a large one: cells, and leaves of kind `leaf`.
fn cells(leaf: Kind) -> (*mut usize, [usize; CELLS]) {
    let large = object(Kind::Scan, (CELLS + 1) * 8);
    let leaves = core::array::from_fn(|i| {
        let (cell, leaf) = (object(Kind::Scan, 16), object(leaf, 16));
        // SAFETY: both objects are this test's own, and large enough.
        unsafe {
            cell.write(leaf as usize);
            large.add(1 + i).write(cell as usize);
        }
        leaf as usize
    });
    (large, leaves)
}

/// A marker that helps from `root` on for `bytes` bytes stops before it has reached all `leaves`, and leaves the others to be reached.
fn helps(root: *mut usize, leaves: &[usize], bytes: u64) {
    let kinds = 1 << Kind::Scan.bit() | 1 << Kind::Atomic.bit();
    let scope = Scope {
        traced: kinds,
        explicit: 0,
        tagged: false,
    };
    let s = shared();
    let nothing = Work {
        roots: &[],
        written: &[],
        explicit_objects: false,
    };
    s.begin(scope, nothing, 1);
    let mut m = Marker::new(s, usize::MAX, true).expect("memory");
    m.word(root as usize);
    m.help(bytes);
    assert!(!leaves.iter().all(|&l| is_marked(l)), "help does not stop");
    drop(m);
    let mut rest = Marker::new(s, usize::MAX, true).expect("memory");
    while let Some(packet) = s.left().pop() {
        rest.adopt(packet);
        rest.drain();
    }
    let lost = leaves.iter().filter(|&&l| !is_marked(l)).count();
    assert_eq!(lost, 0, "{lost} of {CELLS} were not reached");
    rescan::clear_marks();
}

/// A marker whose task is done after the first piece of a large object leaves all of its work to the others.
#[test]
fn one_that_helps_loses_nothing() {
    let path = concat!(module_path!(), "::one_that_helps_loses_nothing");
    heap::testing::in_own_process(path, || {
        heap::init();
        let (large, leaves) = cells(Kind::Atomic);
        // What is not scanned counts when it is marked: the task is done before anything plain is scanned.
        // SAFETY: the first word of the large object.
        unsafe { large.write(object(Kind::Atomic, 16) as usize) };
        helps(large, &leaves, 1);
    });
}

/// Nor does it lose objects whose marks are on their way.
#[test]
fn one_that_helps_marks_what_it_leaves() {
    let path = concat!(module_path!(), "::one_that_helps_marks_what_it_leaves");
    heap::testing::in_own_process(path, || {
        heap::init();
        let (large, leaves) = cells(Kind::Scan);
        // Chains of two and of three: what is in the ring when the marker stops is not of one sort.
        for &leaf in leaves.iter().step_by(5) {
            // SAFETY: an object of this test's own, of two words.
            unsafe { (leaf as *mut usize).write(object(Kind::Scan, 16) as usize) };
        }
        // As far as into a block that is full: there a mark is not looked at when a reference is found.
        helps(large, &leaves, BLOCK as u64 / 4 * 5);
    });
}
