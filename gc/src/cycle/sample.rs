//! Which marked objects die before the next collection of everything, learned from some blocks: their marks are noted in one
//! collection, and compared with those of the next.

use crate::heap::block::{Block, Info, words};
use crate::heap::{class, runs};

/// Blocks in the sample, one word of marks of each: what is allocated together dies together, so many blocks tell more than many marks.
const BLOCKS: usize = 512;
/// Marked objects that tell something.
const ENOUGH: usize = 256;

#[derive(Clone, Copy)]
struct Noted {
    block: Block,
    /// Class and kind of the block.
    shape: u32,
    word: u32,
    marks: u64,
}

/// The sample.
pub(super) struct Sample {
    noted: [Noted; BLOCKS],
    len: usize,
    /// Moves blocks and words from one sample to the next.
    turn: usize,
}

impl Sample {
    pub const fn new() -> Self {
        const NONE: Noted = Noted {
            block: Block::NONE,
            shape: 0,
            word: 0,
            marks: 0,
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
            all += n.marks.count_ones() as usize;
            if shape_of(n.block.info()) == Some(n.shape) {
                alive += (n.marks & n.block.mark_word(n.word as usize)).count_ones() as usize;
            }
        }
        (all >= ENOUGH).then(|| (all - alive) * 100 / all)
    }

    /// Notes marks, at the same moment.
    pub fn note(&mut self) {
        self.len = 0;
        let end = runs::frontier();
        let step = end.div_ceil(BLOCKS).max(1);
        self.turn = self.turn.wrapping_add(7);
        for i in (self.turn % step..end).step_by(step) {
            let block = Block(i as u32);
            let Some(shape) = shape_of(block.info()) else {
                continue;
            };
            let used = words(class::CAPACITY[block.info().class() as usize] as usize);
            let word = (self.turn + i) % used;
            self.noted[self.len] = Noted {
                block,
                shape,
                word: word as u32,
                marks: block.mark_word(word),
            };
            self.len += 1;
        }
    }
}

/// Class and kind of a block of small scanned objects.
fn shape_of(info: Info) -> Option<u32> {
    (info.is_small() && info.kind().is_scanned()).then(|| info.cache_index() as u32)
}
