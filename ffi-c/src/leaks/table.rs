//! A growing array in memory of its own, usable while the world is stopped.

use core::ptr;

/// Values of `T`, all zero bits being valid.
pub struct Table<T: Copy> {
    start: *mut T,
    len: usize,
    /// Bytes mapped, whole pages.
    bytes: usize,
}

impl<T: Copy> Table<T> {
    /// Empty; maps nothing.
    pub const fn new() -> Table<T> {
        Table {
            start: ptr::null_mut(),
            len: 0,
            bytes: 0,
        }
    }

    /// Appends; false without memory.
    pub fn push(&mut self, value: T) -> bool {
        if (self.len + 1) * size_of::<T>() > self.bytes && !self.grow() {
            return false;
        }
        // SAFETY: room for one more value is mapped.
        unsafe { self.start.add(self.len).write(value) };
        self.len += 1;
        true
    }

    /// The values.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.start.is_null() {
            return &mut [];
        }
        // SAFETY: `len` initialised values, borrowed exclusively through `self`.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }

    fn grow(&mut self) -> bool {
        let size = (self.bytes * 2).max(1 << 20);
        // SAFETY: a fresh mapping, or the move of one that only this table knows.
        let p = unsafe {
            if self.start.is_null() {
                libc::mmap(
                    ptr::null_mut(),
                    size,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            } else {
                libc::mremap(self.start.cast(), self.bytes, size, libc::MREMAP_MAYMOVE)
            }
        };
        if p == libc::MAP_FAILED {
            return false;
        }
        self.start = p.cast();
        self.bytes = size;
        true
    }
}

impl<T: Copy> Drop for Table<T> {
    fn drop(&mut self) {
        if !self.start.is_null() {
            // SAFETY: the mapping is this table's alone.
            unsafe { libc::munmap(self.start.cast(), self.bytes) };
        }
    }
}
