//! Which malloc'ed objects no root reaches: the basis of leak reports.

use crate::heap::block::{Block, State, valid, words};
use crate::heap::{class, runs};
use crate::kind::Kind;
use crate::raw::Object;
use core::sync::atomic::Ordering::Relaxed;

/// With the world stopped and marks set: calls `f(object, tag)` for every allocated malloc'ed object without a mark.
pub fn each_unmarked(f: &mut dyn FnMut(Object, u32)) {
    let tags = crate::heap::has_tags();
    let tag = |b: Block, i: usize| if tags { b.tag(i).load(Relaxed) } else { 0 };
    for i in 1..runs::frontier() {
        let b = Block(i as u32);
        let info = b.info();
        if info.kind() != Kind::Malloc {
            continue;
        }
        match info.state() {
            State::Small => {
                let class = info.class() as usize;
                let (size, capacity) =
                    (class::SIZE[class] as usize, class::CAPACITY[class] as usize);
                for w in 0..words(capacity) {
                    let remote = b.side(w).remote.load(Relaxed);
                    let mut lost =
                        valid(capacity, w) & !(b.free(w).load(Relaxed) | b.mark_word(w) | remote);
                    while lost != 0 {
                        let i = w * 64 + lost.trailing_zeros() as usize;
                        lost &= lost - 1;
                        f(
                            Object {
                                base: b.addr() + i * size,
                                size,
                                kind: Kind::Malloc,
                            },
                            tag(b, i),
                        );
                    }
                }
            }
            State::Large if b.mark(0).load(Relaxed) == 0 => {
                let size = b.head().length.load(Relaxed) as usize;
                f(
                    Object {
                        base: b.addr(),
                        size,
                        kind: Kind::Malloc,
                    },
                    tag(b, 0),
                );
            }
            _ => {}
        }
    }
}
