//! The table of options: one row per environment variable, used by the parser, the builder's checks and the documents' test.

use super::parse::{self, PATH_LIMIT};
use super::show::{OptionValue, Show};
use super::{Config, ConfigError, Dirty, Generational, HugePages, Mode, OnError, StatsSink};
use core::fmt;

/// Smallest and largest heap limit, in bytes.
const HEAP: core::ops::RangeInclusive<usize> = 1 << 20..=64 << 40;
/// Smallest and largest amount between collections, in bytes.
const MIN_HEAP: core::ops::RangeInclusive<usize> = 64 << 10..=1 << 40;
/// Percent.
const GROWTH: core::ops::RangeInclusive<u32> = 1..=10_000;
/// Milliseconds: a day.
const DAY_MS: u32 = 86_400_000;

/// May change after the first collection.
const LATE: bool = true;
/// May not: threads, handlers and tables were made for it.
const EARLY: bool = false;

/// One option.
pub struct Opt {
    /// Its environment variable.
    pub name: &'static str,
    /// What it is for, one line.
    pub about: &'static str,
    /// The values it takes, as put after "expected".
    pub expected: &'static str,
    /// The default, as a value of the variable.
    pub default: &'static str,
    /// It may change after the first collection.
    pub late: bool,
    /// Parses a value. Text that the option keeps goes through the [`Arena`].
    pub(super) set: fn(&mut Config, &[u8], &mut Arena) -> Option<()>,
    /// The value is in range and compatible with the other options.
    pub(super) valid: fn(&Config) -> bool,
    /// Both configurations have the same value.
    pub(super) same: fn(&Config, &Config) -> bool,
    /// Writes the value as the variable takes it, the given text for an absent one.
    pub(super) show: fn(&Config, &mut fmt::Formatter<'_>, &str) -> fmt::Result,
}

/// Variables with the library's prefix that are read by the `dunegc` command, not by the library.
pub const EXTRA_VARIABLES: &[&str] = &["DUNEGC_LIB"];

/// Where the text that a configuration keeps goes: the environment may be overwritten by the program later.
pub(super) enum Arena {
    /// Room for it, [`Arena::SIZE`] bytes or what is left of them.
    Room(&'static mut [u8]),
    /// Values are only checked; a placeholder stands for every text.
    CheckOnly,
}

impl Arena {
    /// Room in bytes for the values of one environment: three paths and a list.
    pub const SIZE: usize = 4 * PATH_LIMIT;

