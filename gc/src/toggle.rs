//! Toggle references: references that the program switches between strong and weak, by a function that is asked in every
//! collection with the world stopped.

use crate::finalize::is_marked;
use crate::heap::{critical, find};
use crate::sys::lock::Lock;
use crate::sys::scratch::ScratchVec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::Release};

/// What the program says about a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is none any more.
    Drop,
    /// It keeps its object.
    Strong,
    /// It does not.
    Weak,
}

#[derive(Clone, Copy)]
struct Toggle {
    object: usize,
    strong: bool,
}

pub(crate) struct Toggles(ScratchVec<Toggle>);

static TOGGLES: Lock<Toggles> = Lock::new(Toggles(ScratchVec::new()));
static ASK: AtomicUsize = AtomicUsize::new(0);

/// Sets the function that is asked. It runs with the world stopped, and must not allocate.
pub fn set_function(f: Option<fn(usize) -> Status>) {
    ASK.store(f.map_or(0, |f| f as usize), Release);
}

/// Adds a reference to the object around `addr`. False if there is none, or no memory.
pub fn add(addr: usize, strong: bool) -> bool {
    critical::with(|| {
        let Some(o) = find::object(addr) else {
            return false;
        };
        let toggle = Toggle {
            object: o.base,
            strong,
        };
        TOGGLES.lock().0.push(toggle).is_ok()
    })
}

impl Toggles {
    /// Keeps those for which `f` holds.
    fn retain(&mut self, mut f: impl FnMut(&mut Toggle) -> bool) {
        let mut kept = 0;
        for i in 0..self.0.len() {
            let mut t = self.0[i];
            if f(&mut t) {
                self.0[kept] = t;
                kept += 1;
            }
        }
        self.0.truncate(kept);
    }
}

/// The world is stopped, marking has not begun: asks about every reference.
pub(crate) fn ask() {
    let f = ASK.load(Relaxed);
    if f == 0 {
        return;
    }
    // SAFETY: `set_function` stores only functions of this type.
    let f = unsafe { core::mem::transmute::<usize, fn(usize) -> Status>(f) };
    TOGGLES.lock().retain(|t| {
        let status = f(t.object);
        t.strong = status == Status::Strong;
        status != Status::Drop
    });
}

/// The world is stopped: objects that strong references keep.
pub(crate) fn each_strong(f: &mut dyn FnMut(usize)) {
    for t in TOGGLES.lock().0.iter().filter(|t| t.strong) {
        f(t.object);
    }
}

/// The world is stopped, everything that stays is marked: references to what does not are dropped.
pub(crate) fn drop_dead() {
    TOGGLES.lock().retain(|t| is_marked(t.object));
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Toggles> {
    &TOGGLES
}
