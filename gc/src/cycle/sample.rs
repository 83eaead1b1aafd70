//! Which marked objects die before the next collection of everything, learned from some blocks: their marks are noted in one
//! collection, and compared with those of the next.

use crate::heap::block::{Block, Info, words};
use crate::heap::layout::GROUPS;
use crate::heap::{class, runs};

/// Blocks in the sample.
const BLOCKS: usize = 32;
/// Marked objects that tell something.
const ENOUGH: usize = 256;

#[derive(Clone, Copy)]
struct Noted {
    block: Block,
    /// What the block was used for, without what changes while it is.
    shape: usize,
    marks: [u64; GROUPS],
}

/// The sample.
pub(super) struct Sample {
    noted: [Noted; BLOCKS],
    len: usize,
    /// Where the next sample begins.
    turn: usize,
}

impl Sample {
    pub const fn new() -> Self {
        const NONE: Noted = Noted {
            block: Block::NONE,
            shape: 0,
            marks: [0; GROUPS],
        };
        Sample {
            noted: [NONE; BLOCKS],
            len: 0,
            turn: 0,
        }
    }

    /// With the world stopped and everything reachable marked: percent of the objects that were noted last time that are dead. `None` if
    /// too few were.
    pub fn mortality(&self) -> Option<usize> {
        let (mut all, mut alive) = (0, 0);
        for n in &self.noted[..self.len] {
            let kept = shape_of(n.block.info()) == Some(n.shape);
            for (w, &marks) in n.marks.iter().enumerate().filter(|(_, m)| **m != 0) {
                all += marks.count_ones() as usize;
                if kept {
                    alive += (marks & n.block.mark_word(w)).count_ones() as usize;
                }
            }
        }
        (all >= ENOUGH).then(|| (all - alive) * 100 / all)
    }

    /// Notes marks, at the same moment.
    pub fn note(&mut self) {
        self.len = 0;
        let end = runs::frontier();
        let step = end.div_ceil(BLOCKS).max(1);
        self.turn = (self.turn + 7) % step;
        for i in (self.turn.max(1)..end).step_by(step) {
            let block = Block(i as u32);
            let Some(shape) = shape_of(block.info()) else {
                continue;
            };
            let n = &mut self.noted[self.len];
            n.block = block;
            n.shape = shape;
            let used = words(class::CAPACITY[block.info().class() as usize] as usize);
            for (w, m) in n.marks.iter_mut().enumerate() {
                *m = if w < used { block.mark_word(w) } else { 0 };
            }
            self.len += 1;
            if self.len == BLOCKS {
                break;
            }
        }
    }
}

/// Class and kind of a block of small scanned objects.
fn shape_of(info: Info) -> Option<usize> {
    (info.is_small() && info.kind().is_scanned()).then(|| info.cache_index())
}
