//! Kinds of objects: who ends their life, and whether and how references are found in them.

/// What the collector does with an object. The values index per-thread caches. Besides the constants there are the kinds that
/// [`crate::kinds::new`] makes: collected, and scanned by a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Kind(u8);

/// Most kinds.
pub const KINDS: usize = 24;
/// Bits of a kind.
pub const KIND_BITS: u32 = 5;
const _: () = assert!(KINDS <= 1 << KIND_BITS);

/// Number of the constants of [`Kind`].
pub const BUILT_IN: usize = 5;

#[allow(non_upper_case_globals)]
impl Kind {
    /// malloc'ed: ended by `free`. A root in mode `malloc`; collected after two unreachable cycles in mode `reclaim`.
    pub const Malloc: Kind = Kind(0);
    /// Collected, scanned conservatively.
    pub const Scan: Kind = Kind(1);
    /// Collected, never scanned: holds no pointers.
    pub const Atomic: Kind = Kind(2);
    /// Ended by `free` only, scanned as a root in every mode.
    pub const Uncollectable: Kind = Kind(3);
    /// Ended by `free` only, never scanned.
    pub const AtomicUncollectable: Kind = Kind(4);
}

impl Kind {
    /// The kind with index `i`. Panics if that is not below [`KINDS`].
    #[inline(always)]
    pub const fn from_index(i: usize) -> Kind {
        assert!(i < KINDS);
        Kind(i as u8)
    }

    /// The kind with index `bits`.
    ///
    /// # Safety
    /// `bits` is the index of a kind.
    #[inline(always)]
    pub(crate) const unsafe fn from_bits(bits: u8) -> Kind {
        Kind(bits)
    }

    /// Its index, below [`KINDS`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Position of its bit in sets of kinds.
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        self.0 as u32
    }

    /// Objects of this kind can hold pointers.
    #[inline(always)]
    pub const fn is_scanned(self) -> bool {
        const UNSCANNED: u32 = 1 << Kind::Atomic.0 | 1 << Kind::AtomicUncollectable.0;
        UNSCANNED >> self.0 & 1 == 0
    }

    /// References are found by a descriptor; otherwise every word of the object may be one, or none.
    #[inline(always)]
    pub const fn is_described(self) -> bool {
        self.0 as usize >= BUILT_IN
    }
}

impl core::fmt::Debug for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const NAMES: [&str; BUILT_IN] = [
            "Malloc",
            "Scan",
            "Atomic",
            "Uncollectable",
            "AtomicUncollectable",
        ];
        match NAMES.get(self.index()) {
            Some(name) => f.write_str(name),
            None => write!(f, "Described({})", self.0),
        }
    }
}
