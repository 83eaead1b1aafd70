//! The typed interface: the global allocator, [`Gc`] and what belongs to it, on top of [`crate::raw`].
//!
//! Layers, each using only those above it: `place` (memory for a type), `no_pointers` · `gc`, `traits`, `slice`, `vec` ·
//! `finalizer_thread`, `drop` · `weak` · `control`. `allocator` and `startup` stand alone.

mod allocator;
mod control;
mod drop;
pub(crate) mod finalizer_thread;
mod gc;
mod no_pointers;
mod peek;
mod place;
mod slice;
mod startup;
mod traits;
mod vec;
mod weak;

pub use allocator::DuneGc;
pub use control::{
    Disabled, collect, disable, finalizers_pending, run_finalizers, wait_for_finalizers,
};
pub use drop::{Finalize, Guard};
pub use gc::Gc;
pub use no_pointers::NoPointers;
pub use place::OutOfMemory;
pub use vec::GcVec;
pub use weak::Weak;

/// The user's guide; its examples run as tests.
#[doc = include_str!("../../../docs/rust.md")]
pub mod guide {}
