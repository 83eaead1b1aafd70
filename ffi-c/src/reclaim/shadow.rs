//! Addresses of blocks that were given to the kernel: a set that is a root.
//!
//! When the kernel is done with a block cannot be seen in general, so an address stays in the set for good: a block that the
//! kernel had once is freed by the program or not at all. The set holds an address once, so it is bounded by the number of
//! different blocks that ever went to the kernel.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use gc::{message, raw, roots};

/// A table of the chain, open addressing. The first word of the mapping is the number of slots, the second the number in use, the third
/// the next older table.
struct Table {
    slots: usize,
    used: AtomicUsize,
    older: *const Table,
}

const FIRST_BYTES: usize = 1 << 16;
/// What pointers to blocks look like once tags in the low and top bits are taken off.
const ADDRESS: usize = 0x0000_ffff_ffff_fff0;

static NEWEST: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());
static ON: AtomicBool = AtomicBool::new(false);
static GROWING: AtomicBool = AtomicBool::new(false);

/// From here on [`note`] takes notes.
pub fn start() {
    ON.store(true, Ordering::Relaxed);
}

/// A copy of the set is in the child; one that was growing in another thread grows anew.
pub fn after_fork_in_child() {
    GROWING.store(false, Ordering::Relaxed);
}

/// Notes are taken.
#[inline]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The kernel got `word`: if it may be a pointer to a block, that block stays.
pub fn note(word: usize) {
    let address = word & ADDRESS;
    if !is_on() || !raw::owns(address) {
        return;
    }
    loop {
        // SAFETY: tables stay mapped.
        if unsafe { NEWEST.load(Ordering::Acquire).as_ref() }
            .is_some_and(|t| t.older_has(address) || t.insert(address))
        {
            return;
        }
        if !grow() {
            return;
        }
    }
}

impl Table {
    fn slot(&self, i: usize) -> &AtomicUsize {
        // SAFETY: `slots` words follow the header in the mapping.
        unsafe {
            &*ptr::from_ref(self)
                .add(1)
                .cast::<AtomicUsize>()
                .add(i % self.slots)
        }
    }

    fn start(&self, address: usize) -> usize {
        ((address >> 4) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 20
    }

    /// False if the table is three quarters full.
    fn insert(&self, address: usize) -> bool {
        for i in self.start(address).. {
            let slot = self.slot(i);
            let there = slot.load(Ordering::Relaxed);
            if there == address {
                return true;
            }
            if there != 0 {
                continue;
            }
            if self.used.fetch_add(1, Ordering::Relaxed) >= self.slots / 4 * 3 {
                self.used.fetch_sub(1, Ordering::Relaxed);
                return false;
            }
            match slot.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => {
                    self.used.fetch_sub(1, Ordering::Relaxed);
                    if other == address {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// An older table of the chain has it.
    fn older_has(&self, address: usize) -> bool {
        // SAFETY: tables stay mapped.
        let mut table = unsafe { self.older.as_ref() };
        while let Some(t) = table {
            for i in t.start(address).. {
                match t.slot(i).load(Ordering::Relaxed) {
                    0 => break,
                    there if there == address => return true,
                    _ => {}
                }
            }
            // SAFETY: as above.
            table = unsafe { t.older.as_ref() };
        }
        false
    }
}

/// Puts a table of twice the size in front. False without memory.
fn grow() -> bool {
    if GROWING.swap(true, Ordering::Acquire) {
        // Another thread is at it.
        core::hint::spin_loop();
        return true;
    }
    let newest = NEWEST.load(Ordering::Acquire);
    // SAFETY: tables stay mapped.
    let bytes =
        unsafe { newest.as_ref() }.map_or(FIRST_BYTES, |t| (t.slots * 8).next_power_of_two() * 2);
    // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
    let p = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    let ok = p != libc::MAP_FAILED && roots::add(p as usize, p as usize + bytes).is_ok();
    if ok {
        let table = p.cast::<Table>();
        let slots = (bytes - size_of::<Table>()) / 8;
        // SAFETY: the mapping is fresh and larger than the header.
        unsafe {
            table.write(Table {
                slots,
                used: AtomicUsize::new(0),
                older: newest,
            })
        };
        NEWEST.store(table, Ordering::Release);
    } else {
        message!(
            "reclaim: no memory to note a block that only the kernel knows; it may be freed too early"
        );
    }
    GROWING.store(false, Ordering::Release);
    ok
}
