//! Objects that the program pinned: roots by word. Pins count.

use crate::heap::{critical, find};
use crate::sys::lock::Lock;
use crate::sys::map::WordMap;

static PINS: Lock<WordMap<1>> = Lock::new(WordMap::new());

/// Pins the object around `addr`.
pub fn pin(addr: usize) -> bool {
    critical::with(|| {
        let Some(o) = find::object(addr) else {
            return false;
        };
        let mut pins = PINS.lock();
        let n = pins.get(o.base).map_or(0, |v| v[0]);
        pins.insert(o.base, [n + 1])
    })
}

/// Undoes one [`pin`].
pub fn unpin(addr: usize) -> bool {
    critical::with(|| {
        let Some(o) = find::object(addr) else {
            return false;
        };
        let mut pins = PINS.lock();
        match pins.get(o.base) {
            Some([1]) => {
                pins.remove(o.base);
                true
            }
            Some([n]) => pins.insert(o.base, [n - 1]),
            None => false,
        }
    })
}

/// Calls `f` with every pinned address; the world is stopped.
pub fn each(f: &mut dyn FnMut(usize)) {
    PINS.lock().for_each(|addr, _| f(addr));
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<WordMap<1>> {
    &PINS
}
