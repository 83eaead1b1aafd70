//! The threads of the process: find, stop, hand over registers and stacks, resume.
//!
//! Every thread that the kernel lists in /proc/self/task is sent a real-time signal and waits in the handler, so a thread
//! that never allocated, or that libc does not know, is stopped too.
//!
//! *You must:* call [`init`] once; keep the function that called [`stop`], or whose registers [`stop_before`] was given, alive
//! until the roots have been read (its frame and its callers' hold the calling thread's pointers); touch [`CriticalFlags`] as
//! described there.
//! *We guarantee:* between [`stop`] and [`resume`](StoppedWorld::resume) no thread of the process executes user code, other
//! than the caller and threads that called [`exempt_self`]; none is stopped with `depth != 0`; every signal is blocked in
//! the caller. If that cannot be reached in time, every thread goes on and the reason is returned.
//!
//! A thread in a system call is stopped there. Calls that SA_RESTART covers go on afterwards as if nothing had happened
//! (read, write, accept, recv, send without SO_RCVTIMEO or SO_SNDTIMEO; futex waits, wait4, flock, F_SETLKW, open of a FIFO,
//! ioctl on slow devices, getrandom). The kernel never restarts these when a handler ran (signal(7)): they fail with EINTR, as
//! on any signal: poll, ppoll, select, pselect, epoll_wait, epoll_pwait, nanosleep, clock_nanosleep (and sleep, usleep),
//! io_getevents, semop, semtimedop, msgrcv, msgsnd, sigtimedwait, sigwaitinfo, sigsuspend, pause, and socket calls with a
//! timeout set. read on inotify descriptors is restarted since Linux 3.8.
pub(crate) mod aside;
mod error;
mod exempt;
mod flags;
mod handler;
pub(crate) mod own_stack;
mod spill;
mod state;
mod stop;

pub use error::{StopError, Why, WorldError};
pub use exempt::{exempt_self, unexempt_self};
pub(crate) use exempt::{for_each_exempt_stack, is_exempt};
pub use flags::{CriticalFlags, note_stack_bounds, note_stack_end};
pub use handler::park_self;
pub use spill::{Registers, with_spilled_registers};
pub use state::{StoppedThread, after_fork_child, after_fork_parent, before_fork, with_lock};
pub use stop::{StoppedWorld, stop, stop_before, stop_within};

use crate::sys::signal;
use core::sync::atomic::Ordering::*;

/// How the world is stopped.
#[derive(Clone, Copy)]
pub struct WorldConfig {
    /// The signal; 0: SIGRTMAX - 2.
    pub signal: i32,
    /// How long [`stop`] waits for the last thread, in milliseconds.
    pub timeout_ms: u32,
    /// The calling thread's [`CriticalFlags`], or null. Runs in the signal handler: must be async-signal-safe and must not
    /// touch libc; called only in threads that have a thread pointer.
    pub critical_flags: Option<fn() -> *const CriticalFlags>,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig {
            signal: 0,
            timeout_ms: 5000,
            critical_flags: None,
        }
    }
}

/// Installs the stop signal's handler. A second call changes the timeout and the flags function only.
pub fn init(cfg: WorldConfig) -> Result<(), WorldError> {
    let sig = if cfg.signal == 0 {
        libc::SIGRTMAX() - 2
    } else {
        cfg.signal
    };
    if !(1..=64).contains(&sig) || sig == libc::SIGKILL || sig == libc::SIGSTOP {
        return Err(WorldError::BadSignal(sig));
    }
    with_lock(|| {
        let s = &state::STATE;
        s.timeout_ms.store(cfg.timeout_ms, Relaxed);
        s.flags_fn
            .store(cfg.critical_flags.map_or(0, |f| f as usize), Release);
        let now = s.signal.load(Acquire);
        if now != 0 {
            return if now == sig as u32 || cfg.signal == 0 {
                Ok(())
            } else {
                Err(WorldError::AlreadyInstalled(now as i32))
            };
        }
        let old = signal::disposition(sig).map_err(|e| WorldError::Sigaction(sig, e.0))?;
        if old.handler != libc::SIG_DFL && old.handler != libc::SIG_IGN {
            return Err(WorldError::SignalTaken(sig));
        }
        state::prepare().map_err(|e| WorldError::Memory(e.0))?;
        signal::install(sig, handler::on_signal).map_err(|e| WorldError::Sigaction(sig, e.0))?;
        s.signal.store(sig as u32, Release);
        Ok(())
    })
}

/// The stop signal; 0 before [`init`]. Programs must not block it: an interposed sigprocmask takes it out of the set.
pub fn signal_number() -> i32 {
    state::STATE.signal.load(Acquire) as i32
}
