//! The action of `SIGPIPE` that this process was started with: Rust's runtime replaces it before `main`, and the program
//! must get the original one.

use std::sync::atomic::{AtomicBool, Ordering};

static IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before the Rust runtime.
extern "C" fn remember() {
    // SAFETY: all-zero bytes are a valid sigaction; with a null new action the call only fills `action`.
    let ignored = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    };
    IGNORED.store(ignored, Ordering::Relaxed);
}

// SAFETY: an entry of .init_array is a C function pointer; `remember` needs nothing of Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

/// Gives `SIGPIPE` back the action it had.
pub fn restore() {
    let action = if IGNORED.load(Ordering::Relaxed) {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: both actions are always valid for SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}
