//! Leaked blocks summed up by allocation stack.

use std::collections::HashMap;

use super::stacks;
use super::unreachable::Block;

/// Blocks of one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// No other leaked block leads to these.
    pub direct: bool,
    /// The stack, innermost frame first; empty if it is not known.
    pub frames: &'static [usize],
    /// Sum of the usable sizes.
    pub bytes: usize,
    /// Number of blocks.
    pub count: usize,
}

/// The groups: direct leaks first, then by bytes, the largest first.
pub fn groups(blocks: &[Block]) -> Vec<Group> {
    let mut by_stack: HashMap<(bool, &'static [usize]), (usize, usize)> = HashMap::new();
    for b in blocks {
        let sums = by_stack
            .entry((b.is_direct(), stacks::get(b.stack)))
            .or_default();
        sums.0 += b.size;
        sums.1 += 1;
    }
    let mut groups: Vec<Group> = by_stack
        .into_iter()
        .map(|((direct, frames), (bytes, count))| Group {
            direct,
            frames,
            bytes,
            count,
        })
        .collect();
    groups.sort_by(|a, b| {
        (b.direct, b.bytes, b.count, a.frames).cmp(&(a.direct, a.bytes, a.count, b.frames))
    });
    groups
}
