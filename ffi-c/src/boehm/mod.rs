//! The basic calls of the Boehm-Demers-Weiser collector, on this one. What differs is in `docs/boehm.md`.

use gc as collector;

mod alloc;
mod allocation;
mod collect;
mod finalize;
mod heap;
mod objects;
mod settings;
mod threads;

pub(crate) use finalize::notify_finalizers;
use objects::GC_base;
