//! Ranges that the program adds and removes. A range is a set of addresses: adding overlapping ranges joins them, removing
//! cuts and splits, as Boehm's GC_add_roots and GC_remove_roots do.
use super::plan::Plan;
use super::ranges::RangeSet;
use crate::sys::raw::Errno;
use crate::world::with_lock;
use core::cell::UnsafeCell;

/// The tables, and what an enumeration needs besides; all memory of their own.
pub(super) struct Tables {
    pub roots: RangeSet,
    pub excluded: RangeSet,
    pub plan: Plan,
}

struct Guarded(UnsafeCell<Tables>);
// SAFETY: only reached through `tables`, with the world lock held.
unsafe impl Sync for Guarded {}

static TABLES: Guarded = Guarded(UnsafeCell::new(Tables {
    roots: RangeSet::new(),
    excluded: RangeSet::new(),
    plan: Plan::new(),
}));

/// The tables, for a caller that holds the world lock.
///
/// # Safety
/// The world lock is held (a `StoppedWorld` exists, or inside `with_lock`) and no other reference is in use.
#[allow(clippy::mut_from_ref)]
pub(super) unsafe fn tables() -> &'static mut Tables {
    // SAFETY: exclusive by the caller's promise.
    unsafe { &mut *TABLES.0.get() }
}

/// Counts `lo..hi` among the roots, in every mode.
pub fn add(lo: usize, hi: usize) -> Result<(), OutOfMemory> {
    // SAFETY: inside `with_lock`.
    with_lock(|| unsafe { tables() }.roots.add(lo, hi)).map_err(OutOfMemory::from)
}

/// `addr` lies in what [`add`] registered.
pub fn is_registered(addr: usize) -> bool {
    // SAFETY: inside `with_lock`.
    with_lock(|| unsafe { tables() }.roots.contains(addr))
}

/// Takes `lo..hi` out of what [`add`] registered. Memory that counts anyway still does: see [`exclude`].
pub fn remove(lo: usize, hi: usize) -> Result<(), OutOfMemory> {
    // SAFETY: inside `with_lock`.
    with_lock(|| unsafe { tables() }.roots.remove(lo, hi)).map_err(OutOfMemory::from)
}

/// Leaves `lo..hi` out when data segments and mappings are enumerated. Stacks, registers and [`add`]ed ranges count even so.
pub fn exclude(lo: usize, hi: usize) -> Result<(), OutOfMemory> {
    // SAFETY: inside `with_lock`.
    with_lock(|| unsafe { tables() }.excluded.add(lo, hi)).map_err(OutOfMemory::from)
}

/// Undoes [`exclude`].
pub fn include(lo: usize, hi: usize) -> Result<(), OutOfMemory> {
    // SAFETY: inside `with_lock`.
    with_lock(|| unsafe { tables() }.excluded.remove(lo, hi)).map_err(OutOfMemory::from)
}

/// The kernel refused memory for the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<Errno> for OutOfMemory {
    fn from(_: Errno) -> Self {
        OutOfMemory
    }
}
