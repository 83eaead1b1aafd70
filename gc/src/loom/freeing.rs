//! Remote frees against an owner that drains, gives the block up, or ends.

use super::handoff;
use crate::sync::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::vec::Vec;

const BLOCK: u32 = 5;
const OWNER: u32 = 1;

/// One block and one heap.
struct World {
    remote: [AtomicU64; 2],
    summary: AtomicU64,
    link: AtomicU32,
    owner: AtomicU32,
    top: AtomicU32,
    /// Not 0 while the owner's thread lives.
    tid: AtomicU32,
    /// The central list's lock: whether the block is listed.
    listed: Mutex<bool>,
    /// The registry's lock, under which the heap of a thread that ended is drained.
    dead: Mutex<()>,
    taken: AtomicU64,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            remote: [AtomicU64::new(0), AtomicU64::new(0)],
            summary: AtomicU64::new(0),
            link: AtomicU32::new(0),
            owner: AtomicU32::new(OWNER),
            top: AtomicU32::new(0),
            tid: AtomicU32::new(7),
            listed: Mutex::new(false),
            dead: Mutex::new(()),
            taken: AtomicU64::new(0),
        })
    }

    fn free(&self, w: usize, bit: u64) {
        if handoff::publish(&self.remote[w], &self.summary, w, bit) {
            self.tell();
        }
    }

    fn tell(&self) {
        if handoff::owner_to_tell(&self.owner) != OWNER {
            return self.list();
        }
        if handoff::push(&self.top, &self.link, BLOCK) && self.tid.load(SeqCst) == 0 {
            self.drain_dead();
        }
    }

    /// Lists the block if it has no owner and is not listed.
    fn list(&self) {
        let mut listed = self.listed.lock().unwrap();
        if self.owner.load(SeqCst) == 0 {
            *listed = true;
        }
    }

    fn drain_block(&self) {
        let mut words = handoff::take_summary(&self.summary);
        while words != 0 {
            let w = words.trailing_zeros() as usize;
            words &= words - 1;
            let bits = handoff::take_bits(&self.remote[w]) << (32 * w);
            assert_eq!(
                self.taken.fetch_or(bits, Relaxed) & bits,
                0,
                "a slot was taken twice"
            );
        }
    }

    /// The owner's look at its stack; `ended`: its thread is gone.
    fn drain(&self, ended: bool) {
        let mut next = handoff::pop_all(&self.top);
        while next != 0 && next != handoff::END {
            assert_eq!(next, BLOCK);
            next = handoff::unlink(&self.link);
            if self.owner.load(SeqCst) == OWNER {
                self.drain_block();
                if ended {
                    self.give_up();
                }
            } else if self.summary.load(SeqCst) != 0 {
                self.list();
            }
        }
    }

    fn drain_dead(&self) {
        let _g = self.dead.lock().unwrap();
        if self.tid.load(Relaxed) == 0 {
            self.drain(true);
        }
    }

    fn give_up(&self) {
        if handoff::give_up(&self.owner, &self.summary) || self.taken.load(Relaxed) != 0 {
            self.list();
        }
    }

    /// The freed slots are where somebody finds them: taken, or in a listed block.
    fn check_found(&self, all: u64) {
        if *self.listed.lock().unwrap() {
            self.drain_block();
        }
        assert_eq!(
            self.taken.load(Relaxed),
            all,
            "freed slots that nobody will find"
        );
    }
}

fn bounded(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(f);
}

/// Every freed slot is taken once, and a last look at the stack finds all.
#[test]
fn loom_owner_finds_every_remote_free() {
    bounded(|| {
        let w = World::new();
        let freers: Vec<_> = [(0, 1), (1, 2)]
            .into_iter()
            .map(|(word, bit)| {
                let w = w.clone();
                thread::spawn(move || w.free(word, bit))
            })
            .collect();
        w.drain(false);
        freers.into_iter().for_each(|t| t.join().unwrap());
        w.drain(false);
        assert_eq!(
            w.taken.load(Relaxed),
            1 | 2 << 32,
            "freed slots that nobody will find"
        );
    });
}

/// Two frees of the same word by two threads.
#[test]
fn loom_frees_of_one_word() {
    bounded(|| {
        let w = World::new();
        let freers: Vec<_> = [1, 2]
            .into_iter()
            .map(|bit| {
                let w = w.clone();
                thread::spawn(move || w.free(0, bit))
            })
            .collect();
        w.drain(false);
        freers.into_iter().for_each(|t| t.join().unwrap());
        w.drain(false);
        assert_eq!(
            w.taken.load(Relaxed),
            3,
            "freed slots that nobody will find"
        );
    });
}

/// The owner gives the block up while it is freed into: the block is listed.
#[test]
fn loom_block_given_up_is_listed() {
    bounded(|| {
        let w = World::new();
        let freer = {
            let w = w.clone();
            thread::spawn(move || w.free(0, 1))
        };
        w.drain_block();
        w.give_up();
        freer.join().unwrap();
        w.drain(false);
        w.check_found(1);
    });
}

/// A sweeper, who owned nothing, gives the block up while it is freed into: the freeing thread finds nobody to tell.
#[test]
fn loom_swept_block_is_listed() {
    bounded(|| {
        let w = World::new();
        w.owner.store(u32::MAX, SeqCst);
        let freer = {
            let w = w.clone();
            thread::spawn(move || w.free(0, 1))
        };
        w.drain_block();
        w.give_up();
        freer.join().unwrap();
        w.check_found(1);
    });
}

/// The owner's thread ends while the block, full, is freed into: whoever comes last takes it over.
#[test]
fn loom_block_of_an_ended_thread_is_taken_over() {
    bounded(|| {
        let w = World::new();
        let freer = {
            let w = w.clone();
            thread::spawn(move || w.free(0, 1))
        };
        w.tid.store(0, SeqCst);
        w.drain_dead();
        freer.join().unwrap();
        w.check_found(1);
    });
}