    /// Copies `text`; `None` if there is no room.
    fn keep(&mut self, text: &[u8]) -> Option<&'static [u8]> {
        let Arena::Room(free) = self else {
            return Some(b"?");
        };
        if text.len() > free.len() {
            return None;
        }
        let (kept, rest) = core::mem::take(free).split_at_mut(text.len());
        *free = rest;
        kept.copy_from_slice(text);
        Some(kept)
    }
}

/// `none` or a value.
fn or_none<T>(text: &[u8], none: &[u8], f: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if text == none {
        Some(None)
    } else {
        f(text).map(Some)
    }
}

macro_rules! opt {
    ($name:literal, $about:literal, $expected:literal, $default:literal, $late:expr, |$c:ident, $t:ident, $a:ident| $set:expr,
     |$v:ident| $valid:expr, $($field:ident).+) => {
        Opt {
            name: $name,
            about: $about,
            expected: $expected,
            default: $default,
            late: $late,
            set: |$c, $t, $a| { let _ = &$a; $c.$($field).+ = $set; Some(()) },
            valid: |$v| $valid,
            same: |x, y| x.$($field).+ == y.$($field).+,
            show: |c, f, absent| Show::show(&c.$($field).+, f, absent),
        }
    };
}

/// Every option, in the order of the documents.
pub static OPTIONS: &[Opt] = &[
    opt!(
        "DUNEGC_MODE",
        "What happens to memory from malloc",
        "malloc, reclaim or leaks",
        "malloc",
        EARLY,
        |c, t, a| match t {
            b"malloc" => Mode::Malloc,
            b"reclaim" => Mode::Reclaim,
            b"leaks" => Mode::Leaks,
            _ => return None,
        },
        |_c| true,
        mode
    ),
    opt!(
        "DUNEGC_STATS",
        "Statistics at exit: none, a table on stderr, or a JSON file; %p in PATH stands for the process id",
        "0, 1 or json:PATH (PATH shorter than 2048 bytes)",
        "0",
        LATE,
        |c, t, a| match t {
            b"0" | b"none" => StatsSink::None,
            b"1" | b"stderr" => StatsSink::Stderr,
            [b'j', b's', b'o', b'n', b':', p @ ..] => StatsSink::Json(a.keep(parse::path(p)?)?),
            _ => return None,
        },
        |c| if let StatsSink::Json(p) = c.stats {
            parse::path(p).is_some()
        } else {
            true
        },
        stats
    ),
    opt!(
        "DUNEGC_MAX_HEAP",
        "Largest heap in bytes; a collection is tried before an allocation fails",
        "none or a size from 1M to 64T (suffix K, M, G, T)",
        "none",
        LATE,
        |c, t, a| or_none(t, b"none", |t| parse::size(t, *HEAP.start(), *HEAP.end()))?,
        |c| c.max_heap.is_none_or(|n| HEAP.contains(&n)),
        max_heap
    ),
    opt!(
        "DUNEGC_MIN_HEAP",
        "Bytes allocated before the first collection, and the least between two",
        "a size from 64K to 1T (suffix K, M, G, T)",
        "8M",
        LATE,
        |c, t, a| parse::size(t, *MIN_HEAP.start(), *MIN_HEAP.end())?,
        |c| MIN_HEAP.contains(&c.min_heap),
        min_heap
    ),
    opt!(
        "DUNEGC_GROWTH",
        "Growth between collections, in percent of the live bytes",
        "a percentage from 1 to 10000",
        "62",
        LATE,
        |c, t, a| parse::integer(t, (*GROWTH.start()).into(), (*GROWTH.end()).into())? as u32,
        |c| GROWTH.contains(&c.growth),
        growth
    ),
    opt!(
        "DUNEGC_DECAY",
        "How long free memory is kept before it goes back to the system",
        "milliseconds from 0 to 86400000, or -1 for never",
        "100",
        LATE,
        |c, t, a| or_none(t, b"-1", |t| Some(
            parse::integer(t, 0, DAY_MS.into())? as u32
        ))?,
        |c| c.decay_ms.is_none_or(|d| d <= DAY_MS),
        decay_ms
    ),
    opt!(
        "DUNEGC_HUGEPAGES",
        "Transparent huge pages for the heap",
        "auto, on or off",
        "auto",
        EARLY,
        |c, t, a| match t {
            b"auto" => HugePages::Auto,
            b"on" => HugePages::On,
            b"off" => HugePages::Off,
            _ => return None,
        },
        |_c| true,
        huge_pages
    ),
    opt!(
        "DUNEGC_MARKERS",
        "Number of marking threads",
        "auto or a number from 1 to 64",
        "auto",
        EARLY,
        |c, t, a| or_none(t, b"auto", |t| Some(parse::integer(t, 1, 64)? as u8))?,
        |c| c.markers.is_none_or(|n| (1..=64).contains(&n)),
        markers
    ),
    opt!(
        "DUNEGC_BACKGROUND",
        "Helper threads for sweeping, marking and giving memory back",
        "yes or no",
        "yes",
        EARLY,
        |c, t, a| parse::boolean(t)?,
        |_c| true,
        background
    ),
    opt!(
        "DUNEGC_CONCURRENT",
        "Collections run beside the program",
        "yes or no",
        "no",
        EARLY,
        |c, t, a| parse::boolean(t)?,
        |_c| true,
        concurrent
    ),
    opt!(
        "DUNEGC_DIRTY",
        "Where the collector learns which pages were written while it marks",
        "auto, dune, dune-wp, pagemap-scan, soft-dirty, mprotect or none",
        "auto",
        EARLY,
        |c, t, a| match t {
            b"auto" => Dirty::Auto,
            b"dune" => Dirty::Dune,
            b"dune-wp" => Dirty::DuneWp,
            b"pagemap-scan" => Dirty::PagemapScan,
            b"soft-dirty" => Dirty::SoftDirty,
            b"mprotect" => Dirty::Mprotect,
            b"none" => Dirty::None,
            _ => return None,
        },
        |_c| true,
        dirty
    ),
    opt!(
        "DUNEGC_GENERATIONAL",
        "Collections keep the marks of the last one and look only for what is new",
        "auto, yes or no",
        "auto",
        EARLY,
        |c, t, a| match t {
            b"auto" => Generational::Auto,
            b"yes" => Generational::Yes,
            b"no" => Generational::No,
            _ => return None,
        },
        |_c| true,
        generational
    ),
    opt!(
        "DUNEGC_SIGNAL",
        "The signal that stops threads for a collection",
        "auto or a real-time signal from 34 to 64, other than DUNEGC_LEAKS_SIGNAL",
        "auto",
        EARLY,
        |c, t, a| or_none(t, b"auto", |t| parse::signal(t)
            .filter(|&n| parse::real_time(n)))?,
        |c| c
            .signal
            .is_none_or(|n| parse::real_time(n) && c.leaks.signal != Some(n)),
        signal
    ),
    opt!(
        "DUNEGC_STOP_TIMEOUT",
        "How long a collection waits for all threads to stop before it is given up",
        "milliseconds from 1 to 86400000",
        "1000",
        LATE,
        |c, t, a| parse::integer(t, 1, DAY_MS.into())? as u32,
        |c| (1..=DAY_MS).contains(&c.stop_timeout_ms),
        stop_timeout_ms
    ),
    opt!(
        "DUNEGC_ON_ERROR",
        "After a double free, or a free of a foreign or interior pointer: end the process, or ignore the call",
        "abort or warn",
        "abort",
        LATE,
        |c, t, a| match t {
            b"abort" => OnError::Abort,
            b"warn" => OnError::Warn,
            _ => return None,
        },
        |_c| true,
        on_error
    ),
    opt!(
        "DUNEGC_RECLAIM_ONLY",
        "Modules whose lost blocks mode reclaim may free; blocks that other modules allocated stay",
        "* or a comma-separated list of module names (shorter than 2048 bytes)",
        "*",
        EARLY,
        |c, t, a| or_none(t, b"*", |t| parse::path(t).and_then(|t| a.keep(t)))?,
        |c| c.reclaim_only.is_none_or(|t| parse::path(t).is_some()),
        reclaim_only
    ),
    opt!(
        "DUNEGC_LEAKS_EXITCODE",
        "Exit status of the process when mode leaks found leaks",
        "none or an exit status from 1 to 255",
        "none",
        LATE,
        |c, t, a| or_none(t, b"none", |t| Some(parse::integer(t, 1, 255)? as u8))?,
        |c| c.leaks.exit_code != Some(0),
        leaks.exit_code
    ),
    opt!(
        "DUNEGC_LEAKS_FILE",
        "File for the report of mode leaks; %p in it stands for the process id",
        "stderr or a path (shorter than 2048 bytes)",
        "stderr",
        LATE,
        |c, t, a| or_none(t, b"stderr", |t| a.keep(parse::path(t)?))?,
        |c| c.leaks.file.is_none_or(|p| parse::path(p).is_some()),
        leaks.file
    ),
    opt!(
        "DUNEGC_LEAKS_SIGNAL",
        "Signal that asks mode leaks for a report while the program runs",
        "none or the number of a signal that a program may handle (not 4-8, 9, 11, 18, 19, 32, 33)",
        "none",
        EARLY,
        |c, t, a| or_none(t, b"none", parse::signal)?,
        |c| c.leaks.signal.is_none_or(parse::handleable),
        leaks.signal
    ),
    opt!(
        "DUNEGC_LEAKS_DEPTH",
        "Stack frames recorded per allocation in mode leaks",
        "a number of stack frames from 1 to 64",
        "16",
        EARLY,
        |c, t, a| parse::integer(t, 1, 64)? as u8,
        |c| (1..=64).contains(&c.leaks.depth),
        leaks.depth
    ),
    opt!(
        "DUNEGC_LOG",
        "Lines on stderr about the collector's work",
        "0 (problems), gc or 1 (a line per collection) or 2 (decisions too)",
        "0",
        LATE,
        |c, t, a| if t == b"gc" {
            1
        } else {
            parse::integer(t, 0, 2)? as u8
        },
        |c| c.log <= 2,
        log
    ),
    opt!(
        "DUNEGC_TRACE",
        "File for a trace of the collections in the trace-event format (Perfetto, chrome://tracing); %p in it stands for the process id",
        "none or a path (shorter than 2048 bytes)",
        "none",
        EARLY,
        |c, t, a| or_none(t, b"none", |t| a.keep(parse::path(t)?))?,
        |c| c.trace.is_none_or(|p| parse::path(p).is_some()),
        trace
    ),
    opt!(
        "DUNEGC_ZEAL",
        "For tests: collect at every n-th allocation",
        "a number of allocations from 0 (off) to 4294967295",
        "0",
        LATE,
        |c, t, a| parse::integer(t, 0, u32::MAX.into())? as u32,
        |_c| true,
        zeal
    ),
    opt!(
        "DUNEGC_ZEAL_PHASES",
        "For tests: collections beside the program wait, stop, ask for written pages and fail at random points",
        "a seed from 0 (off) to 4294967295",
        "0",
        LATE,
        |c, t, a| parse::integer(t, 0, u32::MAX.into())? as u32,
        |_c| true,
        zeal_phases
    ),
];

impl Opt {
    /// The option of a variable.
    pub fn find(name: &[u8]) -> Option<&'static Opt> {
        OPTIONS.iter().find(|o| o.name.as_bytes() == name)
    }

