//! Zeal for collections beside the program (`DUNEGC_ZEAL_PHASES`): phases take longer or shorter than they would, stops and harvests
//! come where they do not otherwise, and harvests fail. Everything here is allowed at any time, so that a collection which goes wrong under
//! it is wrong without it too, only more rarely.

use crate::config;
use crate::sys::lock::futex_wait_for;
use crate::world;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Numbers drawn so far.
static DRAWN: AtomicU64 = AtomicU64::new(0);
/// Markers pause.
static MARKERS_PAUSE: AtomicBool = AtomicBool::new(false);

/// The next of a row of numbers that begins with the seed; `None` if this zeal is off.
fn draw() -> Option<u64> {
    let c = config::get();
    match c.zeal_phases {
        _ if !c.concurrent => None,
        0 => None,
        seed => Some(mix((u64::from(seed) << 40) + DRAWN.fetch_add(1, Relaxed))),
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Of about `n` draws one is true. False if this zeal is off.
fn one_in(n: u64) -> bool {
    draw().is_some_and(|r| r.is_multiple_of(n))
}

fn nap(r: u64) {
    futex_wait_for(&AtomicU32::new(0), 0, 10_000 + r % 1_000_000);
}

/// Between two phases, the program running, on the thread that collects: goes on, waits, or stops the world and lets it go on.
pub fn boundary() {
    let Some(r) = draw() else { return };
    match r % 8 {
        0..4 => {}
        4..6 => nap(r >> 8),
        _ => drop(world::stop()),
    }
}

/// Whether markers pause now and then from here on: they mark beside the program.
pub fn markers_pause(pause: bool) {
    MARKERS_PAUSE.store(pause, Relaxed);
}

/// In the middle of marking.
#[inline]
pub fn in_marking() {
    if MARKERS_PAUSE.load(Relaxed) {
        pause();
    }
}

#[cold]
fn pause() {
    if one_in(16) {
        nap(mix(DRAWN.load(Relaxed)));
    }
}

/// How often written pages are to be asked for with the program running, whatever they are.
pub fn rounds() -> Option<usize> {
    draw().map(|r| r as usize % 5)
}

/// This harvest fails: anything may have been written.
pub fn harvest_fails() -> bool {
    one_in(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let drawn: std::collections::BTreeSet<u64> =
            (0..1000u64).map(|n| mix((7 << 40) + n) % 64).collect();
        assert_eq!(drawn.len(), 64);
    }

    #[test]
    fn off_by_default() {
        assert!(!harvest_fails() && rounds().is_none());
    }
}
