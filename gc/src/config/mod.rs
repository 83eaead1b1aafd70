//! Options: what they are, how they are read from the environment, and the one configuration in force.
//!
//! [`get`] may be called at any time, from the first `malloc` of the process on. Nothing here allocates or locks.

mod builder;
mod current;
mod env;
mod error;
mod nearest;
mod options;
mod parse;
mod show;

pub use builder::Builder;
pub use current::{get, init_from_env, seal};
pub use error::ConfigError;
pub use options::{EXTRA_VARIABLES, OPTIONS, Opt};

/// What the library does with memory from `malloc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `free` frees; what is not freed stays, and is a root for collected objects.
    Malloc,
    /// Unreachable malloc'ed blocks are freed by the collector too.
    Reclaim,
    /// As `Malloc`; unreachable blocks are reported at exit and on a signal.
    Leaks,
}

/// Where statistics go at exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsSink {
    /// Nowhere.
    None,
    /// A table on stderr.
    Stderr,
    /// A JSON file at this path, in which `%p` stands for the process id and `%%` for `%`.
    Json(&'static [u8]),
}

/// What a double free, or a free of a foreign or interior pointer does after its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Ends the process with `SIGABRT`.
    Abort,
    /// Ignores the call.
    Warn,
}

/// Whether the heap asks for transparent huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// As the library thinks best for the heap's size and the system's setting.
    Auto,
    /// `madvise(MADV_HUGEPAGE)`.
    On,
    /// `madvise(MADV_NOHUGEPAGE)`.
    Off,
}

/// Where the collector learns which pages were written while it marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// The best that works here.
    Auto,
    /// Dirty bits of the process's own page tables, in guest mode (`libdune`).
    Dune,
    /// Rights to write in those tables, and faults that the guest deals with.
    DuneWp,
    /// userfaultfd with asynchronous write protection and PAGEMAP_SCAN (Linux 6.7).
    PagemapScan,
    /// Soft-dirty bits of /proc/self/pagemap (CONFIG_MEM_SOFT_DIRTY).
    SoftDirty,
    /// Read-only mappings and a handler for SIGSEGV.
    Mprotect,
    /// Nowhere: marking stops the world.
    None,
}

/// Whether collections keep the marks of the last one and look only for what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generational {
    /// When it pays.
    Auto,
    /// Whenever it can be.
    Yes,
    /// Never.
    No,
}

/// Options of mode [`Mode::Leaks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// Exit status of the process when leaks were found, 1 to 255; `None` leaves it as it is.
    pub exit_code: Option<u8>,
    /// File for the report (`%p`: process id, `%%`: `%`); `None`: stderr.
    pub file: Option<&'static [u8]>,
    /// Signal that asks for a report; `None`: only at exit.
    pub signal: Option<i32>,
    /// Frames recorded per allocation, 1 to 64.
    pub depth: u8,
}

/// All options. [`Config::DEFAULT`] is what holds without any setting.
///
/// Make one with [`Config::builder`], put it in force with [`Config::install`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What happens to malloc'ed memory.
    pub mode: Mode,
    /// Where statistics go at exit.
    pub stats: StatsSink,
    /// Largest heap in bytes (blocks in use); `None`: no limit but the system's.
    pub max_heap: Option<usize>,
    /// After a misuse of `free`.
    pub on_error: OnError,
    /// Collect at every n-th allocation; 0: only when needed.
    pub zeal: u32,
    /// Seed that moves the phases of collections beside the program; 0: they come as they do.
    pub zeal_phases: u32,
    /// Number of marking threads, 1 to 64; `None`: scaled to heap and idle cores.
    pub markers: Option<u8>,
    /// Signal that stops threads; `None`: the library chooses a real-time signal.
    pub signal: Option<i32>,
    /// Allocation in bytes before the first collection, and the least between two.
    pub min_heap: usize,
    /// Growth between collections, in percent of the live bytes.
    pub growth: u32,
    /// Milliseconds that free memory is kept before it goes back to the system; 0: at once, `None`: never.
    pub decay_ms: Option<u32>,
    /// Milliseconds to wait for all threads to stop before a collection is given up.
    pub stop_timeout_ms: u32,
    /// Transparent huge pages.
    pub huge_pages: HugePages,
    /// Helper threads: sweep and return of memory in the background, parallel marking.
    pub background: bool,
    /// Collections run beside the program; else it is stopped for their whole duration.
    pub concurrent: bool,
    /// Where written pages are learnt from.
    pub dirty: Dirty,
    /// Collections that look only for what is new.
    pub generational: Generational,
    /// Leak reports.
    pub leaks: Leaks,
    /// Comma-separated names of the modules whose blocks mode `reclaim` may collect; `None`: all.
    pub reclaim_only: Option<&'static [u8]>,
    /// 0: problems only; 1: a line per collection; 2: decisions in between too.
    pub log: u8,
    /// File for a trace of the collections (`%p`: process id, `%%`: `%`); `None`: none is written.
    pub trace: Option<&'static [u8]>,
}

impl Config {
    /// The defaults.
    pub const DEFAULT: Config = Config {
        mode: Mode::Malloc,
        stats: StatsSink::None,
        max_heap: None,
        on_error: OnError::Abort,
        zeal: 0,
        zeal_phases: 0,
        markers: None,
        signal: None,
        min_heap: 8 << 20,
        growth: 62,
        decay_ms: Some(100),
        stop_timeout_ms: 1000,
        huge_pages: HugePages::Auto,
        background: true,
        concurrent: false,
        dirty: Dirty::Auto,
        generational: Generational::Auto,
        leaks: Leaks {
            exit_code: None,
            file: None,
            signal: None,
            depth: 16,
        },
        reclaim_only: None,
        log: 0,
        trace: None,
    };

    /// A builder that starts from the configuration in force (that is, from the environment).
    pub fn builder() -> Builder {
        Builder::new(*get())
    }

    /// Puts this configuration in force for the whole process.
    ///
    /// # Errors
    /// A value out of range; an option that cannot change any more because a collection has taken place; or the
    /// eighth configuration installed in one process.
    pub fn install(self) -> Result<(), ConfigError> {
        self.check()?;
        current::install(self)
    }

    /// The signal that stops threads: [`Config::signal`], or `SIGRTMAX - 2` (one below if leak reports have that).
    pub fn stop_signal(&self) -> i32 {
        let usual = libc::SIGRTMAX() - 2;
        self.signal.unwrap_or(if self.leaks.signal == Some(usual) {
            usual - 1
        } else {
            usual
        })
    }

    /// The modules of [`Config::reclaim_only`], without blanks and empty names.
    pub fn reclaim_only_modules(&self) -> impl Iterator<Item = &'static [u8]> {
        self.reclaim_only
            .unwrap_or(b"")
            .split(|&b| b == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|m| !m.is_empty())
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::DEFAULT
    }
}
