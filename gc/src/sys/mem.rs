//! Mapping and releasing memory.

use core::ptr;

/// Page size; x86_64 has no other base page.
pub const PAGE: usize = 4096;

/// Why memory could not be mapped at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Something else is mapped there.
    Taken,
    /// No memory, address space limit, or mapping refused; the errno.
    Refused(i32),
}

/// Maps `len` bytes (page multiple) read-write at exactly `addr`, which must be free.
pub fn map_at(addr: usize, len: usize) -> Result<(), MapError> {
    // SAFETY: MAP_FIXED_NOREPLACE never replaces an existing mapping, so no memory anyone uses is touched.
    let p = unsafe {
        libc::mmap(
            addr as *mut libc::c_void,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE
                | libc::MAP_ANONYMOUS
                | libc::MAP_NORESERVE
                | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        let e = errno();
        return Err(if e == libc::EEXIST {
            MapError::Taken
        } else {
            MapError::Refused(e)
        });
    }
    if p as usize != addr {
        // A kernel before 4.17 takes the address as a hint only.
        unmap(p as usize, len);
        return Err(MapError::Taken);
    }
    Ok(())
}

/// Maps `len` bytes (page multiple) of zeroed memory anywhere, not charged until touched. Null if refused.
pub fn map(len: usize) -> *mut u8 {
    // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
    let p = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        ptr::null_mut()
    } else {
        p.cast()
    }
}

/// Unmaps what [`map`] or [`map_at`] returned (or a page-aligned part).
pub fn unmap(addr: usize, len: usize) {
    // SAFETY: callers pass only ranges of the collector's own that nobody uses any more.
    unsafe { libc::munmap(addr as *mut libc::c_void, len) };
}

/// Gives the storage of a range back; it reads as zero afterwards. False if refused (mlocked): content unchanged.
pub fn discard(addr: usize, len: usize) -> bool {
    // SAFETY: callers pass only page-aligned ranges of blocks in which there is no object, so that nobody needs their content.
    unsafe { libc::madvise(addr as *mut libc::c_void, len, libc::MADV_DONTNEED) == 0 }
}

/// Asks for huge pages in a range; advice only.
pub fn advise_huge(addr: usize, len: usize) {
    // SAFETY: advice does not change content or protection.
    unsafe { libc::madvise(addr as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
}

/// Gives a range storage now. False if the kernel cannot (before Linux 5.14) or has no memory.
pub fn populate(addr: usize, len: usize) -> bool {
    const MADV_POPULATE_WRITE: libc::c_int = 23;
    // SAFETY: faults pages in as a write would, without changing their content.
    unsafe { libc::madvise(addr as *mut libc::c_void, len, MADV_POPULATE_WRITE) == 0 }
}

/// The calling thread's errno.
pub fn errno() -> i32 {
    // SAFETY: __errno_location returns the thread's own errno, always valid.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's errno.
pub fn set_errno(e: i32) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = e };
}

/// `n` rounded up to a multiple of `to`, a power of two.
pub const fn round_up(n: usize, to: usize) -> usize {
    (n + to - 1) & !(to - 1)
}
