//! The collected pointer.

use super::NoPointers;
use super::place::{self, OutOfMemory};
use crate::raw::Kind;
use core::alloc::Layout;
use core::ops::Deref;
use core::ptr::NonNull;

/// A pointer to a collected object.
///
/// `Gc` is `Copy`: as many pointers to an object as one likes, in any shape, cycles included. The object stays as long as
/// the collector can reach it, from stacks, registers, statics, thread-locals, malloc'ed memory or other collected
/// objects, by a pointer to its start or into it.
///
/// ```
/// use dunegc::Gc;
/// use std::cell::Cell;
///
/// struct Node { value: u32, next: Cell<Option<Gc<Node>>> }
///
/// let a = Gc::new(Node { value: 1, next: Cell::new(None) });
/// let b = Gc::new(Node { value: 2, next: Cell::new(Some(a)) });
/// a.next.set(Some(b)); // a cycle; both go when neither is reachable
/// assert_eq!(b.next.get().unwrap().value, 1);
/// ```
///
/// # Mutation
/// Access is shared, as with `Arc`: use `Cell`, `RefCell`, atomics or `Mutex` inside.
///
/// # Drop
/// A value in a `Gc<T>` is never dropped: its memory is reused. [`Gc::new`] therefore refuses types that have drop glue
/// (`String`, `Vec`, `Box`, `File`, ...) when it is compiled:
///
/// ```compile_fail,E0080
/// dunegc::Gc::new(String::from("text"));
/// ```
///
/// Either use a type without (`Gc<str>`, [`GcVec`](crate::GcVec), `Gc<T>` in place of `Box<T>`), or
/// [`Gc::with_drop`](Gc::with_drop), which runs `Drop` on the finalizer thread, or `Gc::new(ManuallyDrop::new(value))` if
/// it need not run.
///
/// This is more than economy. A reference that is obtained from a `Gc<T>` can outlive the last copy of the pointer, as the
/// compiler drops it from its register after the last use. For a `T` without drop glue that is harmless: every reference
/// that can be derived from it points into the object, into another one, or to memory that nobody frees. For a `T` that
/// owns memory it would not be, so values that are dropped are reached through a [`Guard`](crate::Guard).
///
/// # Threads
/// `Gc<T>` is `Send` and `Sync` if `T` is both, as `Arc<T>`: a copy of the pointer gives another thread `&T` (hence `Sync`),
/// and the last user of the value may be any thread (hence `Send`). The collector itself never touches values as a `T`, it
/// reads their words with the threads stopped.
///
/// ```compile_fail,E0277
/// let cell = dunegc::Gc::new(std::cell::Cell::new(1));
/// std::thread::spawn(move || cell.set(2)); // `Cell` is not `Sync`
/// ```
///
/// # Lifetimes
/// `T` need not be `'static`: a `Gc<&'a U>` cannot be used after `'a`, and nothing of the library looks at the value later.
///
/// ```compile_fail,E0597
/// let outer = { let local = 5; dunegc::Gc::new(&local) };
/// println!("{outer}");
/// ```
///
/// # What the collector cannot see
/// It looks at aligned words. A `Gc` in a `#[repr(packed)]` type at an address that is not a multiple of 8, or one that
/// unsafe code compresses, encrypts, or stores outside the process does not keep its object alive.
pub struct Gc<T: ?Sized> {
    ptr: NonNull<T>,
}

// SAFETY: sending a `Gc` shares its value with another thread, which `T: Sync` allows; that the value can have its last use
// there is allowed by `T: Send`. The pointer itself is a word.
unsafe impl<T: ?Sized + Send + Sync> Send for Gc<T> {}
// SAFETY: a shared `Gc` can be copied, so this is the same as sending one.
unsafe impl<T: ?Sized + Send + Sync> Sync for Gc<T> {}

impl<T: ?Sized> Copy for Gc<T> {}

