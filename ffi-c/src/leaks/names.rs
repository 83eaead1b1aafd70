//! Lines of symbols already looked up, shared by a process and all that it forks: reading debug information takes a good part of
//! a second, and every child that reports needs much the same lines.
//!
//! The key is the place in the module's file, not the address, so it means the same in every process. The table only grows; an
//! entry is written whole and then linked to its bucket. Others write to it too, even after they have dropped privileges: whatever
//! is read from it is checked before it is used.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

use gc::roots;

/// Bytes of the table; storage is used as lines come.
const SIZE: u32 = 4 << 20;
const BUCKETS: u32 = 4096;
/// Bytes of an entry in front of its text: next entry, length of the key, length of the lines.
const HEADER: u32 = 12;
/// Entries of one bucket that are looked at.
const CHAIN: usize = 64;

/// The table: in its first words the end of what is used and the buckets, entries behind.
static BASE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// Maps the table. Without memory for it every process looks for itself.
pub fn start() {
    // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
    let p = unsafe {
        libc::mmap(
            ptr::null_mut(),
            SIZE as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return;
    }
    // Text is no pointer; without the note the table is scanned in vain.
    let _ = roots::exclude(p as usize, p as usize + SIZE as usize);
    let table = Table(p.cast());
    table.word(0).store((1 + BUCKETS) * 4, Ordering::Relaxed);
    BASE.store(p.cast(), Ordering::Release);
}

/// The lines stored under `key`.
pub fn get(key: &str) -> Option<Vec<String>> {
    let lines = Table::open()?.find(key.as_bytes())?;
    let text = String::from_utf8_lossy(&lines).into_owned();
    Some(text.split('\n').map(str::to_owned).collect())
}

/// Stores lines under `key`, if there is room.
pub fn put(key: &str, lines: &[String]) {
    if let Some(table) = Table::open() {
        table.insert(key.as_bytes(), lines.join("\n").as_bytes());
    }
}

/// The mapping, of `SIZE` bytes; written by several processes.
#[derive(Clone, Copy)]
struct Table(*mut AtomicU32);

impl Table {
    fn open() -> Option<Table> {
        let p = BASE.load(Ordering::Acquire);
        (!p.is_null()).then_some(Table(p))
    }

    /// The word at byte `at`.
    fn word(&self, at: u32) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at < SIZE);
        // SAFETY: the word lies in the mapping, which stays for good.
        unsafe { &*self.0.byte_add(at as usize) }
    }

    /// `len` bytes from byte `at`, if they lie in the table.
    fn bytes(&self, at: u32, len: u32) -> Option<&[AtomicU8]> {
        let end = at.checked_add(len)?;
        // SAFETY: the bytes lie in the mapping, which stays for good.
        (end <= SIZE).then(|| unsafe {
            core::slice::from_raw_parts(self.0.cast::<AtomicU8>().add(at as usize), len as usize)
        })
    }

    fn bucket(&self, key: &[u8]) -> &AtomicU32 {
        // FNV-1a, 32 bits.
        let hash = key.iter().fold(0x811c_9dc5_u32, |h, &b| {
            (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
        });
        self.word(4 + (hash ^ hash >> 16) % BUCKETS * 4)
    }

    fn find(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut at = self.bucket(key).load(Ordering::Acquire);
        for _ in 0..CHAIN {
            if at == 0 || !at.is_multiple_of(4) || at > SIZE - HEADER {
                return None;
            }
            let [next, key_len, lines_len] =
                [0, 4, 8].map(|field| self.word(at + field).load(Ordering::Relaxed));
            let text = at + HEADER;
            let found = self.bytes(text, key_len)?;
            if found.len() == key.len()
                && found
                    .iter()
                    .zip(key)
                    .all(|(a, b)| a.load(Ordering::Relaxed) == *b)
            {
                let lines = self.bytes(text + key_len, lines_len)?;
                return Some(lines.iter().map(|b| b.load(Ordering::Relaxed)).collect());
            }
            at = next;
        }
        None
    }

    fn insert(&self, key: &[u8], lines: &[u8]) {
        let size = (HEADER as usize + key.len() + lines.len()).next_multiple_of(4);
        if size > SIZE as usize / 16 {
            return;
        }
        let at = self.word(0).fetch_add(size as u32, Ordering::Relaxed);
        let Some(text) = at
            .checked_add(HEADER)
            .filter(|_| at.is_multiple_of(4) && at <= SIZE - size as u32)
            .and_then(|text| self.bytes(text, size as u32 - HEADER))
        else {
            self.word(0).fetch_sub(size as u32, Ordering::Relaxed);
            return;
        };
        for (byte, &b) in text.iter().zip(key.iter().chain(lines)) {
            byte.store(b, Ordering::Relaxed);
        }
        self.word(at + 4).store(key.len() as u32, Ordering::Relaxed);
        self.word(at + 8)
            .store(lines.len() as u32, Ordering::Relaxed);
        let bucket = self.bucket(key);
        let mut head = bucket.load(Ordering::Relaxed);
        loop {
            self.word(at).store(head, Ordering::Relaxed);
            match bucket.compare_exchange_weak(head, at, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }
}