    /// `config` has the default here.
    pub fn is_default(&self, config: &Config) -> bool {
        (self.same)(config, &Config::DEFAULT)
    }

    /// The value that `config` has here, displayed as the variable takes it.
    pub fn value<'c>(&'static self, config: &'c Config) -> impl fmt::Display + use<'c> {
        OptionValue {
            option: self,
            config,
        }
    }

    /// Checks one value, as the variable takes it. Allocates nothing, changes nothing.
    ///
    /// # Errors
    /// The value is refused; the error names what is expected.
    pub fn check(&self, value: &[u8]) -> Result<(), ConfigError> {
        let accepted = (self.set)(&mut { Config::DEFAULT }, value, &mut Arena::CheckOnly);
        accepted.ok_or_else(|| ConfigError::new(self.name, value.escape_ascii(), self.expected))
    }

    /// Gives `config` the default of this option.
    pub(super) fn reset(&self, config: &mut Config) {
        // Defaults keep no text and are always accepted.
        let _ = (self.set)(config, self.default.as_bytes(), &mut Arena::CheckOnly);
    }
}

impl Config {
    /// Every option is in range and compatible with the others.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match OPTIONS.iter().find(|o| !(o.valid)(self)) {
            Some(o) => Err(ConfigError::new(o.name, o.value(self), o.expected)),
            None => Ok(()),
        }
    }
}
