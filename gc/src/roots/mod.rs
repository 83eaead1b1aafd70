//! Where pointers into the heap may lie outside of it: stacks, registers, thread-local storage, data segments, other
//! writable memory, and what the program registered.
mod classify;
mod enumerate;
#[doc(hidden)]
pub mod kernel;
mod plan;
mod ranges;
mod read;
mod registered;

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::*};
pub use enumerate::{RootsError, enumerate};
pub use plan::is_in_segment;
pub use registered::{OutOfMemory, add, exclude, include, is_registered, remove};

/// A stretch of memory to scan conservatively, word by word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootRange {
    /// First address; need not be aligned.
    pub lo: usize,
    /// Address behind.
    pub hi: usize,
    /// What it is.
    pub kind: RootKind,
    /// The range is a copy that lives until `emit` returns: scan it at once. (Memory that might fault when read.)
    pub transient: bool,
}

/// What a root range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootKind {
    /// The part of a thread's stack in use.
    Stack,
    /// `lo` is the stack or thread pointer of a thread whose stack lies in an excluded range, with unknown bounds: the
    /// object that contains `lo` is to be marked, as if a root pointed to it. `hi` is `lo + 1`.
    StackObject,
    /// Saved registers of a thread.
    Registers,
    /// The mapping that a thread pointer leads to.
    Tls,
    /// A data segment of a loaded object, or another private file mapping.
    Data,
    /// Other writable memory.
    Mapping,
    /// Registered by [`add`].
    Registered,
}

/// Which memory counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mappings {
    /// All readable and writable memory, and read-only memory without a file.
    #[default]
    All,
    /// Data segments of loaded objects (private file mappings and their memory that directly follows them), stacks, thread
    /// control blocks with their static TLS, registered ranges.
    SegmentsOnly,
    /// As `SegmentsOnly` without the data segments.
    RegisteredOnly,
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Chooses which memory counts in collections from the next one on.
pub fn set_mappings(mappings: Mappings) {
    CHOSEN.store(mappings as u8, Relaxed);
}

/// Says of an address in a loaded object where that ends, `None` elsewhere. Called with the world stopped.
pub type ObjectEnd = fn(usize) -> Option<usize>;

static OBJECT_END: AtomicUsize = AtomicUsize::new(0);

/// Tells segments from other memory that happens to lie behind them. Without it all that follows a file mapping counts.
pub fn set_object_end(f: ObjectEnd) {
    OBJECT_END.store(f as usize, Release);
}

/// What [`set_object_end`] set.
fn object_end() -> Option<ObjectEnd> {
    // SAFETY: null or a function of this type, stored above; an Option of a function has null as None.
    unsafe { core::mem::transmute::<usize, Option<ObjectEnd>>(OBJECT_END.load(Acquire)) }
}

/// What [`set_mappings`] chose.
pub(crate) fn chosen() -> RootsConfig {
    RootsConfig {
        mappings: match CHOSEN.load(Relaxed) {
            0 => Mappings::All,
            1 => Mappings::SegmentsOnly,
            _ => Mappings::RegisteredOnly,
        },
    }
}

/// What [`enumerate`] hands out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RootsConfig {
    /// Which memory counts.
    pub mappings: Mappings,
}
