//! Building a configuration in Rust.

use super::{Config, ConfigError, Dirty, Generational, HugePages, Mode, OnError, StatsSink};

/// Sets options one by one; [`build`](Builder::build) checks them all.
///
/// ```
/// use dunegc::config::Config;
///
/// let config = Config::builder().max_heap(Some(512 << 20)).growth(100).build()?;
/// assert_eq!(config.max_heap, Some(512 << 20));
///
/// let error = Config::builder().markers(Some(65)).build().unwrap_err();
/// assert_eq!(error.to_string(), "DUNEGC_MARKERS=65: expected auto or a number from 1 to 64");
/// # Ok::<(), dunegc::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Builder(Config);

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)*) => { $(
        $(#[$doc])*
        pub fn $name(mut self, value: $type) -> Self {
            self.0.$($field).+ = value;
            self
        }
    )* };
}

impl Builder {
    pub(super) fn new(from: Config) -> Self {
        Builder(from)
    }

    setters! {
        /// What happens to malloc'ed memory.
        mode: Mode => mode;
        /// Where statistics go at exit.
        stats: StatsSink => stats;
        /// Largest heap in bytes, 1 MiB to 64 TiB; `None`: no limit.
        max_heap: Option<usize> => max_heap;
        /// After a misuse of `free`.
        on_error: OnError => on_error;
        /// Collect at every n-th allocation; 0: only when needed.
        zeal: u32 => zeal;
        /// Seed that moves the phases of collections beside the program; 0: they come as they do.
        zeal_phases: u32 => zeal_phases;
        /// Number of marking threads, 1 to 64; `None`: scaled to heap and idle cores.
        markers: Option<u8> => markers;
        /// Real-time signal that stops threads, 34 to 64; `None`: chosen by the library.
        signal: Option<i32> => signal;
        /// Bytes allocated before the first collection and at least between two, 64 KiB to 1 TiB.
        min_heap: usize => min_heap;
        /// Growth between collections in percent of the live bytes, 1 to 10000.
        growth: u32 => growth;
        /// Milliseconds (at most a day) that free memory is kept; 0: none; `None`: for ever.
        decay_ms: Option<u32> => decay_ms;
        /// Milliseconds (1 to a day) to wait for all threads to stop.
        stop_timeout_ms: u32 => stop_timeout_ms;
        /// Transparent huge pages.
        huge_pages: HugePages => huge_pages;
        /// Helper threads for sweeping, marking and giving memory back.
        background: bool => background;
        /// Collections run beside the program; else it is stopped for their whole duration.
        concurrent: bool => concurrent;
        /// Where written pages are learnt from.
        dirty: Dirty => dirty;
        /// Whether collections keep the marks of the last one and look only for what is new.
        generational: Generational => generational;
        /// Exit status when leaks were found, 1 to 255; `None`: unchanged.
        leaks_exit_code: Option<u8> => leaks.exit_code;
        /// Signal that asks for a leak report; `None`: only at exit.
        leaks_signal: Option<i32> => leaks.signal;
        /// Stack frames recorded per allocation, 1 to 64.
        leaks_depth: u8 => leaks.depth;
        /// 0: problems; 1: a line per collection; 2: decisions too.
        log: u8 => log;
    }

    /// File for statistics in JSON at exit; `%p` stands for the process id, `%%` for `%`.
    pub fn stats_json(mut self, path: &'static str) -> Self {
        self.0.stats = StatsSink::Json(path.as_bytes());
        self
    }

    /// File for leak reports (as for [`Self::stats_json`]); `None`: stderr.
    pub fn leaks_file(mut self, path: Option<&'static str>) -> Self {
        self.0.leaks.file = path.map(str::as_bytes);
        self
    }

    /// File for a trace of the collections (as for [`Self::stats_json`]); `None`: none. See `docs/tracing.md`.
    pub fn trace(mut self, path: Option<&'static str>) -> Self {
        self.0.trace = path.map(str::as_bytes);
        self
    }

    /// Comma-separated modules whose blocks mode `reclaim` may collect; `None`: all.
    pub fn reclaim_only(mut self, modules: Option<&'static str>) -> Self {
        self.0.reclaim_only = modules.map(str::as_bytes);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// The first option, in the order of [`OPTIONS`](super::OPTIONS), whose value is out of range or contradicts another.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.0.check()?;
        Ok(self.0)
    }
}
