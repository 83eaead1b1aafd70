//! The global allocator against a naive model: content, alignment, no overlap.

use dunegc::DuneGc;
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, alloc, alloc_zeroed, dealloc, realloc};

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

/// A block that should hold `fill` in every byte.
struct Block {
    address: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Block {
    fn new(size: usize, align: usize, zeroed: bool, fill: u8) -> Block {
        let layout = Layout::from_size_align(size, align).expect("sizes are small");
        // SAFETY: sizes are not zero.
        let address = unsafe {
            if zeroed {
                alloc_zeroed(layout)
            } else {
                alloc(layout)
            }
        };
        assert!(
            !address.is_null() && address.addr() % align == 0,
            "{address:p} for {layout:?}"
        );
        let block = Block {
            address,
            layout,
            fill: 0,
        };
        if zeroed {
            block.check();
        }
        block.filled(fill)
    }

    fn filled(mut self, fill: u8) -> Block {
        self.fill = fill;
        // SAFETY: the block is this long and belongs to the test.
        unsafe { self.address.write_bytes(fill, self.layout.size()) };
        self
    }

    fn check(&self) {
        // SAFETY: the block is this long and initialised.
        let bytes = unsafe { std::slice::from_raw_parts(self.address, self.layout.size()) };
        assert!(
            bytes.iter().all(|b| *b == self.fill),
            "{:p} {:?} changed",
            self.address,
            self.layout
        );
    }

    fn resize(mut self, size: usize, fill: u8) -> Block {
        // SAFETY: the block came from this allocator with this layout; the size is not zero.
        let address = unsafe { realloc(self.address, self.layout, size) };
        assert!(
            !address.is_null() && address.addr() % self.layout.align() == 0,
            "{address:p} for {:?}",
            self.layout
        );
        let layout = Layout::from_size_align(size, self.layout.align()).expect("sizes are small");
        let kept =
            Layout::from_size_align(self.layout.size().min(size), 1).expect("sizes are small");
        self = Block {
            address,
            layout: kept,
            ..self
        };
        self.check();
        self.layout = layout;
        self.filled(fill)
    }

    fn free(self) {
        self.check();
        // SAFETY: the block came from this allocator with this layout.
        unsafe { dealloc(self.address, self.layout) };
    }
}

#[derive(Clone, Debug)]
enum Op {
    New {
        size: usize,
        align: u32,
        zeroed: bool,
    },
    Resize {
        which: usize,
        size: usize,
    },
    Free {
        which: usize,
    },
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 1usize..300, 3 => 300usize..40_000, 1 => 40_000usize..3_000_000]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (sizes(), 0u32..8, any::<bool>()).prop_map(|(size, align, zeroed)| Op::New { size, align, zeroed }),
        1 => (sizes(), 8u32..17, any::<bool>()).prop_map(|(size, align, zeroed)| Op::New { size, align, zeroed }),
        2 => (any::<usize>(), sizes()).prop_map(|(which, size)| Op::Resize { which, size }),
        3 => any::<usize>().prop_map(|which| Op::Free { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_keep_their_content(ops in proptest::collection::vec(ops(), 1..120)) {
        let mut blocks: Vec<Block> = Vec::new();
        for (n, op) in ops.into_iter().enumerate() {
            let fill = n as u8 | 1;
            match op {
                Op::New { size, align, zeroed } => blocks.push(Block::new(size, 1 << align, zeroed, fill)),
                Op::Resize { which, size } if !blocks.is_empty() => {
                    let which = which % blocks.len();
                    let block = blocks.swap_remove(which).resize(size, fill);
                    blocks.push(block);
                }
                Op::Free { which } if !blocks.is_empty() => {
                    let which = which % blocks.len();
                    blocks.swap_remove(which).free();
                }
                _ => {}
            }
            if n % 16 == 0 {
                blocks.iter().for_each(Block::check);
                dunegc::collect().expect("the threads of the test can be stopped");
            }
        }
        blocks.into_iter().for_each(Block::free);
    }
}

#[test]
fn a_size_that_no_memory_has_gives_null() {
    let layout =
        Layout::from_size_align(isize::MAX as usize - 4096, 4096).expect("just below the limit");
    // SAFETY: the size is not zero.
    unsafe {
        assert!(ALLOCATOR.alloc(layout).is_null());
        assert!(
            ALLOCATOR
                .alloc_zeroed(Layout::from_size_align(isize::MAX as usize - 15, 16).expect("legal"))
                .is_null()
        );
    }
}
