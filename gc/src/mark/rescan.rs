//! Walks over all marked objects: completing a phase in which a marker had no memory for grey objects, and taking marks
//! back.

use super::marker::{Marker, Tally};
use super::shared::Shared;
use crate::heap::block::{Block, State, words};
use crate::heap::find::Slot;
use crate::heap::{class, find, runs, sweep};
use crate::kinds;
use crate::sys::scratch::ScratchVec;
use core::sync::atomic::Ordering::Relaxed;

/// If the phase overflowed, scans every marked object again, until nothing overflows. `None` if there is no memory for
/// even one packet.
pub fn complete(shared: &Shared, tally: &mut Tally) -> Option<()> {
    while shared.take_overflow() {
        let mut m = Marker::new(shared, 0, true)?;
        for i in 1..runs::frontier() {
            let b = Block(i as u32);
            let info = b.info();
            if !shared.scans(info.kind()) {
                continue;
            }
            match info.state() {
                State::Small => {
                    let class = info.class() as usize;
                    let size = class::SIZE[class] as usize;
                    for w in 0..words(class::CAPACITY[class] as usize) {
                        let mut marked = b.mark_word(w);
                        while marked != 0 {
                            let i = w * 64 + marked.trailing_zeros() as usize;
                            marked &= marked - 1;
                            if let Some(s) = find::slot(b.addr() + i * size) {
                                m.object(&s);
                            }
                            m.drain();
                        }
                    }
                }
                State::Large if b.mark(0).load(Relaxed) != 0 => {
                    if let Some(s) = find::slot(b.addr()) {
                        m.object(&s);
                    }
                    m.drain();
                }
                _ => {}
            }
        }
        tally.add(&m.take_tally());
    }
    Some(())
}

/// With the world stopped: calls `f` for the marked objects of `kinds`.
pub fn each_marked(kinds: u32, f: &mut dyn FnMut(&Slot)) {
    find::each_of(kinds, &mut |s| {
        if s.block.mark(s.index).load(Relaxed) != 0 {
            f(s);
        }
    });
}

/// With the world stopped: has the program's procedures mark what the marked objects refer to that were left to them. `None` without memory.
pub fn ask_procedures(shared: &Shared, tally: &mut Tally) -> Option<()> {
    let kinds = kinds::by_program();
    if kinds == 0 {
        return Some(());
    }
    let mut m = Marker::new(shared, 0, true)?;
    each_marked(kinds, &mut |s| {
        m.object(s);
        m.drain();
    });
    tally.add(&m.take_tally());
    drop(m);
    complete(shared, tally)
}

/// Takes every mark back. With the world stopped.
pub fn clear_marks() {
    (1..runs::frontier()).for_each(|i| clear_block(Block(i as u32)));
}

/// Takes every mark back before a collection, the world running: but for the blocks that are not swept yet, because they are
/// current in some thread. Those are listed. False without memory.
pub fn clear_marks_beside(unswept: &mut ScratchVec<u32>) -> bool {
    unswept.clear();
    (1..runs::frontier() as u32).all(|i| {
        let b = Block(i);
        if b.info().is_small() && !sweep::is_swept(b) {
            return unswept.push(i).is_ok();
        }
        clear_block(b);
        true
    })
}

/// Takes the marks of a block back.
pub fn clear_block(b: Block) {
    let info = b.info();
    match info.state() {
        State::Small => {
            for w in 0..words(class::CAPACITY[info.class() as usize] as usize) {
                if b.mark_word(w) != 0 {
                    b.clear_marks(w);
                }
            }
        }
        State::Large => b.mark(0).store(0, Relaxed),
        _ => {}
    }
}
