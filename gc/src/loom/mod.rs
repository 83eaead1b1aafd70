//! Models of the lock-free protocols, checked by loom in every order that the memory model allows:
//! `RUSTFLAGS="--cfg loom" cargo test -p dunegc --release --lib loom`.
#![allow(dead_code)]

#[path = "../heap/cursor.rs"]
mod cursor;
#[path = "../mark/deque.rs"]
mod deque;
#[path = "../heap/handoff.rs"]
mod handoff;
#[path = "../api/peek.rs"]
mod peek;
#[path = "../mark/phase.rs"]
mod phase;
#[path = "../heap/slot.rs"]
mod slot;

#[cfg(test)]
mod beside;
#[cfg(test)]
mod freeing;
#[cfg(test)]
mod marking;
#[cfg(test)]
mod sweeping;
#[cfg(test)]
mod weak;
