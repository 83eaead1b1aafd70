//! The leaked blocks, and which of them are held by other leaked ones.

use super::table::Table;
use gc::raw::{self, CollectError};

/// A leaked block.
#[derive(Clone, Copy)]
pub struct Block {
    /// Address.
    pub base: usize,
    /// Usable bytes.
    pub size: usize,
    /// Id of the stack that allocated it.
    pub stack: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// No leaked block points to it.
    Direct,
    /// Another leaked block points to it.
    Pointed,
    /// Reached from a direct leak.
    Indirect,
}

impl Block {
    /// No other leaked block leads to it.
    pub fn is_direct(&self) -> bool {
        self.state == State::Direct
    }
}

/// What is leaked.
pub struct Leaked {
    blocks: Table<Block>,
    /// Some blocks are missing: there was no memory to note them.
    pub incomplete: bool,
}

impl Leaked {
    /// The blocks by address.
    pub fn blocks(&mut self) -> &mut [Block] {
        self.blocks.as_mut_slice()
    }
}

/// Finds what no root reaches.
pub fn find() -> Result<Leaked, CollectError> {
    let mut leaked = Leaked {
        blocks: Table::new(),
        incomplete: false,
    };
    raw::for_each_unreachable(&mut |object, stack| {
        let block = Block {
            base: object.base,
            size: object.size,
            stack,
            state: State::Direct,
        };
        leaked.incomplete |= !leaked.blocks.push(block);
    })?;
    classify(leaked.blocks.as_mut_slice());
    Ok(leaked)
}

/// Tells direct leaks from those that hang on them. In a cycle that no other block leads to, the block with the lowest address is
/// the direct one.
fn classify(blocks: &mut [Block]) {
    blocks.sort_unstable_by_key(|b| b.base);
    let mut work = Table::new();
    for i in 0..blocks.len() {
        each_target(blocks, i, |blocks, t| {
            if t != i {
                blocks[t].state = State::Pointed;
            }
        });
    }
    for i in 0..blocks.len() {
        if blocks[i].state == State::Direct {
            reach(blocks, i, &mut work);
        }
    }
    for i in 0..blocks.len() {
        if blocks[i].state == State::Pointed {
            blocks[i].state = State::Direct;
            reach(blocks, i, &mut work);
        }
    }
}

/// Marks what hangs on block `from`.
fn reach(blocks: &mut [Block], from: usize, work: &mut Table<usize>) {
    let mut next = from;
    let mut done = work.as_mut_slice().len();
    loop {
        each_target(blocks, next, |blocks, t| {
            // Without memory a block keeps its state for a later round.
            if blocks[t].state == State::Pointed && work.push(t) {
                blocks[t].state = State::Indirect;
            }
        });
        let Some(&i) = work.as_mut_slice().get(done) else {
            return;
        };
        next = i;
        done += 1;
    }
}

/// Calls `f` with the index of each block that a word of block `i` points into.
fn each_target(blocks: &mut [Block], i: usize, mut f: impl FnMut(&mut [Block], usize)) {
    let Block { base, size, .. } = blocks[i];
    let (lowest, highest) = (
        blocks[0].base,
        blocks[blocks.len() - 1].base + blocks[blocks.len() - 1].size,
    );
    for at in (base..base + size).step_by(8) {
        // SAFETY: a leaked block is allocated and nobody can free it any more; its memory is mapped and aligned.
        let word = unsafe { (at as *const usize).read_volatile() };
        if word < lowest || word >= highest {
            continue;
        }
        let t = blocks.partition_point(|b| b.base <= word);
        if t > 0 && word < blocks[t - 1].base + blocks[t - 1].size {
            f(blocks, t - 1);
        }
    }
}
