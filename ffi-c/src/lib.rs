//! libdunegc: malloc family, C API and Boehm calls on top of the `dunegc` collector.
//!
//! Layers, each using only those before it:
//! `errno`, `next` (symbols of the libraries behind us) · `fault` (bad frees), `route`, `startup` · `leaks`, `kernel_writes`, `reclaim` · `malloc`, `cxx` ·
//! `signals`, `threads`, `exec` · `finalizers`, `capi` · `boehm`.
//!
//! On an allocation path nothing here allocates or enters the Rust runtime.

mod boehm;
mod capi;
mod cxx;
mod errno;
mod exec;
mod fault;
mod finalizers;
mod kernel_writes;
mod leaks;
mod malloc;
mod next;
mod reclaim;
mod route;
mod signals;
mod startup;
mod stderr;
mod threads;
mod timers;
