//! All thread heaps: registration, end of a thread, and walking them.

use super::block::Block;
use super::layout::GROUPS;
use super::thread::ThreadHeap;
use crate::kind::{KINDS, Kind};
use crate::sys::lock::Lock;
use crate::sys::{mem, tls};
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

/// Most threads that can have a heap at the same time: an owner word has 16 bits for the thread.
pub const MAX_THREADS: usize = 1 << 16;

static HEAPS: [AtomicPtr<ThreadHeap>; MAX_THREADS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_THREADS];
static COUNT: AtomicU32 = AtomicU32::new(1);
static KEY: AtomicU32 = AtomicU32::new(0);
static STATE: Lock<Registry> = Lock::new(Registry {
    dead: 0,
    arena: 0,
    arena_end: 0,
});

/// What registration guards: dead heaps for reuse, and the arena new ones come from.
pub(crate) struct Registry {
    dead: u32,
    arena: usize,
    arena_end: usize,
}

/// Owner words are made of the thread's index and, for collected kinds, the collection's number: a collection takes
/// every block away from its owner by changing the number.
pub fn owner_word(id: u32, kind: Kind) -> u32 {
    let epoch = if super::is_collected(kind) {
        super::sweep::epoch() & 0x7fff
    } else {
        0
    };
    id | epoch << 16
}

/// Gives the calling thread a heap. `None` without memory or with too many threads.
#[cold]
pub fn register() -> Option<&'static ThreadHeap> {
    super::init();
    let heap = super::critical::without_signals(|| {
        let heap = STATE.lock().take()?;
        heap.flags.depth.store(1, Relaxed);
        tls::set(heap);
        restamp(heap, heap.id.load(Relaxed));
        Some(heap)
    })?;
    super::critical::leave(heap);
    watch_exit(heap);
    Some(heap)
}

/// Sets the heap's owner words for the current epoch.
pub fn restamp(heap: &ThreadHeap, id: u32) {
    for k in 0..KINDS {
        heap.owner[k].store(owner_word(id, Kind::from_index(k)), Relaxed);
    }
}

/// The heap with index `id`.
pub fn get(id: u32) -> Option<&'static ThreadHeap> {
    let p = HEAPS.get(id as usize)?.load(Acquire);
    // SAFETY: entries are null or point to heaps in the arena, which is never unmapped.
    unsafe { p.as_ref() }
}

