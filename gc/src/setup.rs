//! What the heap takes from the configuration, in its own units.

use crate::config::{self, HugePages, Mode};

/// Settings fixed when the heap is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// malloc'ed memory is collected (mode `reclaim`).
    pub collect_malloc: bool,
    /// Objects carry tags (mode `leaks`).
    pub tags: bool,
    /// Ask for huge pages once the heap is large.
    pub huge_pages: bool,
    /// Limit of blocks in use, in bytes.
    pub max_heap: usize,
    /// Milliseconds until free storage goes back; `u64::MAX`: never.
    pub decay_ms: u64,
    /// Collect at every n-th allocation; 0: when needed.
    pub zeal: u32,
}

/// The settings of the configuration in force.
pub fn settings() -> Settings {
    let c = config::get();
    Settings {
        collect_malloc: c.mode == Mode::Reclaim,
        tags: c.mode == Mode::Leaks,
        huge_pages: c.huge_pages != HugePages::Off,
        max_heap: c.max_heap.unwrap_or(usize::MAX),
        decay_ms: c.decay_ms.map_or(u64::MAX, u64::from),
        zeal: c.zeal,
    }
}
