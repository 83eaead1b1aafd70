//! Growable vectors in their own mapping, for code that must not allocate.
//!
//! Every mapping is listed in a small table, so that root enumeration can leave it out.
use super::raw::{Errno, syscall};
use core::sync::atomic::{AtomicUsize, Ordering::*};

const SLOTS: usize = 64;
/// (start, end) of each scratch mapping; start 0 = free slot.
static MAPPED: [(AtomicUsize, AtomicUsize); SLOTS] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; SLOTS];

/// Address space for the tables of one collection.
const SPARE_LEN: usize = 1 << 20;
/// Where it is kept; 0: nowhere.
static SPARE: AtomicUsize = AtomicUsize::new(0);

/// Keeps some address space, no memory, for the time when the program has used up all that it may have (`RLIMIT_AS`): a collection needs
/// tables then, too. Without effect if it is kept already, or there is none.
pub fn keep_spare() {
    if SPARE.load(Relaxed) == 0
        && let Ok(p) = anonymous(SPARE_LEN, libc::PROT_NONE)
        && SPARE.compare_exchange(0, p, AcqRel, Relaxed).is_err()
    {
        unmap(p);
    }
}

/// Gives back what [`keep_spare`] keeps; false if it keeps nothing.
pub fn give_spare() -> bool {
    let p = SPARE.swap(0, AcqRel);
    if p != 0 {
        unmap(p);
    }
    p != 0
}

/// Unmaps address space that was to be kept.
fn unmap(p: usize) {
    // SAFETY: the mapping is ours, inaccessible, and in no variable any more.
    let _ = unsafe { syscall!(libc::SYS_munmap, p, SPARE_LEN) };
}

/// Tries again with the address space that was kept, if that is what is missing.
fn or_spare(call: impl Fn() -> Result<usize, Errno>) -> Result<usize, Errno> {
    match call() {
        Err(Errno(libc::ENOMEM)) if give_spare() => call(),
        result => result,
    }
}

fn anonymous(len: usize, rights: i32) -> Result<usize, Errno> {
    // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice overlaps nothing.
    unsafe {
        syscall!(
            libc::SYS_mmap,
            0,
            len,
            rights,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1isize,
            0
        )
    }
}

/// Maps `len` zeroed bytes; not what is kept by [`keep_spare`].
pub fn map_unless_short(len: usize) -> Result<*mut u8, Errno> {
    let p = anonymous(len, libc::PROT_READ | libc::PROT_WRITE)?;
    note(0, p, p + len);
    Ok(p as *mut u8)
}

/// Maps `len` zeroed bytes.
pub fn map(len: usize) -> Result<*mut u8, Errno> {
    let p = or_spare(|| anonymous(len, libc::PROT_READ | libc::PROT_WRITE))?;
    note(0, p, p + len);
    Ok(p as *mut u8)
}

/// Replaces the entry that starts at `old` (0: takes a free slot).
fn note(old: usize, lo: usize, hi: usize) {
    for (start, end) in &MAPPED {
        if old != 0 && start.load(Acquire) == old
            || old == 0 && start.compare_exchange(0, 1, AcqRel, Acquire).is_ok()
        {
            end.store(hi, Release);
            start.store(lo, Release);
            return;
        }
    }
}

/// Calls `f(lo, hi)` for every scratch mapping.
pub fn for_each_mapping(mut f: impl FnMut(usize, usize)) {
    for (start, end) in &MAPPED {
        let lo = start.load(Acquire);
        if lo > 1 {
            f(lo, end.load(Acquire));
        }
    }
}

/// A vector of plain data in its own mapping. `const`-constructible; maps on the first push.
pub struct ScratchVec<T: Copy> {
    ptr: *mut T,
    len: usize,
    bytes: usize,
}

// SAFETY: the vector owns its mapping, and T is plain data when it is Send.
unsafe impl<T: Copy + Send> Send for ScratchVec<T> {}

impl<T: Copy> ScratchVec<T> {
    /// An empty vector without a mapping.
    pub const fn new() -> Self {
        ScratchVec {
            ptr: core::ptr::null_mut(),
            len: 0,
            bytes: 0,
        }
    }

    /// Makes room for `n` elements in all.
    pub fn reserve(&mut self, n: usize) -> Result<(), Errno> {
        let need = n.checked_mul(size_of::<T>()).ok_or(Errno(libc::ENOMEM))?;
        if need <= self.bytes {
            return Ok(());
        }
        let want = need.max(self.bytes * 2).next_multiple_of(4096).max(16384);
        if self.ptr.is_null() {
            self.ptr = map(want)?.cast();
        } else {
            let old = self.ptr as usize;
            // SAFETY: the mapping is ours, `bytes` long; nobody holds a reference into it, because `self` is borrowed mutably.
            let grow = || unsafe {
                syscall!(
                    libc::SYS_mremap,
                    old,
                    self.bytes,
                    want,
                    libc::MREMAP_MAYMOVE
                )
            };
            let p = or_spare(grow)?;
            note(old, p, p + want);
            self.ptr = p as *mut T;
        }
        self.bytes = want;
        Ok(())
    }

    /// Appends `v`.
    pub fn push(&mut self, v: T) -> Result<(), Errno> {
        self.reserve(self.len + 1)?;
        // SAFETY: `reserve` made room for element `len`; mappings are page-aligned, which covers T's alignment.
        unsafe { self.ptr.add(self.len).write(v) };
        self.len += 1;
        Ok(())
    }

    /// Inserts `v` before element `i`.
    pub fn insert(&mut self, i: usize, v: T) -> Result<(), Errno> {
        self.push(v)?;
        self[i..].rotate_right(1);
        Ok(())
    }

    /// Replaces elements `from..to` by nothing.
    pub fn remove_range(&mut self, from: usize, to: usize) {
        self.copy_within(to.., from);
        self.len -= to - from;
    }

    /// Keeps the first `n` elements.
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.remove_range(n, self.len());
        }
    }

    /// Takes the last element.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.last().copied()?;
        self.truncate(self.len() - 1);
        Some(last)
    }

    /// Forgets the elements, keeps the mapping.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Copy> Default for ScratchVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> core::ops::Deref for ScratchVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: the first `len` elements were written by `push`, the mapping lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl<T: Copy> core::ops::DerefMut for ScratchVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.ptr.is_null() {
            return &mut [];
        }
        // SAFETY: as in `deref`; `self` is borrowed mutably, so this is the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

impl<T: Copy> Drop for ScratchVec<T> {
    fn drop(&mut self) {
        if !self.ptr.is_null() {
            note(self.ptr as usize, 0, 0);
            // SAFETY: the mapping is ours and nothing refers to it any more.
            let _ = unsafe { syscall!(libc::SYS_munmap, self.ptr, self.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_moves_inserts_removes() {
        let mut v = ScratchVec::new();
        let mut model = std::vec::Vec::new();
        for i in 0..20_000usize {
            v.push(i * 3).unwrap();
            model.push(i * 3);
        }
        v.insert(7, 1).unwrap();
        model.insert(7, 1);
        v.remove_range(100, 15_000);
        model.drain(100..15_000);
        assert_eq!(&v[..], &model[..]);
        let (at, mut listed) = (v.as_ptr() as usize, false);
        for_each_mapping(|lo, hi| listed |= lo <= at && at < hi);
        assert!(listed);
        drop(v);
        for_each_mapping(|lo, hi| assert!(at < lo || at >= hi));
    }
}
