//! The address slice: choosing it, and mapping storage and tables as the heap grows.

use super::layout::{self, BLOCK, HEAP_SPAN, MAX_BLOCKS, table};
use crate::sys::mem::{self, MapError, round_up};

/// Blocks are mapped in multiples of this: 4 MiB of objects, a page multiple of every table but the info table.
pub const QUANTUM: usize = 64;
/// Blocks whose info words are mapped at a time: 2 MiB of table.
const INFO_STEP: usize = 1 << 18;
/// Largest step in which the heap's address space grows beyond what is asked for: 1 GiB.
const MAX_STEP: usize = 1 << 14;
/// Mapped heap size from which huge pages pay: 32 MiB.
const HUGE_FROM: usize = 1 << 9;
/// How far an occupied address is jumped over: 64 MiB.
const SKIP: usize = 1 << 10;
/// Slices that are tried for the first extent if its tables cannot be mapped: their place may be taken, or memory refused.
const MOVES: u32 = 8;

/// Which optional tables exist, and whether huge pages are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Suspect bits (mode `reclaim`).
    pub suspects: bool,
    /// Object tags (mode `leaks`).
    pub tags: bool,
    /// Advise huge pages for large heaps.
    pub huge: bool,
}

/// The growing end of the slice, in blocks.
pub struct Region {
    frontier: usize,
    info_mapped: usize,
    options: Options,
}

/// Blocks `[first, first + count)`, mapped and zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub first: usize,
    /// Number of blocks.
    pub count: usize,
}

impl Region {
    /// Nothing mapped yet.
    pub const fn new() -> Self {
        Region {
            frontier: 0,
            info_mapped: 0,
            options: Options {
                suspects: false,
                tags: false,
                huge: false,
            },
        }
    }

    /// Huge pages may be used.
    pub fn huge(&self) -> bool {
        self.options.huge
    }

    /// Blocks below this have tables.
    pub fn frontier(&self) -> usize {
        self.frontier
    }

    /// Chooses a slice whose beginning is free. Only once, before the first `grow`.
    pub fn set_up(&mut self, options: Options) {
        self.options = options;
        layout::set_base(random_base());
    }

    /// Maps at least `blocks` more blocks; `None` if memory or address space is refused.
    pub fn grow(&mut self, blocks: usize) -> Option<Extent> {
        let need = round_up(blocks, QUANTUM);
        let ahead = round_up(self.frontier / 4, QUANTUM).clamp(4 * QUANTUM, MAX_STEP);
        self.grow_by(need.max(ahead)).or_else(|| self.grow_by(need))
    }

    fn grow_by(&mut self, count: usize) -> Option<Extent> {
        let mut moves = 0;
        loop {
            let first = self.frontier;
            if first + count > MAX_BLOCKS {
                return None;
            }
            let addr = layout::base() + first * BLOCK;
            match mem::map_at(addr, count * BLOCK) {
                Ok(()) => {
                    if !self.map_tables(first, count) {
                        mem::unmap(addr, count * BLOCK);
                        if first > 0 || moves == MOVES {
                            return None;
                        }
                        moves += 1;
                        self.move_slice();
                        continue;
                    }
                    self.advise(first, count);
                    self.publish(first + count);
                    return Some(Extent { first, count });
                }
                Err(MapError::Taken) if first == 0 && layout::limit() == 0 => {
                    // Nothing is placed yet: try another slice.
                    self.move_slice();
                }
                Err(MapError::Taken) => {
                    let known =
                        first + SKIP <= MAX_BLOCKS && super::own::skip(addr, addr + SKIP * BLOCK);
                    if !known || !self.map_tables(first, SKIP) {
                        return None;
                    }
                    self.publish(first + SKIP);
                }
                Err(MapError::Refused(_)) => return None,
            }
        }
    }

    /// Gives up the slice, in which there is no block yet, for another one.
    fn move_slice(&mut self) {
        let info = layout::base() + table::INFO;
        mem::unmap(info, self.info_mapped * table::INFO_SIZE);
        self.info_mapped = 0;
        layout::set_base(random_base());
    }

    fn publish(&mut self, frontier: usize) {
        self.frontier = frontier;
        layout::set_limit(frontier * BLOCK);
    }

    fn map_tables(&mut self, first: usize, count: usize) -> bool {
        while self.info_mapped < first + count {
            if !map_table(table::INFO, table::INFO_SIZE, self.info_mapped, INFO_STEP) {
                return false;
            }
            self.info_mapped += INFO_STEP;
        }
        let all = [
            (table::HEAD, table::HEAD_SIZE, true),
            (table::MARK, table::MARK_SIZE, true),
            (table::MARK_REST, table::MARK_SIZE, true),
            (table::FREE, table::FREE_SIZE, true),
            (table::SIDE, table::SIDE_SIZE, true),
            (table::SUSPECT, table::SUSPECT_SIZE, self.options.suspects),
            (table::TAG, table::TAG_SIZE, self.options.tags),
        ];
        for (i, &(start, size, wanted)) in all.iter().enumerate() {
            if wanted && !map_table(start, size, first, count) {
                for &(start, size, wanted) in &all[..i] {
                    if wanted {
                        mem::unmap(layout::base() + start + first * size, count * size);
                    }
                }
                return false;
            }
        }
        true
    }

    /// Marks are looked up all over a large heap: huge pages for their table.
    fn advise(&self, first: usize, count: usize) {
        if self.options.huge && first + count >= HUGE_FROM {
            for marks in [table::MARK, table::MARK_REST] {
                mem::advise_huge(
                    layout::base() + marks + first * table::MARK_SIZE,
                    count * table::MARK_SIZE,
                );
            }
        }
    }
}

fn map_table(start: usize, size: usize, first: usize, count: usize) -> bool {
    mem::map_at(layout::base() + start + first * size, count * size).is_ok()
}

/// A place for the slice: above what the kernel and sanitizers place low (17 TiB), and its end below position-independent
/// programs and their brk heaps, which begin at two thirds of the address space (85 TiB). A multiple of 4 GiB.
fn random_base() -> usize {
    const LOW: usize = 17 << 40;
    const SLOTS: u64 = (((85 << 40) - table::END - LOW) >> 32) as u64;
    LOW + ((random() % SLOTS) as usize) * (1 << 32)
}

/// 64 bits that differ from process to process: the kernel's AT_RANDOM bytes mixed with the clock (a fork-exec'ed
/// sibling has other bytes). Address randomisation only, not a secret.
fn random() -> u64 {
    // SAFETY: AT_RANDOM, if present, points to 16 bytes that live as long as the process.
    let seed = unsafe {
        let p = libc::getauxval(libc::AT_RANDOM) as *const u64;
        if p.is_null() { 0 } else { p.read_unaligned() }
    };
    let x = seed ^ crate::sys::clock::now_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

const _: () = assert!(HEAP_SPAN == MAX_BLOCKS * BLOCK);

#[cfg(test)]
mod tests;
