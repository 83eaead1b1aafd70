//! What can go wrong, in words.
use core::fmt;

/// Why the stop signal could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorldError {
    /// Not a signal that can have a handler.
    BadSignal(i32),
    /// The program has a handler for it already.
    SignalTaken(i32),
    /// The world was set up with this other signal.
    AlreadyInstalled(i32),
    /// rt_sigaction refused the signal (.0) with an errno (.1).
    Sigaction(i32, i32),
    /// No memory for the thread table; errno.
    Memory(i32),
}

/// Why the world could not be stopped. Every thread runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopError {
    /// [`init`](super::init) was not called.
    NotInitialised,
    /// /proc/self/task cannot be read (errno) or shows another process; threads cannot be found without it.
    NoProc(i32),
    /// A thread did not stop in time.
    Blocked {
        /// The kernel's thread id.
        tid: i32,
        /// What it was doing.
        why: Why,
    },
    /// The limit of queued signals (RLIMIT_SIGPENDING) stayed reached.
    SignalQueueFull,
    /// The caller is a vfork child: its memory belongs to another process, whose threads run.
    SharedAddressSpace,
    /// The caller has stopped the world already.
    AlreadyStopped,
    /// No memory for the thread table; errno.
    Memory(i32),
}

/// Why a thread did not stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It blocks the stop signal.
    SignalBlocked,
    /// It sleeps uninterruptibly in the kernel, for example until a vfork child calls exec, or for a device.
    Uninterruptible,
    /// A debugger holds it.
    Traced,
    /// SIGSTOP or the like holds it.
    JobStopped,
    /// It stayed in a critical section of the allocator.
    CriticalSection,
    /// It took the signal without running the handler (sigwaitinfo, signalfd, or another handler was installed).
    SignalConsumed,
    /// None of these was seen; the machine may be overloaded.
    Unresponsive,
    /// New threads were created faster than they could be stopped.
    ThreadStorm,
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadSignal(s) => write!(
                f,
                "stop signal {s}: expected 1 to 64, not SIGKILL or SIGSTOP; threads cannot be stopped"
            ),
            Self::SignalTaken(s) => write!(
                f,
                "stop signal {s}: the program has a handler for it; choose another signal"
            ),
            Self::AlreadyInstalled(s) => write!(f, "stop signal: already set to {s}; it stays"),
            Self::Sigaction(s, e) => write!(
                f,
                "stop signal {s}: rt_sigaction failed with errno {e}; threads cannot be stopped"
            ),
            Self::Memory(e) => write!(
                f,
                "thread table: mmap failed with errno {e}; threads cannot be stopped"
            ),
        }
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotInitialised => {
                write!(f, "stop: the world is not set up; nothing is collected")
            }
            Self::NoProc(e) => write!(
                f,
                "stop: /proc/self/task of this process cannot be read (errno {e}); nothing is collected"
            ),
            Self::Blocked { tid, why } => write!(
                f,
                "stop: thread {tid} did not stop in time: {why}; nothing is collected"
            ),
            Self::SignalQueueFull => write!(
                f,
                "stop: too many queued signals (ulimit -i); nothing is collected"
            ),
            Self::SharedAddressSpace => {
                write!(f, "stop: called in a vfork child; nothing is collected")
            }
            Self::AlreadyStopped => write!(f, "stop: this thread has stopped the world already"),
            Self::Memory(e) => write!(
                f,
                "stop: no memory for the thread table (errno {e}); nothing is collected"
            ),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignalBlocked => "it blocks the stop signal",
            Self::Uninterruptible => "it sleeps uninterruptibly (vfork, device)",
            Self::Traced => "a debugger holds it",
            Self::JobStopped => "it is stopped by SIGSTOP or the like",
            Self::CriticalSection => "it stayed inside the allocator",
            Self::SignalConsumed => "it consumed the stop signal without running the handler",
            Self::Unresponsive => "no reason found; is the machine overloaded?",
            Self::ThreadStorm => "threads are created faster than they can be stopped",
        })
    }
}