/// Calls `f` for every heap that ever was, living or dead.
pub fn for_each(mut f: impl FnMut(&'static ThreadHeap)) {
    for id in 1..COUNT.load(Acquire) {
        if let Some(h) = get(id) {
            f(h);
        }
    }
}

/// With the world stopped, once in each collection: how many threads have allocated a good part (a sixteenth) of what the one
/// that allocated most took since the last collection. At least 1.
pub fn count_allocating() -> usize {
    let mut most = 0;
    for_each(|h| most = most.max(h.taken.load(Relaxed) - h.taken_before.load(Relaxed)));
    let mut count = 0;
    for_each(|h| {
        let taken = h.taken.load(Relaxed);
        let since = taken - h.taken_before.load(Relaxed);
        h.taken_before.store(taken, Relaxed);
        count += usize::from(since > 0 && since >= most / 16);
    });
    count.max(1)
}

/// The calling thread ends: its caches and blocks go to the central lists, its heap waits for reuse.
pub fn retire_current() {
    // SAFETY: the pointer is the empty heap or one in the arena; both live for ever.
    let heap = unsafe { &*tls::get() };
    if heap.is_empty_heap() {
        return;
    }
    super::critical::enter(heap);
    retire(heap);
    let pending = super::critical::without_signals(|| {
        // The thread is one without a heap; a stop that was put off happens below.
        tls::set(&super::thread::ENDED);
        let pending = heap.flags.pending.swap(0, Relaxed) != 0;
        heap.flags.depth.store(0, Relaxed);
        STATE.lock().keep(heap);
        pending
    });
    if pending {
        super::critical::park();
    }
}

/// Empties a heap whose thread is gone or going.
pub fn retire(heap: &ThreadHeap) {
    super::batch::flush(heap);
    super::remote::flush(heap);
    for k in 0..crate::kinds::count() {
        let kind = Kind::from_index(k);
        for c in 0..super::class::CLASSES {
            super::refill::give_back(heap, kind, c as u8);
            loop {
                let b = Block(heap.partial[k][c].load(Relaxed));
                if b == Block::NONE {
                    break;
                }
                super::lists::unlink(heap, b, kind, c as u8);
                super::central::abandon(b);
            }
        }
        heap.owner[k].store(super::thread::OWNS_NOTHING, Relaxed);
    }
    // Full blocks are in no list; they keep the owner word of this index, which a later thread with the same index
    // inherits for explicit kinds. Until then remote frees to them lead to `drain_dead`.
    heap.tid.store(0, SeqCst);
    drain_dead(heap);
}

/// In a fork child: every thread but the calling one is gone, perhaps in the middle of an allocation. Their blocks go to
/// the central lists with figures computed anew; slots in the cache of a thread that was in a critical section are lost.
pub fn retire_others() {
    let me = tls::get();
    let mut any = false;
    for_each(|h| {
        if !ptr::eq(h, me) && h.tid.load(Relaxed) != 0 {
            any = true;
            forget(h);
        }
    });
    if !any {
        return;
    }
    for i in 1..super::runs::frontier() as u32 {
        let b = Block(i);
        let owner = b.head().owner.load(Relaxed) & 0xffff;
        if b.info().is_small() && owner != 0 && get(owner).is_none_or(|h| !ptr::eq(h, me)) {
            super::central::inherit(b);
        }
    }
    for_each(|h| {
        if !ptr::eq(h, me) && h.tid.swap(0, Relaxed) != 0 {
            STATE.lock().keep(h);
        }
    });
}

/// Empties a heap whose thread may have been anywhere.
fn forget(heap: &ThreadHeap) {
    let in_flux = heap.flags.depth.swap(0, Relaxed) != 0;
    heap.flags.pending.store(0, Relaxed);
    super::batch::inherit(heap);
    for batch in &heap.remote_batches {
        batch.take();
    }
    heap.remote.0.store(0, Relaxed);
    for k in 0..crate::kinds::count() {
        for c in 0..super::class::CLASSES {
            heap.partial[k][c].store(0, Relaxed);
            let cache = &heap.caches[k][c];
            let stash = &heap.stashes[k][c];
            for (word, bits) in [(&cache.word, &cache.bits), (&stash.word, &stash.bits)] {
                let (word, bits) = (word.swap(0, Relaxed), bits.swap(0, Relaxed));
                if word != 0 && !in_flux {
                    let free = Block((word / GROUPS) as u32).free(word % GROUPS);
                    free.store(free.load(Relaxed) | bits, Relaxed);
                }
            }
        }
        heap.owner[k].store(super::thread::OWNS_NOTHING, Relaxed);
    }
}

/// For the fork protocol.
pub(crate) fn lock_for_fork() -> &'static Lock<Registry> {
    &STATE
}

