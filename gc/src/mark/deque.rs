//! A bounded work-stealing deque of words: Chase and Lev, "Dynamic Circular Work-Stealing Deque" (SPAA 2005), with the
//! orderings of Lê, Pop, Cohen and Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models"
//! (PPoPP 2013). The owner pushes and pops at the bottom, thieves take from the top.

use crate::sync::{AtomicUsize, Ordering, fence};

/// Words it can hold, a power of two.
pub const CAPACITY: usize = if cfg!(loom) { 2 } else { 64 };

/// The deque. Words are never 0.
pub struct Deque {
    top: AtomicUsize,
    bottom: AtomicUsize,
    slots: [AtomicUsize; CAPACITY],
}

impl Deque {
    /// An empty deque.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Deque {
            top: AtomicUsize::new(1),
            bottom: AtomicUsize::new(1),
            slots: [const { AtomicUsize::new(0) }; CAPACITY],
        }
    }

    /// An empty deque (loom's atomics cannot be made in constants).
    #[cfg(loom)]
    pub fn new() -> Self {
        Deque {
            top: AtomicUsize::new(1),
            bottom: AtomicUsize::new(1),
            slots: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// Makes it empty. Nobody else uses it.
    pub fn reset(&self) {
        self.top.store(1, Ordering::Relaxed);
        self.bottom.store(1, Ordering::Relaxed);
    }

    /// Number of words, as far as one can tell without synchronisation.
    pub fn len(&self) -> usize {
        let b = self.bottom.load(Ordering::Relaxed);
        let t = self.top.load(Ordering::Relaxed);
        b.saturating_sub(t)
    }

    /// No words, as far as one can tell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Owner: adds a word at the bottom; false if full.
    pub fn push(&self, word: usize) -> bool {
        let b = self.bottom.load(Ordering::Relaxed);
        let t = self.top.load(Ordering::Acquire);
        if b - t >= CAPACITY {
            return false;
        }
        self.slots[b % CAPACITY].store(word, Ordering::Relaxed);
        fence(Ordering::Release);
        self.bottom.store(b + 1, Ordering::Relaxed);
        true
    }

    /// Owner: takes the word pushed last.
    pub fn pop(&self) -> Option<usize> {
        let b = self.bottom.load(Ordering::Relaxed) - 1;
        self.bottom.store(b, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let t = self.top.load(Ordering::Relaxed);
        if t > b {
            self.bottom.store(b + 1, Ordering::Relaxed);
            return None;
        }
        let word = self.slots[b % CAPACITY].load(Ordering::Relaxed);
        if t == b {
            let won = self
                .top
                .compare_exchange(t, t + 1, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
            self.bottom.store(b + 1, Ordering::Relaxed);
            return won.then_some(word);
        }
        Some(word)
    }

    /// Anyone: takes the oldest word. `None` if there is none or another thief was faster.
    pub fn steal(&self) -> Option<usize> {
        let t = self.top.load(Ordering::Acquire);
        fence(Ordering::SeqCst);
        let b = self.bottom.load(Ordering::Acquire);
        if t >= b {
            return None;
        }
        let word = self.slots[t % CAPACITY].load(Ordering::Relaxed);
        self.top
            .compare_exchange(t, t + 1, Ordering::SeqCst, Ordering::Relaxed)
            .ok()
            .map(|_| word)
    }
}
