//! Kinds of objects: who ends their life, and whether they can hold pointers.

/// What the collector does with an object. The values index per-thread caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// malloc'ed: ended by `free`. A root in mode `malloc`; collected after two unreachable cycles in mode `reclaim`.
    Malloc = 0,
    /// Collected, scanned conservatively.
    Scan = 1,
    /// Collected, never scanned: holds no pointers.
    Atomic = 2,
    /// Ended by `free` only, scanned as a root in every mode.
    Uncollectable = 3,
    /// Ended by `free` only, never scanned.
    AtomicUncollectable = 4,
}

/// Number of kinds.
pub const KINDS: usize = 5;

impl Kind {
    /// The kind with value `v % 8`; values above the last kind are `AtomicUncollectable`.
    #[inline(always)]
    pub const fn from_u8(v: u8) -> Kind {
        const ALL: [Kind; 8] = [
            Kind::Malloc,
            Kind::Scan,
            Kind::Atomic,
            Kind::Uncollectable,
            Kind::AtomicUncollectable,
            Kind::AtomicUncollectable,
            Kind::AtomicUncollectable,
            Kind::AtomicUncollectable,
        ];
        ALL[(v & 7) as usize]
    }

    /// Objects of this kind can hold pointers.
    #[inline]
    pub const fn is_scanned(self) -> bool {
        !matches!(self, Kind::Atomic | Kind::AtomicUncollectable)
    }
}
