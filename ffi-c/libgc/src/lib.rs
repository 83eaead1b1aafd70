//! `libgc.so.1`: the interface of the Boehm-Demers-Weiser collector 8.2 on the `dunegc` collector. What differs is in
//! `docs/boehm.md`.
//!
//! Each file implements the calls of one subject; the mechanisms lie in the collector. The names are the interface's own.
#![allow(non_snake_case, non_upper_case_globals)]

use dunegc as collector;

mod alloc;
#[path = "../../src/boehm/allocation.rs"]
mod allocation;
mod backptr;
mod check;
mod collect;
mod created;
mod debug;
mod debug_finalize;
mod disclaim;
mod dump;
mod env;
mod events;
mod finalize;
mod gcj;
mod heap;
mod kinds;
mod links;
mod mark;
#[path = "../../src/boehm/objects.rs"]
mod objects;
mod params;
mod print;
mod roots;
mod startup;
mod suspend;
mod threads;
mod toggle;
mod typed;
mod vars;
mod warn;
