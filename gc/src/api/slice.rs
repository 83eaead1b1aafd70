//! Slices and text in one object.

use super::gc::assert_no_drop;
use super::place::{self, OutOfMemory};
use super::{Gc, GcVec, NoPointers};
use crate::raw::Kind;
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

impl<T> Gc<[T]> {
    /// A copy of `values`.
    ///
    /// ```
    /// let words = dunegc::Gc::<[&str]>::from_slice(&["a", "b"]);
    /// assert_eq!(words.len(), 2);
    /// ```
    pub fn from_slice(values: &[T]) -> Self
    where
        T: Copy,
    {
        copy(place::kind_of::<T>(), values).unwrap_or_else(|e| e.fail())
    }

    /// A copy of `values` in memory that the collector does not read.
    pub fn from_slice_atomic(values: &[T]) -> Self
    where
        T: Copy + NoPointers,
    {
        copy(Kind::Atomic, values).unwrap_or_else(|e| e.fail())
    }

    /// As [`Gc::from_slice`].
    ///
    /// # Errors
    /// When the heap is exhausted.
    pub fn try_from_slice(values: &[T]) -> Result<Self, OutOfMemory>
    where
        T: Copy,
    {
        copy(place::kind_of::<T>(), values)
    }

    /// `len` values, the one with index `i` made by `f(i)`.
    ///
    /// ```
    /// let squares = dunegc::Gc::<[u32]>::from_fn(5, |i| (i * i) as u32);
    /// assert_eq!(&squares[..], [0, 1, 4, 9, 16]);
    /// ```
    pub fn from_fn(len: usize, mut f: impl FnMut(usize) -> T) -> Self {
        const { assert_no_drop::<T>() };
        let place = uninit::<T>(place::kind_of::<T>(), len).unwrap_or_else(|e| e.fail());
        for i in 0..len {
            // SAFETY: the memory holds `len` values and is nobody else's.
            unsafe { place.cast::<T>().add(i).write(f(i)) };
        }
        // SAFETY: every element was written.
        unsafe { Gc::from_raw(place.as_ptr() as *const [T]) }
    }

    /// `len` default values.
    ///
    /// ```
    /// let slots = dunegc::Gc::<[std::cell::Cell<u64>]>::new_slice_default(10);
    /// slots[3].set(7);
    /// assert_eq!((slots[3].get(), slots[4].get()), (7, 0));
    /// ```
    pub fn new_slice_default(len: usize) -> Self
    where
        T: Default,
    {
        Self::from_fn(len, |_| T::default())
    }
}

/// Memory for `len` values.
fn uninit<T>(kind: Kind, len: usize) -> Result<NonNull<[MaybeUninit<T>]>, OutOfMemory> {
    let Ok(layout) = Layout::array::<T>(len) else {
        return Err(too_large::<T>());
    };
    let p = place::allocate(kind, layout)?;
    Ok(NonNull::slice_from_raw_parts(p.cast(), len))
}

/// A size that no memory can have.
#[cold]
pub(super) fn too_large<T>() -> OutOfMemory {
    let align = align_of::<T>();
    let size = isize::MAX as usize - (align - 1);
    OutOfMemory {
        layout: Layout::from_size_align(size, align).unwrap_or(Layout::new::<T>()),
    }
}

fn copy<T: Copy>(kind: Kind, values: &[T]) -> Result<Gc<[T]>, OutOfMemory> {
    let place = uninit::<T>(kind, values.len())?;
    // SAFETY: source and place hold `values.len()` values; the place was just allocated, so they do not overlap.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), place.cast::<T>().as_ptr(), values.len()) };
    // SAFETY: every element was written.
    Ok(unsafe { Gc::from_raw(place.as_ptr() as *const [T]) })
}

impl Gc<str> {
    /// The bytes of the text, the same object.
    pub fn as_bytes(this: Gc<str>) -> Gc<[u8]> {
        Gc::map(this, str::as_bytes)
    }
}

/// ```
/// let name: dunegc::Gc<str> = "Arrakis".into();
/// assert_eq!(name.len(), 7);
/// ```
impl From<&str> for Gc<str> {
    fn from(text: &str) -> Self {
        let bytes = Gc::from_slice_atomic(text.as_bytes());
        // SAFETY: the bytes are a copy of a `str`, and `str` has the layout of `[u8]`.
        unsafe { Gc::from_raw(Gc::as_ptr(bytes) as *const str) }
    }
}

impl<T: Copy> From<&[T]> for Gc<[T]> {
    fn from(values: &[T]) -> Self {
        Gc::<[T]>::from_slice(values)
    }
}

/// ```
/// use dunegc::Gc;
/// let odd: Gc<[u32]> = (0..10).filter(|n| n % 2 == 1).collect();
/// assert_eq!(&odd[..], [1, 3, 5, 7, 9]);
/// ```
impl<T> FromIterator<T> for Gc<[T]> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        GcVec::from_iter(values).into_slice()
    }
}