impl<T: ?Sized> Clone for Gc<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Deref for Gc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer leads to a value of type `T` in memory that stays while a pointer to or into it exists, which
        // the reference is. The value is never dropped or moved, and never borrowed exclusively but by unsafe code.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T> Gc<T> {
    /// Puts `value` into collected memory. `T` must not have drop glue.
    ///
    /// ```
    /// let pair = dunegc::Gc::new((1, 2.5));
    /// assert_eq!(pair.1, 2.5);
    /// ```
    ///
    /// Ends the process when memory is exhausted; see [`Gc::try_new`].
    #[inline]
    pub fn new(value: T) -> Self {
        Self::try_new(value).unwrap_or_else(|e| e.fail())
    }

    /// As [`Gc::new`].
    ///
    /// # Errors
    /// When the heap is exhausted.
    #[inline]
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        const { assert_no_drop::<T>() };
        Self::place(place::kind_of::<T>(), value)
    }

    /// Puts `value` into memory that the collector does not read.
    ///
    /// ```
    /// let matrix = dunegc::Gc::new_atomic([[0.0f64; 16]; 16]);
    /// assert_eq!(matrix[3][4], 0.0);
    /// ```
    #[inline]
    pub fn new_atomic(value: T) -> Self
    where
        T: NoPointers,
    {
        const { assert_no_drop::<T>() };
        Self::place(Kind::Atomic, value).unwrap_or_else(|e| e.fail())
    }

    /// Puts any value into an object.
    #[inline]
    pub(super) fn place(kind: Kind, value: T) -> Result<Self, OutOfMemory> {
        let ptr = place::allocate(kind, Layout::new::<T>())?.cast::<T>();
        // SAFETY: the memory has the size and alignment of `T` and is nobody else's.
        unsafe { ptr.write(value) };
        Ok(Gc { ptr })
    }
}

impl<T: ?Sized> Gc<T> {
    /// True if both lead to the same place. (`==` compares values.)
    #[inline]
    pub fn ptr_eq(this: Gc<T>, other: Gc<T>) -> bool {
        this.ptr.addr() == other.ptr.addr()
    }

    /// The address of the value.
    #[inline]
    pub fn as_ptr(this: Gc<T>) -> *const T {
        this.ptr.as_ptr()
    }

    /// A `Gc` to what `f` picks: a field, an element, or the same value as a trait object. It keeps the object alive that it
    /// points into.
    ///
    /// ```
    /// use dunegc::Gc;
    /// use std::fmt::Debug;
    ///
    /// let pair = Gc::new((1, 'x'));
    /// let second: Gc<char> = Gc::map(pair, |p| &p.1);
    /// let shown: Gc<dyn Debug> = Gc::map(pair, |p| p as &dyn Debug);
    /// assert_eq!((*second, format!("{shown:?}")), ('x', "(1, 'x')".to_string()));
    /// ```
    #[inline]
    pub fn map<U: ?Sized>(this: Gc<T>, f: impl for<'a> FnOnce(&'a T) -> &'a U) -> Gc<U> {
        // SAFETY: the value has no drop glue, so nothing that can be reached from it by references ends with it. `f` works
        // for every lifetime, so what it returns is part of the value, of a value that it points to, or static. The result
        // is itself a pointer into that object, and keeps it alive.
        let value = unsafe { this.ptr.as_ref() };
        let ptr = NonNull::from(f(value));
        Gc { ptr }
    }

    /// A `Gc` from an address.
    ///
    /// # Safety
    /// `ptr` came from [`Gc::as_ptr`] for the same type, or leads to a value that is never dropped, moved or borrowed
    /// exclusively, in memory that stays as long as a pointer to it is reachable.
    #[inline]
    pub const unsafe fn from_raw(ptr: *const T) -> Self {
        // SAFETY: pointers to values are not null.
        let ptr = unsafe { NonNull::new_unchecked(ptr.cast_mut()) };
        Gc { ptr }
    }

    /// Exclusive access.
    ///
    /// # Safety
    /// No other pointer to the value is used during the borrow, and this one did not come from [`Gc::map`].
    #[inline]
    pub unsafe fn get_mut_unchecked(this: &mut Gc<T>) -> &mut T {
        // SAFETY: by this function's contract.
        unsafe { this.ptr.as_mut() }
    }
}

/// For constructors, at compile time.
pub(super) const fn assert_no_drop<T>() {
    assert!(
        !core::mem::needs_drop::<T>(),
        "values in collected memory are not dropped, and this type has drop glue: use Gc::with_drop(value), or \
         Gc::new(ManuallyDrop::new(value)) if Drop need not run; GcVec, Gc<[T]> and Gc<str> replace Vec, Box and String"
    );
}
