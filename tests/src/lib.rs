//! Whole-system tests of `libdunegc.so`: what the tests in `tests/tests` share.
//!
//! Every test starts real processes. [`Run`] starts one, with or without the library, under a time
//! limit; [`compile()`] builds a program of `tests/c`; [`compare()`] runs a command without the library
//! and in every mode and demands the same output and exit status.

mod bochs;
mod compare;
mod compile;
mod initrd;
mod kernel;
pub mod kmod;
mod libgc;
mod library;
mod memory;
mod oracle;
mod qemu;
mod redis;
mod run;
pub mod trace;

pub use compare::{compare, compare_filtered, in_modes};
pub use compile::{
    compile, compile_benchmark, compile_cxx, compile_shared, compile_with, link_with_library,
};
pub use initrd::test_program;
pub use kernel::debian_kernel;
pub use libgc::{LIBGC, libgc_dir, same_program, with_libgc};
pub use library::{
    Mode, build_benchmarks, build_command, build_preload, engine_kvm, library, preload_dune,
    workspace,
};
pub use memory::pages;
pub use oracle::{Oracle, oracle};
pub use qemu::Machine;
pub use redis::{Under, redis_session};
pub use run::{Outcome, Run, need, scratch};
