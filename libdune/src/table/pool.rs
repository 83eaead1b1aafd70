//! Memory for page tables: one aligned chunk of addresses, filled step by step with pages that stay resident.

use crate::arch::address::{PAGE, Range};
use crate::arch::pte::Entry;
use crate::error::Error;
use crate::gpa::CHUNK;
use crate::sys::Mapping;

/// Bytes that become resident at a time.
pub const STEP: u64 = 1 << 20;

/// One table. Its frame is a page of the pool.
pub type Table = [Entry; crate::arch::address::ENTRIES];

/// The memory of all tables of a guest.
pub struct Pool {
    memory: Mapping,
    /// Bytes that are resident, and bytes handed out.
    ready: u64,
    used: u64,
    locked: bool,
}

impl Pool {
    /// A pool with one step ready.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Pool, Error> {
        let mut pool = Pool {
            memory: Mapping::aligned(CHUNK, CHUNK)?,
            ready: 0,
            used: 0,
            locked: true,
        };
        pool.grow()?;
        Ok(pool)
    }

    /// The addresses that tables lie at.
    pub fn range(&self) -> Range {
        Range::covering(self.memory.start(), self.memory.start() + self.memory.len())
    }

    /// Makes one more step resident and returns its addresses.
    ///
    /// # Errors
    /// [`Error::TablesFull`] at the end of the chunk or of memory.
    pub fn grow(&mut self) -> Result<Range, Error> {
        if self.ready == self.memory.len() {
            return Err(Error::TablesFull);
        }
        let locked = self
            .memory
            .populate(self.ready, STEP)
            .map_err(|_| Error::TablesFull)?;
        self.locked &= locked;
        let start = self.memory.start() + self.ready;
        self.ready += STEP;
        Ok(Range::covering(start, start + STEP))
    }

    /// Tables that can be taken without growing.
    pub fn left(&self) -> u64 {
        (self.ready - self.used) / PAGE
    }

    /// A table of empty entries, by its address. It is never given back.
    ///
    /// # Errors
    /// [`Error::TablesFull`] if no step is left.
    pub fn take(&mut self) -> Result<u64, Error> {
        if self.left() == 0 {
            return Err(Error::TablesFull);
        }
        let at = self.memory.start() + self.used;
        self.used += PAGE;
        Ok(at)
    }

    /// Bytes resident.
    pub fn bytes(&self) -> u64 {
        self.ready
    }

    /// Whether all of it is locked in memory (RLIMIT_MEMLOCK allows it). It works without, with page faults of the kernel's.
    pub fn locked(&self) -> bool {
        self.locked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_distinct_zero_pages_of_the_chunk() {
        let mut pool = Pool::new().expect("memory");
        let mut last = 0;
        for _ in 0..STEP / PAGE {
            let at = pool.take().expect("a table");
            assert!(at > last && at.is_multiple_of(PAGE) && pool.range().contains(at));
            // SAFETY: a fresh page of the pool.
            assert_eq!(unsafe { *(at as *const [u64; 512]) }, [0; 512]);
            last = at;
        }
        assert_eq!(pool.take(), Err(Error::TablesFull));
        let step = pool.grow().expect("memory");
        assert_eq!((step.start, step.end), (last + PAGE, last + PAGE + STEP));
        assert_eq!(pool.take(), Ok(last + PAGE));
        assert_eq!(pool.bytes(), 2 * STEP);
    }

    #[test]
    fn the_chunk_is_aligned() {
        let pool = Pool::new().expect("memory");
        assert_eq!(pool.range().start % CHUNK, 0);
        assert_eq!(pool.range().end - pool.range().start, CHUNK);
    }
}
