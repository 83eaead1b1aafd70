//! The untyped allocation interface: what the malloc family, the C API and the Rust API stand on.
//!
//! *You must:* pass to [`free`], [`realloc`] and [`set_tag`] only pointers that came from here (anything else is
//! reported as [`FreeError`] or treated as not ours), and not use a freed object.
//! *We guarantee:* memory is 16-byte aligned, does not overlap any other live object, and stays until it is freed
//! or, for collected kinds, until no root reaches it.

pub use crate::kind::Kind;
use crate::{collector, cycle, finalize, heap, links, pacer, pins};

/// An object found from an address inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Address of the first byte.
    pub base: usize,
    /// Usable size in bytes (the size class, at least what was asked for).
    pub size: usize,
    /// Its kind.
    pub kind: Kind,
}

/// Why a pointer could not be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// The address is not in the collector's heap at all.
    Foreign,
    /// In the heap, but no object starts there; the object around it, if any.
    Interior(Option<Object>),
    /// The object there is already free.
    DoubleFree(Object),
}

/// Why a collection did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// A thread could not be stopped in time; its thread id.
    ThreadBlocked(i32),
    /// `/proc` cannot be read, so the threads cannot be found.
    NoProc,
    /// Called from inside a collection (a callback), or collections are disabled.
    Busy,
    /// Memory for the mark stacks could not be mapped.
    NoMemory,
    /// The stop signal could not be set up; the reason was printed.
    Unavailable,
}

/// Memory of this kind is zero when it is handed out; of the others the content is unspecified.
#[inline(always)]
pub fn is_zeroed(kind: Kind) -> bool {
    matches!(kind, Kind::Scan | Kind::Uncollectable)
        || kind.is_described() && crate::kinds::is_zeroed(kind)
}

/// Allocates `size` bytes (0 is as 1), zeroed if [`is_zeroed`]. Null when the heap is exhausted.
#[inline(always)]
pub fn alloc(kind: Kind, size: usize) -> *mut u8 {
    heap::alloc::alloc(kind, size, is_zeroed(kind))
}

/// The inlined part of [`alloc`]: `None` means that [`alloc`] has to be called. For callers that have their own cold path.
#[inline(always)]
pub fn alloc_fast(kind: Kind, size: usize) -> Option<*mut u8> {
    heap::alloc::alloc_fast(kind, size, is_zeroed(kind))
}

/// The inlined part of [`alloc_zeroed`], as [`alloc_fast`].
#[inline(always)]
pub fn alloc_zeroed_fast(kind: Kind, size: usize) -> Option<*mut u8> {
    heap::alloc::alloc_fast(kind, size, true)
}

/// As [`alloc`], zeroed for every kind.
#[inline(always)]
pub fn alloc_zeroed(kind: Kind, size: usize) -> *mut u8 {
    heap::alloc::alloc(kind, size, true)
}

/// As [`alloc`] with `align` a power of two (any size). Null if exhausted.
pub fn alloc_aligned(kind: Kind, size: usize, align: usize) -> *mut u8 {
    heap::alloc::alloc_aligned(kind, size, align, is_zeroed(kind))
}

/// Frees an object. Null is not allowed (callers check).
///
/// # Safety
/// Nobody uses the object afterwards.
#[inline(always)]
pub unsafe fn free(p: *mut u8) -> Result<(), FreeError> {
    // SAFETY: the caller gives the object up.
    unsafe { heap::free::free(p) }
}

/// The inlined part of [`free`]: false means that [`free_direct`] or [`free`] has to be called. Takes null. For callers that
/// have their own cold path.
///
/// # Safety
/// As [`free`].
#[inline(always)]
pub unsafe fn free_fast(p: *mut u8) -> bool {
    // SAFETY: the caller gives the object up; null is outside the heap.
    unsafe { heap::free::quick(p as usize) }
}

/// As [`free_fast`], for most of what that one leaves.
///
/// # Safety
/// As [`free`].
#[inline(always)]
pub unsafe fn free_direct(p: *mut u8) -> bool {
    // SAFETY: as above.
    unsafe { heap::free::direct(p as usize) }
}

/// Moves or resizes the object at `p` to `size` bytes, keeping its kind. Null on exhaustion (the object stays).
///
/// # Safety
/// As [`free`] for `p` when the result is not null.
pub unsafe fn realloc(p: *mut u8, size: usize) -> Result<*mut u8, FreeError> {
    // SAFETY: the caller gives the old object up if the result differs.
    unsafe { heap::resize::realloc(p, size) }
}

/// The allocated object that `addr` points to or into.
pub fn find(addr: usize) -> Option<Object> {
    heap::find::object(addr)
}

