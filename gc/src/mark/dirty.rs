//! Scanning of written heap memory: what lies in it of objects that are marked already, or that are roots.

use super::marker::Marker;
use crate::heap::block::{Block, State, words};
use crate::heap::layout::{self, BLOCK};
use crate::heap::{class, find, large, marking};
use core::sync::atomic::Ordering::Relaxed;

/// Which kinds are scanned, as bits.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// Marked objects of these.
    pub traced: u32,
    /// All allocated objects of these.
    pub explicit: u32,
}

/// Scans `[lo, hi)`, a part of the heap with ends that are multiples of 16. Only the part of an object that lies inside is
/// scanned: the rest was not written.
pub fn scan(m: &mut Marker, lo: usize, hi: usize, kinds: Kinds) {
    let base = layout::base();
    let mut at = lo;
    while at < hi {
        let b = Block::at(at - base);
        let end = hi.min(b.addr() + BLOCK);
        scan_block(m, b, at, end, kinds);
        m.drain();
        at = end;
    }
}

fn scan_block(m: &mut Marker, b: Block, lo: usize, hi: usize, kinds: Kinds) {
    let info = b.info();
    let kind = info.kind();
    let explicit = kinds.explicit >> kind.bit() & 1 != 0;
    let wanted = explicit || kinds.traced >> kind.bit() & 1 != 0;
    if !kind.is_scanned() || !wanted {
        return;
    }
    match info.state() {
        State::Small => {
            let class = info.class() as usize;
            let (size, capacity) = (class::SIZE[class] as usize, class::CAPACITY[class] as usize);
            let first = (lo - b.addr()) / size;
            let last = ((hi - 1 - b.addr()) / size).min(capacity - 1);
            for w in first / 64..words(capacity).min(last / 64 + 1) {
                let mut bits = marking::to_scan(b, w, capacity, explicit);
                if w == first / 64 {
                    bits &= !0 << (first % 64);
                }
                if w == last / 64 {
                    bits &= !0 >> (63 - last % 64);
                }
                let base = b.addr() + w * 64 * size;
                if !kind.is_described() {
                    m.objects(base, size, bits, (lo, hi));
                    continue;
                }
                while bits != 0 {
                    let at = base + bits.trailing_zeros() as usize * size;
                    bits &= bits - 1;
                    find::slot(at).iter().for_each(|s| m.object(s));
                }
            }
        }
        State::Large | State::LargeTail => {
            let Some((first, size)) = large::head_of(b, info) else {
                return;
            };
            if !explicit && first.mark(0).load(Relaxed) == 0 {
                return;
            }
            if kind.is_described() {
                find::slot(first.addr()).iter().for_each(|s| m.object(s));
            } else {
                m.range(lo, hi.min(first.addr() + size));
            }
        }
        State::Free => {}
    }
}