impl Registry {
    /// A heap for the calling thread. That it is in use is known before the lock is released: `drain_dead` must not touch it then.
    fn take(&mut self) -> Option<&'static ThreadHeap> {
        let heap = if self.dead != 0 {
            let h = get(self.dead)?;
            self.dead = h.next_dead.load(Relaxed);
            h
        } else {
            let id = COUNT.load(Relaxed);
            if id as usize >= MAX_THREADS - 16 {
                return None;
            }
            let h = self.carve()?;
            h.id.store(id, Relaxed);
            HEAPS[id as usize].store(ptr::from_ref(h).cast_mut(), Release);
            COUNT.store(id + 1, Release);
            h
        };
        let tid = crate::sys::raw::gettid() as u32;
        heap.tid.store(tid, Relaxed);
        heap.flags.adopt(tid);
        Some(heap)
    }

    /// Keeps the heap of a thread that is gone for the next one.
    fn keep(&mut self, heap: &ThreadHeap) {
        heap.next_dead.store(self.dead, Relaxed);
        self.dead = heap.id.load(Relaxed);
    }

    fn carve(&mut self) -> Option<&'static ThreadHeap> {
        let size = mem::round_up(size_of::<ThreadHeap>(), mem::PAGE);
        if self.arena + size > self.arena_end {
            let len = size * 16;
            let mut p = mem::map(len);
            let mut got = len;
            if p.is_null() {
                got = size;
                p = mem::map(got);
            }
            if p.is_null() {
                return None;
            }
            super::own::add(p as usize, got);
            self.arena = p as usize;
            self.arena_end = self.arena + got;
        }
        let p = self.arena as *mut ThreadHeap;
        self.arena += size;
        // SAFETY: `p` is page-aligned, mapped, zero, and handed out only here. All fields are integers, and zero as in
        // `ThreadHeap::new`; pages of kinds that are not used are not touched.
        let heap = unsafe { &*p };
        heap.own_nothing();
        Some(heap)
    }
}

/// Has [`retire_current`] called when the thread ends, by a pthread key destructor.
fn watch_exit(heap: &ThreadHeap) {
    extern "C" fn ended(_: *mut libc::c_void) {
        retire_current();
    }
    let mut key = KEY.load(Relaxed);
    if key == 0 {
        let mut k: libc::pthread_key_t = 0;
        // SAFETY: `k` is a valid place; the destructor has the right type.
        if unsafe { libc::pthread_key_create(&mut k, Some(ended)) } != 0 {
            return;
        }
        match KEY.compare_exchange(0, k + 1, Relaxed, Relaxed) {
            Ok(_) => key = k + 1,
            Err(other) => {
                // SAFETY: `k` was just created and is used by nobody.
                unsafe { libc::pthread_key_delete(k) };
                key = other;
            }
        }
    }
    // SAFETY: the key exists. The call can allocate (keys above 31), which works: the thread has its heap.
    unsafe { libc::pthread_setspecific(key - 1, ptr::from_ref(heap).cast()) };
}

const _: () = assert!(GROUPS == 64);

/// Somebody freed a block remotely to a heap whose thread ended: its blocks go to the central lists. In a critical section.
#[cold]
pub fn drain_dead(heap: &ThreadHeap) {
    let told = {
        let _r = STATE.lock();
        heap.tid.load(Relaxed) == 0 && super::remote::drain_stack(heap)
    };
    if told {
        drain_all_dead();
    }
}

/// As [`drain_dead`] for every heap whose thread ended.
#[cold]
pub fn drain_all_dead() {
    let _r = STATE.lock();
    let mut again = true;
    while again {
        again = false;
        for_each(|h| again |= h.tid.load(SeqCst) == 0 && super::remote::drain_stack(h));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{self, alloc};
    use std::thread;

    /// As many objects of 256 bytes as `counts` says in threads of their own, which end when all have allocated theirs.
    fn allocate_in_threads(counts: &'static [usize]) {
        let all = std::sync::Arc::new(std::sync::Barrier::new(counts.len()));
        let threads = counts.iter().map(|&count| {
            let all = all.clone();
            thread::spawn(move || {
                for _ in 0..count {
                    assert!(!alloc::alloc(Kind::Atomic, 256, false).is_null());
                }
                all.wait();
            })
        });
        let threads: std::vec::Vec<_> = threads.collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    }

    #[test]
    fn threads_that_allocate_much_are_counted() {
        let path = concat!(module_path!(), "::threads_that_allocate_much_are_counted");
        heap::testing::in_own_process(path, || {
            heap::init();
            assert_eq!(count_allocating(), 1, "nobody has allocated");
            allocate_in_threads(&[4000, 4000, 2000, 10]);
            assert_eq!(count_allocating(), 3);
            assert_eq!(count_allocating(), 1, "none has since");
        });
    }
}
