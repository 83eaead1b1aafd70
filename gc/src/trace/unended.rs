//! Events that have begun and not ended: the end of the trace ends them, so that it is balanced.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

/// As many can be under way; others that are when the trace ends stay without an end.
const MOST: usize = 128;

/// Order of begin (upper half), thread (24 bits), event (8 bits, from 1); 0: free.
static BEGUN: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
static ORDER: AtomicU32 = AtomicU32::new(0);
/// The trace is about to end.
static ENDING: AtomicBool = AtomicBool::new(false);

fn key(tid: i32, event: u8) -> u64 {
    (tid as u64 & 0xff_ffff) << 8 | u64::from(event + 1)
}

/// `event` begins in thread `tid`. False if the trace is about to end: then it does not.
pub(super) fn begin(tid: i32, event: u8) -> bool {
    if ENDING.load(SeqCst) {
        return false;
    }
    let word = u64::from(ORDER.fetch_add(1, SeqCst)) << 32 | key(tid, event);
    let free = |slot: &AtomicU64| slot.compare_exchange(0, word, SeqCst, SeqCst).is_ok();
    // Without a slot it goes unnoticed.
    let _ = BEGUN.iter().any(free);
    true
}

/// It ends. False if the end of the trace has ended it.
pub(super) fn end(tid: i32, event: u8) -> bool {
    let key = key(tid, event);
    let last = BEGUN
        .iter()
        .map(|slot| (slot.load(SeqCst), slot))
        .filter(|(word, _)| *word as u32 == key as u32)
        .max_by_key(|(word, _)| *word);
    match last {
        Some((word, slot)) => slot.compare_exchange(word, 0, SeqCst, SeqCst).is_ok(),
        None => !ENDING.load(SeqCst),
    }
}

/// The trace is about to end: nothing begins from here on.
pub(super) fn close() {
    ENDING.store(true, SeqCst);
}

/// Calls `f(tid, event)` for what is under way, the last begun first. After [`close`], when what began before is written.
pub(super) fn end_all(f: &mut dyn FnMut(i32, u8)) {
    while let Some((word, slot)) = BEGUN
        .iter()
        .map(|slot| (slot.load(SeqCst), slot))
        .filter(|(word, _)| *word != 0)
        .max_by_key(|(word, _)| *word)
    {
        if slot.compare_exchange(word, 0, SeqCst, SeqCst).is_ok() {
            f((word as u32 >> 8) as i32, word as u8 - 1);
        }
    }
}

/// In a fork child, whose trace begins anew.
pub(super) fn after_fork_child() {
    BEGUN.iter().for_each(|slot| slot.store(0, SeqCst));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_under_way_is_ended_once() {
        assert!(begin(7, 0) && begin(7, 3) && begin(8, 3) && begin(7, 3));
        assert!(end(7, 3));
        let mut ended = Vec::new();
        close();
        end_all(&mut |tid, event| ended.push((tid, event)));
        assert_eq!(ended, [(8, 3), (7, 3), (7, 0)]);
        assert!(!end(7, 3) && !end(7, 0) && !begin(9, 1));
    }
}
