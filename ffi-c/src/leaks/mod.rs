//! Mode `leaks`: every block from malloc carries the id of the stack that allocated it; at exit and on a signal the blocks
//! that nothing reaches are reported by stack.

mod capture;
mod group;
mod guard;
mod names;
mod print;
mod request;
mod stacks;
mod symbols;
mod table;
mod unreachable;

use guard::Quiet;

use gc::config::{self, Mode};
use gc::raw;

/// The mode is on.
pub fn is_on() -> bool {
    config::get().mode == Mode::Leaks
}

/// At the first allocation of the process.
pub fn start() {
    stacks::start();
    names::start();
}

/// Makes this library's own code known, for [`caller`] and [`is_own_code`].
pub fn find_own_code() {
    capture::start();
}

/// The innermost return address outside of this library; 0 if there is none.
pub fn caller() -> usize {
    let _quiet = Quiet::enter();
    capture::frames(1).addresses[0]
}

/// `address` lies in this library's code (never if the library is part of the program).
pub fn is_own_code(address: usize) -> bool {
    capture::is_own(address)
}

/// In the constructor: allocation and threads work.
pub fn constructor() {
    request::install();
}

/// In a fork child.
pub fn after_fork_in_child() {
    request::after_fork_in_child();
}

/// Notes the calling stack for the block at `p`, which was just allocated or resized.
pub fn record(p: *mut u8) {
    let Some(_quiet) = Quiet::enter() else { return };
    let id = stacks::id_of_caller(config::get().leaks.depth.into());
    // SAFETY: `p` was returned by the heap just now and its owner has not seen it yet.
    unsafe { raw::set_tag(p, id) };
}

/// Reports what is unreachable now; the number of leaked blocks.
pub fn report() -> usize {
    let _quiet = Quiet::enter();
    print::report()
}

/// The report at exit, and the exit status if one is asked for. Does not return in that case.
pub fn report_at_exit() {
    let leaked = report();
    if leaked > 0
        && let Some(status) = config::get().leaks.exit_code
    {
        // SAFETY: a null stream means all of them; _exit ends the process without running what exit runs, which is over
        // but for destructors of libraries below this one.
        unsafe {
            libc::fflush(core::ptr::null_mut());
            libc::_exit(status.into());
        }
    }
}
