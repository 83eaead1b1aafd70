//! All allocation stacks seen, each once: a hash table in memory of its own that only grows.
//!
//! A stack's id is its place in the table, so a block's tag leads to it directly. Insertion is lock-free: a stack is written
//! to a fresh place and then linked to its bucket. Two threads may link the same stack twice; reports merge by content.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::capture::{self, Frames};
use gc::{message, roots};

/// Id of blocks whose stack is not known.
pub const UNKNOWN: u32 = 0;

const BUCKETS: usize = 1 << 16;
/// Bytes for stacks, the first that can be reserved; storage is used as stacks come.
const SIZES: [usize; 4] = [1 << 30, 256 << 20, 32 << 20, 4 << 20];

/// Words of an entry in front of its frames: hash; next id in the low half, number of frames in the high half.
const HEADER: usize = 2;

/// The table: buckets (ids) in the first words, entries behind. An id is an entry's word index.
static BASE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static WORDS: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);

/// Reserves the table. Without memory for it stacks stay unknown.
pub fn start() {
    capture::start();
    for size in SIZES {
        // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
        let p = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            continue;
        }
        // Return addresses are not pointers into the heap; without the note the table is scanned in vain.
        let _ = roots::exclude(p as usize, p as usize + size);
        WORDS.store((size / 8) as u64, Ordering::Relaxed);
        USED.store((BUCKETS / 2) as u64, Ordering::Relaxed);
        BASE.store(p.cast(), Ordering::Release);
        return;
    }
    message!("mode leaks: no memory for allocation stacks; leaks are reported without them");
}

/// The id of the calling thread's stack, at most `depth` frames of it.
pub fn id_of_caller(depth: usize) -> u32 {
    let base = BASE.load(Ordering::Acquire);
    if base.is_null() {
        return UNKNOWN;
    }
    let frames = capture::frames(depth);
    if frames.len == 0 {
        return UNKNOWN;
    }
    find_or_insert(base, &frames)
}

/// The frames of stack `id`, innermost first.
pub fn get(id: u32) -> &'static [usize] {
    let base = BASE.load(Ordering::Acquire);
    if id == UNKNOWN || base.is_null() {
        return &[];
    }
    let (_, _, len) = header(base, id);
    // SAFETY: an entry's frames lie behind its header and do not change after it was linked.
    unsafe { core::slice::from_raw_parts(base.add(id as usize + HEADER).cast(), len) }
}

/// Hash, next id and number of frames of an entry.
fn header(base: *mut AtomicU64, id: u32) -> (u64, u32, usize) {
    // SAFETY: an id is the index of an entry in the table, whose header is two words.
    let (hash, rest) = unsafe {
        (
            (*base.add(id as usize)).load(Ordering::Relaxed),
            (*base.add(id as usize + 1)).load(Ordering::Relaxed),
        )
    };
    (hash, rest as u32, (rest >> 32) as usize)
}

fn hash(frames: &[usize]) -> u64 {
    // Multiply and rotate over the words, as rustc's hasher; good enough for code addresses.
    let h = frames.iter().fold(0u64, |h, &a| {
        (h.rotate_left(5) ^ a as u64).wrapping_mul(0x517c_c1b7_2722_0a95)
    });
    h ^ h >> 32
}

fn find_or_insert(base: *mut AtomicU64, frames: &Frames) -> u32 {
    let frames = &frames.addresses[..frames.len];
    let hash = hash(frames);
    // SAFETY: the buckets are u32s in the first words of the table.
    let bucket = unsafe { &*base.cast::<AtomicU32>().add(hash as usize % BUCKETS) };
    let mut head = bucket.load(Ordering::Acquire);
    let mut at = head;
    while at != UNKNOWN {
        let (h, next, _) = header(base, at);
        if h == hash && get(at) == frames {
            return at;
        }
        at = next;
    }
    let need = (HEADER + frames.len()) as u64;
    let place = USED.fetch_add(need, Ordering::Relaxed);
    if place + need > WORDS.load(Ordering::Relaxed) {
        USED.fetch_sub(need, Ordering::Relaxed);
        return UNKNOWN;
    }
    // SAFETY: the words at `place` were given to this call alone; nobody reads them before they are linked.
    let entry = unsafe { core::slice::from_raw_parts(base.add(place as usize), need as usize) };
    entry[0].store(hash, Ordering::Relaxed);
    for (word, &address) in entry[HEADER..].iter().zip(frames) {
        word.store(address as u64, Ordering::Relaxed);
    }
    loop {
        entry[1].store(
            u64::from(head) | (frames.len() as u64) << 32,
            Ordering::Relaxed,
        );
        match bucket.compare_exchange_weak(head, place as u32, Ordering::Release, Ordering::Acquire)
        {
            Ok(_) => return place as u32,
            Err(other) => head = other,
        }
    }
}
