//! realloc: in place where the size class or the blocks allow it, else by a copy.

use super::block::Block;
use super::class::{self, SMALL_MAX};
use super::layout::BLOCK;
use super::{alloc, find, free};
use crate::raw::FreeError;
use crate::sys::mem::round_up;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// Resizes the object at `p`; see `crate::raw::realloc`.
///
/// # Safety
/// If the result is another address, nobody uses the old object afterwards.
pub unsafe fn realloc(p: *mut u8, size: usize) -> Result<*mut u8, FreeError> {
    let addr = p as usize;
    if super::layout::offset(addr).is_none() {
        return Err(FreeError::Foreign);
    }
    let slot = find::slot(addr).ok_or(FreeError::Interior(None))?;
    if slot.base != addr {
        return Err(FreeError::Interior(
            slot.is_allocated().then(|| slot.object()),
        ));
    }
    if !slot.is_allocated() {
        return Err(FreeError::DoubleFree(slot.object()));
    }
    if fits(&slot, size) {
        return Ok(p);
    }
    let kind = slot.info.kind();
    let new = alloc::alloc(kind, size, crate::raw::is_zeroed(kind));
    if new.is_null() {
        return Ok(new);
    }
    let n = slot.size.min(size);
    // SAFETY: both objects are at least `n` bytes long and distinct; the caller gives the old one up.
    unsafe {
        ptr::copy_nonoverlapping(p, new, n);
        free::free(p)?;
    }
    Ok(new)
}

/// Whether the object can stay where it is.
fn fits(slot: &find::Slot, size: usize) -> bool {
    if slot.info.is_small() {
        return size <= SMALL_MAX && class::of(size) == slot.info.class();
    }
    let blocks = |n: usize| n.div_ceil(BLOCK);
    if size > SMALL_MAX && blocks(size) == blocks(slot.size) {
        let new = round_up(size, 16);
        zero_growth(slot, new);
        let b: Block = slot.block;
        b.head().length.store(new as u64, Relaxed);
        return true;
    }
    false
}

/// What a zeroed object gains behind its old end is zeroed too.
fn zero_growth(slot: &find::Slot, new: usize) {
    if new > slot.size && crate::raw::is_zeroed(slot.info.kind()) {
        // SAFETY: the bytes from the old to the new end are in the object's own blocks, which are mapped.
        unsafe { ptr::write_bytes((slot.base + slot.size) as *mut u8, 0, new - slot.size) };
    }
}
