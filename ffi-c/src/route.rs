//! Which way an allocation goes: straight to the heap, or through the work of a mode.

use core::sync::atomic::{AtomicU8, Ordering};

/// Nothing was allocated yet; the first allocation decides.
const UNDECIDED: u8 = 1;
/// Straight to the heap.
const DIRECT: u8 = 0;
/// Every allocation's stack is recorded.
const LEAKS: u8 = 2;
/// The allocating module decides about reclaiming.
const BY_MODULE: u8 = 4;

static ROUTE: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Something has to be done besides allocating.
#[inline(always)]
pub fn is_slow() -> bool {
    ROUTE.load(Ordering::Relaxed) != DIRECT
}

/// No allocation was made yet.
pub fn is_undecided() -> bool {
    ROUTE.load(Ordering::Relaxed) & UNDECIDED != 0
}

/// Allocation stacks are recorded (mode `leaks`).
pub fn records_stacks() -> bool {
    ROUTE.load(Ordering::Relaxed) & LEAKS != 0
}

/// Allocations of some modules are exempt from reclaiming.
pub fn is_by_module() -> bool {
    ROUTE.load(Ordering::Relaxed) & BY_MODULE != 0
}

/// Ends the undecided state.
pub fn decide(leaks: bool, by_module: bool) {
    let route = if leaks { LEAKS } else { 0 } | if by_module { BY_MODULE } else { 0 };
    ROUTE.store(route, Ordering::Relaxed);
}
