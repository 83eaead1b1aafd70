//! Runs a Linux process in guest mode, in its own address space: it keeps its memory and its system calls, and owns its page tables.
#![cfg_attr(not(test), no_std)]

pub mod arch;
mod call;
mod caps;
mod dune;
pub mod engine;
mod error;
pub mod gpa;
pub mod interface;
mod lock;
mod maps;
mod monitor;
mod process;
mod self_test;
mod signal;
mod stats;
mod subject;
mod sys;
pub mod table;
mod text;
mod thread;
mod tls;
pub mod trap;
mod watch;
mod written;

pub use caps::Caps;
pub use dune::{Config, Dune};
pub use engine::any::Choice;
pub use error::Error;
pub use stats::Stats;
