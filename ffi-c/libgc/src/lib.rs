//! `libgc.so.1`: the interface of the Boehm-Demers-Weiser collector 8.2 on the `dunegc` collector. What differs is in
//! `docs/boehm.md`.
//!
//! Each file implements the calls of one subject; the mechanisms lie in the collector. The names are the interface's own.
#![allow(non_snake_case, non_upper_case_globals)]

mod alloc;
mod collect;
mod finalize;
mod heap;
mod links;
mod params;
mod roots;
mod startup;
mod string;
mod threads;
mod vars;
mod warn;
