//! Mode `reclaim` (and the reports of mode `leaks`): what the collector cannot find out by itself. Which module allocated a
//! block, and which blocks only the kernel knows.

mod aio;
mod modules;
mod queued;
mod shadow;
mod syscall;
mod uring;

pub use modules::kind_for;
pub use shadow::{after_fork_in_child, note};

use gc::config::{self, Mode};

/// At the first allocation of the process. True if the allocating module decides about each block.
pub fn start() -> bool {
    let config = config::get();
    if config.mode == Mode::Malloc {
        return false;
    }
    shadow::start();
    let by_module = config.mode == Mode::Reclaim && config.reclaim_only.is_some();
    if by_module {
        crate::leaks::find_own_code();
    }
    by_module
}
