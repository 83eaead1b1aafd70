//! What the programs share: random numbers, options, keys, the XML document, the result line.

mod document;
mod keys;
mod report;

pub use document::Document;
pub use keys::{Key, key, spread};
pub use report::{Work, finish};

/// xorshift64*: the sequence of the C programs.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Random(88172645463325252)
    }
}

impl Random {
    /// The next number, uniform over all 64 bits.
    pub fn draw(&mut self) -> u64 {
        let mut x = self.0;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Adds `value` to the checksum `sum`.
pub fn mix(sum: u64, value: u64) -> u64 {
    (sum ^ value)
        .wrapping_mul(0x100_0000_01B3)
        .wrapping_add(0x9E37)
}

/// The value of `--name VALUE` on the command line, or `otherwise`. Exits with status 2 if it is not a number.
pub fn option(name: &str, otherwise: u64) -> u64 {
    let mut args = std::env::args().skip_while(|a| a != name).skip(1);
    let Some(text) = args.next() else {
        return otherwise;
    };
    text.parse().unwrap_or_else(|_| {
        eprintln!("{name}: expected a number of at least 0, got '{text}'");
        std::process::exit(2);
    })
}

/// Sizes of GCBench.
pub mod gcbench {
    /// Depth of the tree that is built and dropped first.
    pub const STRETCH_DEPTH: u32 = 18;
    /// Length of the array of doubles that stays alive.
    pub const ARRAY_DOUBLES: usize = 500_000;
    /// Smallest, largest and step of the depths of the short-lived trees.
    pub const DEPTHS: (u32, u32, usize) = (4, 16, 2);

    /// Nodes of a tree of this depth.
    pub fn tree_size(depth: u32) -> u64 {
        (1 << (depth + 1)) - 1
    }

    /// Trees of `depth` that are built in each direction.
    pub fn iterations(depth: u32) -> u64 {
        2 * tree_size(STRETCH_DEPTH) / tree_size(depth)
    }

    /// The content of the array.
    pub fn fill(array: &mut [f64]) {
        for (k, slot) in array[..ARRAY_DOUBLES / 2].iter_mut().enumerate() {
            *slot = 1.0 / (k + 1) as f64;
        }
    }
}
