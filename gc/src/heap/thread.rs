//! A thread's heap: the caches from which it allocates without synchronisation, and the lists of its blocks.

use super::block::{Block, Info};
use super::class::{CLASS_BITS, CLASSES};
use super::layout::GROUPS;
use crate::kind::{KINDS, Kind};
use crate::world::CriticalFlags;
use core::sync::atomic::{AtomicIsize, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Free slots of one bitmap word, taken from a block. Only the owning thread writes it; the collector reads it with the
/// thread stopped.
#[repr(C, align(32))]
pub struct Cache {
    /// Slots left; bit i is object `64 * word + i` of the block.
    pub bits: AtomicU64,
    /// Address of slot 0 of the word.
    pub base: AtomicUsize,
    /// `block * GROUPS + word`; 0 for none.
    pub word: AtomicUsize,
    /// Object size in bytes.
    pub size: AtomicU32,
    /// The slots may hold old content.
    pub dirty: AtomicU32,
}

/// Slots that a cache held until a freed slot was put in front of them. Written and read as [`Cache`].
pub struct Stash {
    /// `block * GROUPS + word`; 0 for none.
    pub word: AtomicUsize,
    /// Slots left.
    pub bits: AtomicU64,
}

impl Stash {
    /// Holds nothing.
    pub const EMPTY: Stash = Stash {
        word: AtomicUsize::new(0),
        bits: AtomicU64::new(0),
    };
}

/// The heap of one thread.
#[repr(C, align(64))]
pub struct ThreadHeap {
    /// First, so that the signal handler finds it.
    pub flags: CriticalFlags,
    /// Index in the registry; 0 is the shared empty heap.
    pub id: AtomicU32,
    /// `block * GROUPS + word` of `batch_bits`; 0 for none. See [`super::batch`].
    pub batch_word: AtomicUsize,
    /// Freed slots that wait.
    pub batch_bits: AtomicU64,
    /// Remote frees not flushed yet. See [`super::remote`].
    pub remote_batches: [RemoteBatch; REMOTE_BATCHES],
    /// For each kind, the value of `Head::owner` in this thread's blocks.
    pub owner: [AtomicU32; KINDS],
    /// Slow-path allocations left until the next forced collection (zeal).
    pub zeal: AtomicU32,
    /// Bytes taken from collected blocks, less those freed, that are not yet added to the global count.
    pub unreported: AtomicIsize,
    /// Bytes taken, ever.
    pub taken: AtomicU64,
    /// The same at the last collection. Only the collector uses it.
    pub taken_before: AtomicU64,
    /// Kernel thread id.
    pub tid: AtomicU32,
    /// Number of the epoch in which [`super::idle`] last looked at the caches.
    pub looked_in: AtomicU32,
    /// Next dead heap.
    pub next_dead: AtomicU32,
    /// The caches, per kind and class.
    pub caches: [[Cache; 1 << CLASS_BITS]; KINDS],
    /// What the caches of explicit kinds held before a freed slot was put in front, per kind and class. See [`super::front`].
    pub stashes: [[Stash; 1 << CLASS_BITS]; KINDS],
    /// Owned blocks with free words that are not current, per kind and class.
    pub partial: [[AtomicU32; CLASSES]; KINDS],
    /// On a line of its own: blocks of this thread with remote frees, a stack linked by `Head::remote_next`.
    pub remote: Padded,
}

/// One for each class up to 1 KiB, and one for all larger ones.
pub const REMOTE_BATCHES: usize = 33;

/// Objects of one bitmap word that were freed remotely. Only the owning thread writes it, and the collector with the thread stopped.
pub struct RemoteBatch {
    /// `block * GROUPS + word`; 0 for none.
    pub word: AtomicUsize,
    /// The objects.
    pub bits: AtomicU64,
}

impl RemoteBatch {
    /// Holds nothing.
    pub const EMPTY: RemoteBatch = RemoteBatch {
        word: AtomicUsize::new(0),
        bits: AtomicU64::new(0),
    };

    /// Ends the batch: block, number of the word in it, and bits.
    pub fn take(&self) -> Option<(Block, usize, u64)> {
        let word = self.word.load(Relaxed);
        self.word.store(0, Relaxed);
        (word != 0).then(|| {
            (
                Block((word / GROUPS) as u32),
                word % GROUPS,
                self.bits.load(Relaxed),
            )
        })
    }
}

/// A word that other threads write, away from what the owner uses.
#[repr(C, align(128))]
pub struct Padded(pub AtomicU32);

impl Cache {
    /// Holds nothing.
    pub const EMPTY: Cache = Cache {
        bits: AtomicU64::new(0),
        base: AtomicUsize::new(0),
        word: AtomicUsize::new(0),
        size: AtomicU32::new(0),
        dirty: AtomicU32::new(0),
    };

    /// The block of its word.
    pub fn block(&self) -> Block {
        Block((self.word.load(Relaxed) / GROUPS) as u32)
    }
}

impl ThreadHeap {
    /// A heap with nothing in it, all zero: it takes no room in a file. [`Self::own_nothing`] comes before the first block.
    pub const fn new() -> Self {
        ThreadHeap {
            flags: CriticalFlags::new(),
            id: AtomicU32::new(0),
            batch_word: AtomicUsize::new(0),
            batch_bits: AtomicU64::new(0),
            remote_batches: [const { RemoteBatch::EMPTY }; REMOTE_BATCHES],
            owner: [const { AtomicU32::new(0) }; KINDS],
            zeal: AtomicU32::new(0),
            unreported: AtomicIsize::new(0),
            taken: AtomicU64::new(0),
            taken_before: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            looked_in: AtomicU32::new(0),
            next_dead: AtomicU32::new(0),
            caches: [const { [const { Cache::EMPTY }; 1 << CLASS_BITS] }; KINDS],
            stashes: [const { [const { Stash::EMPTY }; 1 << CLASS_BITS] }; KINDS],
            partial: [const { [const { AtomicU32::new(0) }; CLASSES] }; KINDS],
            remote: Padded(AtomicU32::new(0)),
        }
    }

    /// Gives it an owner word that no block has.
    pub fn own_nothing(&self) {
        for owner in &self.owner {
            owner.store(OWNS_NOTHING, Relaxed);
        }
    }

    /// The cache of a kind and class.
    #[inline(always)]
    pub fn cache(&self, kind: Kind, class: u8) -> &Cache {
        // SAFETY: `kind < KINDS` by its type; classes come from the class tables or from an info word written from them,
        // so they are below CLASSES.
        unsafe {
            self.caches
                .get_unchecked(kind.index())
                .get_unchecked(class as usize)
        }
    }

    /// The batch for remote frees in a block of small objects, by its info word.
    #[inline(always)]
    pub fn remote_batch(&self, info: Info) -> &RemoteBatch {
        &self.remote_batches[(info.class() as usize).min(REMOTE_BATCHES - 1)]
    }

    /// The cache of a block of small objects, by its info word.
    #[inline(always)]
    pub fn cache_of(&self, info: Info) -> &Cache {
        // SAFETY: the info word was written from a kind below KINDS and a class.
        unsafe { self.caches.as_flattened().get_unchecked(info.cache_index()) }
    }

    /// The stash of a block of small objects, by its info word.
    #[inline(always)]
    pub fn stash_of(&self, info: Info) -> &Stash {
        // SAFETY: as in `cache_of`.
        unsafe {
            self.stashes
                .as_flattened()
                .get_unchecked(info.cache_index())
        }
    }

    /// The block whose free words the caches of a kind and class are filled from: in no list.
    pub fn current(&self, kind: Kind, class: u8) -> Block {
        let stashed = self.stashes[kind.index()][class as usize]
            .word
            .load(Relaxed);
        if stashed == 0 {
            return self.cache(kind, class).block();
        }
        Block((stashed / GROUPS) as u32)
    }

    /// Calls `f(block, free word, its number, bits)` for every cache, stash and batch that holds slots. With the thread stopped; a
    /// slot may come twice.
    pub fn each_cached(&self, mut f: impl FnMut(Block, &AtomicU64, usize, u64)) {
        let mut each = |word: usize, bits: u64| {
            if word != 0 && bits != 0 {
                let (b, w) = (Block((word / GROUPS) as u32), word % GROUPS);
                f(b, b.free(w), w, bits);
            }
        };
        let kinds = crate::kinds::count();
        for cache in self.caches[..kinds].iter().flatten() {
            each(cache.word.load(Relaxed), cache.bits.load(Relaxed));
        }
        for stash in self.stashes[..kinds].iter().flatten() {
            each(stash.word.load(Relaxed), stash.bits.load(Relaxed));
        }
        super::batch::each(self, &mut f);
    }

    /// True for the shared heap of threads that have none.
    #[inline(always)]
    pub fn is_empty_heap(&self) -> bool {
        self.id.load(Relaxed) == 0
    }
}

/// Owner word of the empty heap, of blocks that are free or being swept, and of large objects: no thread has it.
pub const NO_OWNER: u32 = u32::MAX;

/// In [`ThreadHeap::owner`] of a heap that has no blocks: no block has it.
pub const OWNS_NOTHING: u32 = u32::MAX - 1;

/// The heap of threads that have none: every cache empty, so that allocation takes the slow path. Written only when the heap is set
/// up.
pub static EMPTY: ThreadHeap = ThreadHeap::new();

/// The heap of threads that gave theirs back because they end. As [`EMPTY`], but only an allocation, not a free, gives such a
/// thread a heap again: nobody may be left to give that one back.
pub static ENDED: ThreadHeap = ThreadHeap::new();