/// Bytes of the small object that starts at `addr`, without a look whether it is allocated: for blocks that the caller owns. `None` for
/// anything else.
#[inline(always)]
pub fn small_size(addr: usize) -> Option<usize> {
    heap::free::small_size(addr)
}

/// `addr` lies in the collector's heap region (allocated or not).
#[inline]
pub fn owns(addr: usize) -> bool {
    heap::layout::offset(addr).is_some()
}

/// The addresses between which objects lie, and will lie: a word outside of them is no pointer to one.
pub fn plausible() -> (usize, usize) {
    heap::init();
    let base = heap::layout::base();
    (base, base + heap::layout::HEAP_SPAN)
}

/// A full collection, finished (swept) on return.
pub fn collect() -> Result<(), CollectError> {
    cycle::collect(cycle::Reason::Explicit)
}

/// Collects if as much was allocated as is to be allocated between two collections. True if a collection is under way beside the
/// program now.
pub fn collect_if_due() -> bool {
    pacer::poll();
    !collector::is_idle()
}

/// Asks for a collection beside the program. False if there can be none.
pub fn begin_collection() -> bool {
    heap::init();
    collector::request()
}

/// Runs `f` while no collection runs or starts in any thread. Collecting in `f` gives [`CollectError::Busy`], as calling this
/// from inside a collection does.
pub fn without_collections<R>(f: impl FnOnce() -> R) -> Result<R, CollectError> {
    cycle::without_collections(f)
}

/// At the end of the process: the statistics, and the end of the trace.
pub fn at_exit() {
    crate::cycle::at_rest(|| {
        crate::stats::report_at_exit();
        crate::trace::finish();
    });
}

/// Runs `f`, which may put a seccomp filter in force: the collector asks nothing of the kernel meanwhile that the filter could answer with
/// death, and tries in a child process before it does again.
pub fn while_filters_change<R>(f: impl FnOnce() -> R) -> R {
    heap::critical::with(|| crate::dirty::while_filters_change(f))
}

/// Stops automatic collections until as many [`enable`] calls were made.
pub fn disable() {
    pacer::disable();
}

/// Undoes one [`disable`].
pub fn enable() {
    pacer::enable();
}

/// Keeps the object around `addr` alive until [`unpin`]; pins count. False if there is no such object or no memory.
pub fn pin(addr: usize) -> bool {
    pins::pin(addr)
}

/// Undoes one [`pin`]. False if it was not pinned.
pub fn unpin(addr: usize) -> bool {
    pins::unpin(addr)
}

/// Attaches a 32-bit tag to an allocated object (mode `leaks`: the id of its allocation stack).
/// Only effective if tags were switched on in the configuration.
///
/// # Safety
/// `p` is the start of an allocated object.
pub unsafe fn set_tag(p: *mut u8, tag: u32) {
    if heap::has_tags()
        && let Some(s) = heap::find::slot(p as usize)
    {
        s.block
            .tag(s.index)
            .store(tag, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Runs a mark phase with the world stopped in which malloc'ed objects are not roots, and calls `f(object, tag)` for every
/// allocated `Kind::Malloc` object that was not reached. `f` must not allocate: the world is stopped.
pub fn for_each_unreachable(f: &mut dyn FnMut(Object, u32)) -> Result<(), CollectError> {
    cycle::for_each_unreachable(f)
}

/// Gives free memory back to the operating system now; keeps `keep` bytes. True if something was released.
pub fn trim(keep: usize) -> bool {
    heap::critical::with(|| {
        heap::batch::flush(heap::alloc::current());
        heap::runs::trim(keep)
    })
}

/// A finalizer: called once, on the finalizer thread or from [`run_finalizers`], with the object and its data.
pub type Finalizer = unsafe extern "C" fn(object: *mut u8, data: *mut u8);

/// When an unreachable object is finalized, compared with those that refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all other objects with finalizers from which it is reached; its own pointers to itself do not count.
    AfterReferrersButSelf,
    /// As above, but an object that points to itself is never finalized.
    AfterReferrers,
    /// At once, and so is what it reaches.
    Unordered,
    /// When no other object with a finalizer reaches it any more, also an unordered one.
    LastOfAll,
}

/// Sets (Some) or removes (None) the finalizer of the collected object starting at `object`.
/// Returns the previous one. `Err` if there is no collected object or no memory.
#[allow(clippy::result_unit_err)]
pub fn set_finalizer(
    object: *mut u8,
    f: Option<(Finalizer, *mut u8)>,
) -> Result<Option<(Finalizer, *mut u8)>, ()> {
    finalize::set(object as usize, f, Order::AfterReferrersButSelf, false)
}

/// As [`set_finalizer`]; an object that points to itself counts as a cycle, and is never finalized.
#[allow(clippy::result_unit_err)]
pub fn set_finalizer_strict(
    object: *mut u8,
    f: Option<(Finalizer, *mut u8)>,
) -> Result<Option<(Finalizer, *mut u8)>, ()> {
    finalize::set(object as usize, f, Order::AfterReferrers, false)
}

/// As [`set_finalizer`], in any order. Takes uncollectable objects too, which are finalized by [`finalize::make_all_due`] only, and
/// pointers up to 15 bytes behind the object's start, with which the finalizer is called.
#[allow(clippy::result_unit_err)]
pub fn set_ordered_finalizer(
    object: *mut u8,
    f: Option<(Finalizer, *mut u8)>,
    order: Order,
) -> Result<Option<(Finalizer, *mut u8)>, ()> {
    finalize::set(object as usize, f, order, true)
}

/// When a link is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Before the object's finalizer is due.
    Short,
    /// When the object is reachable from no finalizer's object any more, either.
    Long,
}

/// Registers `*link` (outside or inside collected memory, holding a pointer or hidden pointer) to be set to zero when
/// `object` becomes unreachable. False without memory, or if `object` is not an object.
pub fn register_link(link: *mut usize, object: *const u8) -> bool {
    links::register(Link::Short, link as usize, object as usize)
}

/// Removes a link. False if it was not registered.
pub fn unregister_link(link: *mut usize) -> bool {
    links::unregister(Link::Short, link as usize)
}

/// As [`register_link`], for links of either sort; they do not know of one another.
pub fn register_link_as(sort: Link, link: *mut usize, object: *const u8) -> bool {
    links::register(sort, link as usize, object as usize)
}

/// As [`unregister_link`], for links of either sort.
pub fn unregister_link_as(sort: Link, link: *mut usize) -> bool {
    links::unregister(sort, link as usize)
}

/// What became of [`move_link_as`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveLink {
    /// Done; also if both are the same registered link.
    Moved,
    /// The new link is registered itself: nothing was changed.
    Taken,
    /// The link is not registered.
    NotFound,
    /// No memory: nothing was changed.
    NoMemory,
}

