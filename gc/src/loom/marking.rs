//! The deque and the end of a mark phase.

use super::deque::Deque;
use super::phase::Phase;
use crate::sync::{AtomicUsize, Ordering::Relaxed};
use loom::sync::Arc;
use loom::thread;
use std::vec::Vec;

/// What the owner pushed is taken exactly once, by it or by thieves.
#[test]
fn loom_deque_gives_every_word_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let d = Arc::new(Deque::new());
        assert!(d.push(1) && d.push(2) && !d.push(9));
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let d = d.clone();
                thread::spawn(move || d.steal())
            })
            .collect();
        let mut got: Vec<usize> = d.pop().into_iter().collect();
        if d.push(3) {
            got.extend(d.pop());
        } else {
            got.push(3);
        }
        got.extend(thieves.into_iter().filter_map(|t| t.join().unwrap()));
        while let Some(w) = d.pop() {
            got.push(w);
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

/// A packet's content, written before it is pushed, is seen by the thief.
#[test]
fn loom_deque_hands_the_content_over() {
    loom::model(|| {
        let d = Arc::new(Deque::new());
        let content = Arc::new(loom::cell::UnsafeCell::new(0));
        let thief = {
            let (d, content) = (d.clone(), content.clone());
            thread::spawn(move || {
                if d.steal().is_some() {
                    // SAFETY: written before the push; loom reports it if that does not come first.
                    content.with(|p| assert_eq!(unsafe { *p }, 7));
                }
            })
        };
        // SAFETY: nobody reads before the push.
        content.with_mut(|p| unsafe { *p = 7 });
        d.push(1);
        thief.join().unwrap();
    });
}

/// One marker of a phase: takes work until none is left anywhere. Work item 2 makes item 1.
fn mark(
    phase: &Phase,
    work: &Deque,
    own: bool,
    done: &AtomicUsize,
    note: &loom::cell::UnsafeCell<u64>,
) {
    let number = phase.current();
    loop {
        while let Some(w) = if own { work.pop() } else { work.steal() } {
            if w == 2 && own {
                assert!(work.push(1));
            }
            if !own {
                // SAFETY: only the helper writes it, at work; the leader reads it when the phase is over. Loom checks it.
                note.with_mut(|p| unsafe { *p = 1 });
            }
            // A thief does what item 2 makes itself.
            done.fetch_add(if w == 2 && !own { 3 } else { w }, Relaxed);
        }
        phase.leave();
        loop {
            if phase.is_over(number) {
                return;
            }
            if !work.is_empty() && phase.join(number) {
                break;
            }
            thread::yield_now();
        }
    }
}

/// When the leader finds the phase over, all work is done and seen, whatever the helper does, and the helper does not
/// join the next phase by a look at the last one.
#[test]
fn loom_phase_ends_when_all_is_done() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (phase, work) = (Arc::new(Phase::new()), Arc::new(Deque::new()));
        let (done, late) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(loom::cell::UnsafeCell::new(0)),
        );
        let note = Arc::new(loom::cell::UnsafeCell::new(0));
        work.push(2);
        phase.begin();
        let helper = {
            let (phase, work, done, late, note) = (
                phase.clone(),
                work.clone(),
                done.clone(),
                late.clone(),
                note.clone(),
            );
            thread::spawn(move || {
                if let Some(number) = phase.under_way()
                    && phase.join(number)
                {
                    // SAFETY: a marker at work may read what the leader wrote before the phase began.
                    let seen = late.with(|p| unsafe { *p });
                    assert_eq!(
                        seen,
                        number - 1,
                        "joined phase {number} with the data of another one"
                    );
                    mark(&phase, &work, false, &done, &note);
                }
            })
        };
        mark(&phase, &work, true, &done, &note);
        assert_eq!(done.load(Relaxed), 3, "work is left or lost");
        // SAFETY: the phase is over.
        note.with(|p| assert!(unsafe { *p } <= 1));
        // SAFETY: the phase is over, so that nobody but the leader touches its data.
        late.with_mut(|p| unsafe { *p = 1 });
        phase.begin();
        phase.leave();
        helper.join().unwrap();
    });
}
