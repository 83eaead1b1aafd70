//! The basic calls of the Boehm-Demers-Weiser collector, on this one. What differs is in `docs/boehm.md`.

mod alloc;
mod collect;
mod finalize;
mod heap;
mod settings;
mod threads;

pub(crate) use finalize::notify_finalizers;
use heap::GC_base;
