//! The Rust variants of the four programs: [`boxed`] with `Box` under any global allocator, [`collected`]
//! with `Gc`.
//!
//! They do the same work as the C programs of the same names, option by option, and give the same checksums.

pub mod boxed;
pub mod collected;
pub mod common;
