//! Which malloc'ed objects no root reaches: the basis of leak reports.

use crate::heap::block::Block;
use crate::heap::{find, runs};
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
        find::each_in(b, info, |s| {
            if s.block.mark(s.index).load(Relaxed) == 0 {
                f(s.object(), tag(b, s.index));
            }
        });
    }
}
