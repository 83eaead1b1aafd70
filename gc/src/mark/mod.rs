//! Marking: parallel, by work stealing, with prefetch.

pub mod delay;
pub mod deque;
pub mod dirty;
mod entry;
pub mod errand;
mod filter;
pub mod marker;
pub mod packet;
pub mod phase;
pub mod place;
pub mod pool;
pub mod rescan;
mod ring;
mod shape;
pub mod shared;
mod stack;
pub mod tags;
