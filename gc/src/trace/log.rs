//! The line per collection.

use super::{Counter, counter};
use crate::config;
use core::fmt;

/// One collection, when it is over. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct CycleSummary {
    /// Counts the collections from 1.
    pub number: u64,
    /// Why it was started, one word: `growth`, `explicit`, `limit`.
    pub why: &'static str,
    /// From its first phase to its last; sweeping that goes on in the background is not part of it.
    pub duration_ns: u64,
    /// How often the world was stopped.
    pub stops: u32,
    /// All stops together, from the first signal to the last thread resumed.
    pub stop_ns: u64,
    /// The longest of them.
    pub stop_max_ns: u64,
    /// Bytes reachable.
    pub marked_bytes: u64,
    /// Objects reachable.
    pub marked_objects: u64,
    /// Bytes in collected objects when it began.
    pub before_bytes: u64,
    /// Bytes of the blocks in use.
    pub heap_bytes: u64,
    /// Bytes of free blocks that have storage.
    pub free_bytes: u64,
    /// Pages harvested from the dirty source.
    pub dirty_pages: u64,
    /// Harvests.
    pub harvests: u32,
    /// Threads that marked.
    pub markers: u32,
}

impl CycleSummary {
    /// Bytes found unreachable.
    pub fn freed_bytes(&self) -> u64 {
        self.before_bytes.saturating_sub(self.marked_bytes)
    }
}

impl fmt::Display for CycleSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gc cycle={} why={} duration_ns={} stops={} stop_ns={} stop_max_ns={} marked_bytes={} marked_objects={} \
             freed_bytes={} before_bytes={} after_bytes={} heap_bytes={} dirty_pages={} harvests={} markers={}",
            self.number,
            self.why,
            self.duration_ns,
            self.stops,
            self.stop_ns,
            self.stop_max_ns,
            self.marked_bytes,
            self.marked_objects,
            self.freed_bytes(),
            self.before_bytes,
            self.marked_bytes,
            self.heap_bytes,
            self.dirty_pages,
            self.harvests,
            self.markers,
        )
    }
}

/// A collection is over: reports the sizes, and logs it if the log level asks for it. World running.
pub fn cycle_done(cycle: &CycleSummary) {
    counter(Counter::Collected, cycle.marked_bytes);
    counter(Counter::Heap, cycle.heap_bytes);
    counter(Counter::Free, cycle.free_bytes);
    if config::get().log >= 1 {
        log(cycle);
    }
}

#[cold]
fn log(cycle: &CycleSummary) {
    crate::message!("{cycle}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_longest_line_fits() {
        let n = u64::MAX;
        let line = CycleSummary {
            number: n,
            why: "explicit",
            duration_ns: n,
            stops: u32::MAX,
            stop_ns: n,
            stop_max_ns: n,
            marked_bytes: n,
            marked_objects: n,
            before_bytes: n,
            heap_bytes: n,
            free_bytes: n,
            dirty_pages: n,
            harvests: u32::MAX,
            markers: u32::MAX,
        }
        .to_string();
        assert!(line.len() + "dunegc: [-2147483648] \n".len() < crate::sys::out::LINE);
        let fields: std::vec::Vec<&str> = line
            .split(' ')
            .skip(1)
            .map(|field| field.split_once('=').unwrap().0)
            .collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tracing.md");
        let text = std::fs::read_to_string(path).unwrap();
        let table = text.split("| key | meaning |").nth(1).unwrap();
        let documented: std::vec::Vec<&str> = table
            .lines()
            .skip(2)
            .map_while(|l| l.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(fields, documented);
    }

    #[test]
    fn freed_is_what_is_gone() {
        let c = CycleSummary {
            before_bytes: 10,
            marked_bytes: 4,
            ..CycleSummary::default()
        };
        assert_eq!(c.freed_bytes(), 6);
        let grown = CycleSummary {
            before_bytes: 3,
            ..c
        };
        assert_eq!(grown.freed_bytes(), 0);
    }
}
