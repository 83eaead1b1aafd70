//! A growable array in collected memory.

use super::gc::assert_no_drop;
use super::place::{self, OutOfMemory};
use super::slice::too_large;
use super::{Gc, NoPointers};
use crate::raw::{self, Kind};
use core::alloc::Layout;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};

/// A vector whose elements live in collected memory.
///
/// `Vec` frees its buffer when it is dropped, and until then the buffer, being malloc'ed memory, is a root: objects in a
/// cycle through a `Vec` are never collected. `GcVec` has no drop glue; its buffer is reached from the `GcVec` and goes with
/// it. Use it inside collected objects:
///
/// ```
/// use dunegc::{Gc, GcVec};
/// use std::cell::RefCell;
///
/// struct Node { name: &'static str, edges: RefCell<GcVec<Gc<Node>>> }
///
/// let node = |name| Gc::new(Node { name, edges: RefCell::new(GcVec::new()) });
/// let (a, b) = (node("a"), node("b"));
/// a.edges.borrow_mut().push(b);
/// b.edges.borrow_mut().push(a); // a cycle
/// assert_eq!(a.edges.borrow()[0].edges.borrow()[0].name, "a");
/// ```
///
/// It dereferences to a slice. Elements must not have drop glue. A buffer that is outgrown is freed at once.
pub struct GcVec<T> {
    ptr: NonNull<T>,
    len: usize,
    cap: usize,
    kind: Kind,
}

// SAFETY: a `GcVec` owns its elements and its buffer, as `Vec` does; the heap frees memory on any thread.
unsafe impl<T: Send> Send for GcVec<T> {}
// SAFETY: a shared `GcVec` gives out shared references to elements and nothing else.
unsafe impl<T: Sync> Sync for GcVec<T> {}

impl<T> GcVec<T> {
    /// An empty vector; allocates nothing.
    pub const fn new() -> Self {
        const { assert_no_drop::<T>() };
        Self::empty(place::kind_of::<T>())
    }

    /// An empty vector for elements in memory that the collector does not read.
    pub const fn new_atomic() -> Self
    where
        T: NoPointers,
    {
        const { assert_no_drop::<T>() };
        Self::empty(Kind::Atomic)
    }

    const fn empty(kind: Kind) -> Self {
        let cap = if size_of::<T>() == 0 { usize::MAX } else { 0 };
        GcVec {
            ptr: NonNull::dangling(),
            len: 0,
            cap,
            kind,
        }
    }

    /// An empty vector with room for `capacity` elements.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut v = Self::new();
        v.reserve(capacity);
        v
    }

    /// Elements that fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.cap
    }

    /// Makes room for `more` elements. Ends the process when memory is exhausted.
    pub fn reserve(&mut self, more: usize) {
        self.try_reserve(more).unwrap_or_else(|e| e.fail());
    }

    /// Makes room for `more` elements.
    ///
    /// # Errors
    /// When the heap is exhausted; the vector is as before.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        if more <= self.cap - self.len {
            return Ok(());
        }
        let need = self.len.checked_add(more).ok_or_else(too_large::<T>)?;
        self.grow(need.max(self.cap.saturating_mul(2)).max(4))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, cap: usize) -> Result<(), OutOfMemory> {
        let layout = Layout::array::<T>(cap).map_err(|_| too_large::<T>())?;
        let new = if self.cap != 0 && layout.align() <= 16 {
            // SAFETY: the buffer came from the heap; nobody else has a pointer to it, as borrows of elements have ended.
            let p = unsafe { raw::realloc(self.ptr.as_ptr().cast(), layout.size()) };
            NonNull::new(p.unwrap_or(ptr::null_mut()))
                .ok_or(OutOfMemory { layout })?
                .cast()
        } else {
            let p = place::allocate(self.kind, layout)?.cast::<T>();
            if self.cap != 0 {
                // SAFETY: both buffers hold at least `len` elements and are different objects.
                unsafe { ptr::copy_nonoverlapping(self.ptr.as_ptr(), p.as_ptr(), self.len) };
                // SAFETY: as for `realloc`. An error would mean that the buffer is not an object, which only unsafe code
                // elsewhere can cause; it is then left to the collector.
                let _ = unsafe { raw::free(self.ptr.as_ptr().cast()) };
            }
            p
        };
        self.ptr = new;
        self.cap = cap;
        Ok(())
    }

    /// Appends an element. Ends the process when memory is exhausted.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.len == self.cap {
            self.reserve(1);
        }
        // SAFETY: `len < cap`, so the place is in the buffer and unused.
        unsafe { self.ptr.add(self.len).write(value) };
        self.len += 1;
    }

    /// Takes the last element off.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        // SAFETY: `last` is an element; it is given up below.
        let value = unsafe { self.ptr.add(last).read() };
        self.truncate(last);
        Some(value)
    }

    /// Inserts at `index`, moving what follows. Panics if `index > len`.
    pub fn insert(&mut self, index: usize, value: T) {
        assert!(
            index <= self.len,
            "insertion index {index} > length {}",
            self.len
        );
        self.push(value);
        self[index..].rotate_right(1);
    }

    /// Removes the element at `index`, moving what follows. Panics if `index >= len`.
    pub fn remove(&mut self, index: usize) -> T {
        assert!(
            index < self.len,
            "removal index {index} >= length {}",
            self.len
        );
        self[index..].rotate_left(1);
        self.pop().expect("the vector is not empty")
    }

    /// Removes the element at `index`; the last one takes its place. Panics if `index >= len`.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.len.wrapping_sub(1);
        self.swap(index, last);
        self.pop().expect("the vector is not empty")
    }

    /// Keeps the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            // SAFETY: the range lies in the buffer. What was removed must not keep objects alive.
            unsafe { ptr::write_bytes(self.ptr.add(len).as_ptr(), 0, self.len - len) };
            self.len = len;
        }
    }

    /// Removes every element; the buffer stays.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the elements for which `keep` is true, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            if keep(&self[i]) {
                self.swap(kept, i);
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// The elements as a collected slice, without copying. Unused room stays with it.
    pub fn into_slice(self) -> Gc<[T]> {
        if self.cap == 0 || size_of::<T>() == 0 {
            let len = self.len;
            // SAFETY: elements of size zero need no memory, and exist as often as one likes; or there is none.
            return unsafe { Gc::from_raw(ptr::slice_from_raw_parts(self.ptr.as_ptr(), len)) };
        }
        // SAFETY: the buffer holds `len` elements; it is given up to the result.
        unsafe { Gc::from_raw(ptr::slice_from_raw_parts(self.ptr.as_ptr(), self.len)) }
    }
}

impl<T> Deref for GcVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised. The slice is a pointer to the buffer and keeps it alive.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for GcVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the buffer belongs to this vector alone.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Extend<T> for GcVec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        let values = values.into_iter();
        self.reserve(values.size_hint().0);
        values.for_each(|v| self.push(v));
    }
}

impl<T> FromIterator<T> for GcVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut v = Self::new();
        v.extend(values);
        v
    }
}

impl<T: Clone> Clone for GcVec<T> {
    fn clone(&self) -> Self {
        let mut v = Self::empty(self.kind);
        v.extend(self.iter().cloned());
        v
    }
}

impl<'a, T> IntoIterator for &'a GcVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Default for GcVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for GcVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq> PartialEq for GcVec<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for GcVec<T> {}