/// Registers `*new` instead of `*link`, for the same object.
pub fn move_link_as(sort: Link, link: *mut usize, new: *mut usize) -> MoveLink {
    links::relocate(sort, link as usize, new as usize)
}

/// Number of short and of long links.
pub fn links() -> (usize, usize) {
    links::count()
}

/// Runs pending finalizers on the calling thread; returns how many ran.
pub fn run_finalizers() -> usize {
    finalize::run()
}

/// Number of due finalizers: a futex word, woken when a collection found some.
pub fn finalizers_pending() -> &'static core::sync::atomic::AtomicU32 {
    finalize::pending()
}

/// Has `f` called on the collecting thread, with the world running, after each collection that left finalizers due. That can be a thread of the
/// collector, see [`put_off_announcement`].
pub fn set_finalizer_hook(f: Option<fn()>) {
    finalize::set_hook(f);
}

/// For the hook: if it was called on the collector's own thread, where no function of the program that uses objects can run, true, and it is called
/// again on the next thread of the program whose allocation leaves the fast path, or that collects.
pub fn put_off_announcement() -> bool {
    finalize::put_off_announcement()
}

/// Heap figures in bytes; see [`crate::stats`] for the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapFigures {
    /// Handed out and not freed, including what cached free slots hold.
    pub in_use: usize,
    /// Memory of blocks that are in use or cached (address space with storage behind it).
    pub heap: usize,
    /// Free inside the heap.
    pub free: usize,
    /// Given back to the operating system and not used since.
    pub unmapped: usize,
    /// Allocated since the last collection.
    pub since_gc: usize,
    /// Allocated since start.
    pub total: usize,
    /// Reachable after the last collection.
    pub live: usize,
    /// Bytes in large objects (`mallinfo` calls them mmapped), and their number.
    pub large: usize,
    /// Number of large objects.
    pub large_count: usize,
}

/// The figures now. Walks the block table: microseconds per megabyte of heap.
pub fn figures() -> HeapFigures {
    heap::figures::now()
}

/// Bytes in uncollectable objects. As expensive as [`figures`].
pub fn uncollectable_bytes() -> usize {
    heap::figures::uncollectable()
}

/// Bytes of large objects freed explicitly since the last collection.
pub fn freed_since_gc() -> usize {
    pacer::freed()
}

/// The thread is about to end: give its caches back. Called by the library's own thread-exit hook.
pub fn thread_exit() {
    heap::registry::retire_current();
}

/// Fork protocol: before, then in the parent, or in the child.
pub mod fork {
    pub use crate::fork::{child, parent, prepare};
}
