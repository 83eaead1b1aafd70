//! Marking: parallel, by work stealing, with prefetch.

pub mod deque;
pub mod dirty;
pub mod marker;
pub mod packet;
pub mod phase;
pub mod pool;
pub mod rescan;
pub mod shared;
