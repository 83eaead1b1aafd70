//! Values written the way their variables take them.

use super::{Config, Dirty, Generational, HugePages, Mode, OnError, Opt, StatsSink};
use core::fmt;

/// A value of some option.
pub(super) trait Show {
    /// Writes the value; `absent` stands for none.
    fn show(&self, f: &mut fmt::Formatter<'_>, absent: &str) -> fmt::Result;
}

/// Displays the value of one option in one configuration.
pub(super) struct OptionValue<'c> {
    pub option: &'static Opt,
    pub config: &'c Config,
}

impl fmt::Display for OptionValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Where a value may be absent, its absence is the default; decay is the exception.
        let absent = if self.option.name == "DUNEGC_DECAY" {
            "-1"
        } else {
            self.option.default
        };
        (self.option.show)(self.config, f, absent)
    }
}

macro_rules! show_number {
    ($($t:ty)*) => { $(impl Show for $t {
        fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    })* };
}
show_number!(u8 u32 i32 usize);

impl Show for &[u8] {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        fmt::Display::fmt(&self.escape_ascii(), f)
    }
}

impl Show for bool {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        f.write_str(if *self { "yes" } else { "no" })
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self, f: &mut fmt::Formatter<'_>, absent: &str) -> fmt::Result {
        match self {
            Some(v) => v.show(f, absent),
            None => f.write_str(absent),
        }
    }
}

impl Show for Mode {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        f.write_str(match self {
            Mode::Malloc => "malloc",
            Mode::Reclaim => "reclaim",
            Mode::Leaks => "leaks",
        })
    }
}

impl Show for OnError {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        f.write_str(match self {
            OnError::Abort => "abort",
            OnError::Warn => "warn",
        })
    }
}

impl Show for HugePages {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        f.write_str(match self {
            HugePages::Auto => "auto",
            HugePages::On => "on",
            HugePages::Off => "off",
        })
    }
}

impl Show for Generational {
    fn show(&self, f: &mut fmt::Formatter, _: &str) -> fmt::Result {
        f.write_str(match self {
            Generational::Auto => "auto",
            Generational::Yes => "yes",
            Generational::No => "no",
        })
    }
}

impl Show for Dirty {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        f.write_str(match self {
            Dirty::Auto => "auto",
            Dirty::Dune => "dune",
            Dirty::DuneWp => "dune-wp",
            Dirty::PagemapScan => "pagemap-scan",
            Dirty::SoftDirty => "soft-dirty",
            Dirty::Mprotect => "mprotect",
            Dirty::None => "none",
        })
    }
}

impl Show for StatsSink {
    fn show(&self, f: &mut fmt::Formatter<'_>, _: &str) -> fmt::Result {
        match self {
            StatsSink::None => f.write_str("0"),
            StatsSink::Stderr => f.write_str("1"),
            StatsSink::Json(p) => write!(f, "json:{}", p.escape_ascii()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "")
    }
}
