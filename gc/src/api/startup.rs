//! What happens when a program that links this crate is loaded, forks, and ends.

use super::finalizer_thread;
use crate::raw;

/// Registers the fork handlers. At load time, because handlers run in reverse order before a fork: the locks are taken when
/// no other handler allocates any more.
extern "C" fn at_load() {
    // SAFETY: the three functions may be called at any time in the order that libc keeps.
    let error = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    if error != 0 {
        crate::message!(
            "pthread_atfork: error {error}; a forked child of a threaded program can hang in the allocator"
        );
    }
}

unsafe extern "C" fn prepare() {
    raw::fork::prepare();
}

unsafe extern "C" fn parent() {
    raw::fork::parent();
}

unsafe extern "C" fn child() {
    raw::fork::child();
    finalizer_thread::after_fork_child();
}

extern "C" fn at_exit() {
    raw::at_exit();
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;
