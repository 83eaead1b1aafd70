//! Figures of the heap for statistics and `mallinfo`.

use super::block::{Block, State};
use super::layout::BLOCK;
use super::{class, large, registry, runs};
use crate::kind::Kind;
use crate::raw::HeapFigures;
use core::sync::atomic::Ordering::Relaxed;

/// The figures now; other threads go on meanwhile, so they are a snapshot only roughly.
pub fn now() -> HeapFigures {
    let r = super::critical::with(|| {
        super::batch::flush(super::alloc::current());
        runs::figures()
    });
    let (large_bytes, large_count, large_taken) = large::figures();
    let mut f = HeapFigures {
        large: large_bytes,
        large_count,
        total: large_taken as usize,
        ..Default::default()
    };
    f.in_use = large_bytes;
    for i in 1..r.frontier {
        let b = Block(i as u32);
        let info = b.info();
        if info.state() == State::Small {
            f.in_use +=
                b.head().used.load(Relaxed) as usize * class::SIZE[info.class() as usize] as usize;
        }
    }
    registry::for_each(|h| f.total += h.taken.load(Relaxed) as usize);
    f.heap = (r.in_use + r.dirty) * BLOCK;
    f.free = f.heap.saturating_sub(f.in_use);
    f.unmapped = r.frontier * BLOCK - f.heap.min(r.frontier * BLOCK);
    f.since_gc = crate::pacer::since();
    f.live = crate::pacer::live();
    f
}

/// Bytes of objects that only `free` ends, of the kinds that the interface calls uncollectable.
pub fn uncollectable() -> usize {
    let mut bytes = 0;
    let counts = |kind| matches!(kind, Kind::Uncollectable | Kind::AtomicUncollectable);
    super::critical::with(|| super::batch::flush(super::alloc::current()));
    for i in 1..runs::frontier() {
        let b = Block(i as u32);
        let info = b.info();
        match info.state() {
            State::Small if counts(info.kind()) => {
                let size = class::SIZE[info.class() as usize] as usize;
                bytes += b.head().used.load(Relaxed) as usize * size;
            }
            State::Large if counts(info.kind()) => {
                bytes += b.head().length.load(Relaxed) as usize;
            }
            _ => {}
        }
    }
    let mut cached = 0;
    registry::for_each(|h| {
        for kind in [Kind::Uncollectable, Kind::AtomicUncollectable] {
            for c in &h.caches[kind.index()] {
                cached +=
                    c.bits.load(Relaxed).count_ones() as usize * c.size.load(Relaxed) as usize;
            }
        }
    });
    bytes.saturating_sub(cached)
}
