//! A parallel, conservative, non-moving mark-sweep collector for native programs.
//!
//! [`DuneGc`] is the global allocator, [`Gc`] the collected pointer; [`guide`] tells how to use them. [`raw`] is the untyped
//! interface below them, on which `libdunegc.so` stands too.
//!
//! ```
//! use dunegc::{DuneGc, Gc};
//!
//! #[global_allocator]
//! static ALLOCATOR: DuneGc = DuneGc::new();
//!
//! struct List { value: u64, next: Option<Gc<List>> }
//!
//! let list = (0..1000).fold(None, |next, value| Some(Gc::new(List { value, next })));
//! let sum: u64 = std::iter::successors(list, |node| node.next).map(|node| node.value).sum();
//! assert_eq!(sum, 499_500);
//! ```
#![no_std]
#[cfg(any(test, loom))]
extern crate std;

#[cfg(not(loom))]
mod api;
#[cfg(not(loom))]
mod collector;
#[cfg(not(loom))]
pub mod config;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod cycle;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod dirty;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod disclaim;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod displacements;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod finalize;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod gather;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod heap;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod hooks;
#[cfg(not(loom))]
mod kind;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod kinds;
#[cfg(not(loom))]
mod leaks;
#[cfg(not(loom))]
mod links;
#[cfg(not(loom))]
mod look;
/// The lock-free protocols and their models; nothing else is built for loom.
#[cfg(loom)]
#[path = "loom/mod.rs"]
mod loom_models;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod mark;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod pacer;
#[cfg(feature = "paranoid")]
#[cfg(not(loom))]
mod paranoid;
#[cfg(not(loom))]
mod pins;
#[cfg(not(loom))]
pub mod raw;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod referrer;
#[cfg(not(loom))]
pub mod roots;
#[cfg(not(loom))]
mod setup;
#[cfg(not(loom))]
pub mod stats;
mod sync;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod sys;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod toggle;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod trace;
#[cfg(not(loom))]
mod tracked;
#[doc(hidden)]
#[cfg(not(loom))]
pub mod typed;
#[cfg(not(loom))]
pub mod world;
#[cfg(not(loom))]
mod zeal;

#[cfg(not(loom))]
pub use api::*;
#[cfg(not(loom))]
pub use config::Config;
#[cfg(not(loom))]
pub use raw::CollectError;
#[cfg(not(loom))]
pub use stats::{Stats, snapshot as stats};
