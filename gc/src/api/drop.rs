//! Collected values that are dropped when nobody reaches them any more.

use super::place::{self, OutOfMemory};
use super::{Gc, finalizer_thread};
use crate::raw::{self, Kind};
use core::fmt;
use core::mem::{ManuallyDrop, needs_drop};
use core::ops::Deref;
use core::ptr;

/// A value that the collector drops, made by [`Gc::with_drop`].
///
/// Its `Drop` runs once, on the finalizer thread, some time after the last pointer to it is gone. Reach the value by
/// [`with`](Finalize::with), which costs nothing, or hold it with a [`guard`](Finalize::guard).
///
/// There is no plain reference to the value, because it would not keep the value alive: take a `Gc<Finalize<Vec<u8>>>`
/// whose last use is to fetch the vector's slice. From there on only a pointer to the vector's buffer exists, none to the
/// vector, which the collector could find unreachable and drop while the slice is in use.
#[repr(transparent)]
pub struct Finalize<T> {
    value: ManuallyDrop<T>,
}

impl<T: Send + 'static> Gc<Finalize<T>> {
    /// Puts `value` into collected memory and has it dropped on the finalizer thread when it is unreachable.
    ///
    /// ```
    /// use dunegc::Gc;
    ///
    /// let names = Gc::with_drop(vec!["Leto".to_string(), "Jessica".to_string()]);
    /// assert_eq!(names.with(|n| n.len()), 2);
    /// assert_eq!(names.guard()[1], "Jessica");
    /// ```
    ///
    /// `T: Send`, because another thread drops it; `'static`, because that can be at any later time.
    ///
    /// ```compile_fail,E0277
    /// dunegc::Gc::with_drop(std::rc::Rc::new(1)); // the count is not atomic
    /// ```
    ///
    /// # Order
    /// An object is dropped only when no other object that waits for its drop can reach it (Boehm, "Destructors,
    /// finalizers, and synchronization", POPL 2003). So `Drop` may use every `Gc` in the value: parents are dropped before
    /// their children, one level per collection. **Objects with `Drop` that reach themselves, directly or in a cycle,
    /// are never dropped** and never collected: keep the way back in a [`Weak`](crate::Weak).
    ///
    /// # In `Drop`
    /// Weak pointers to the value are cleared by then. No safe code can get hold of the dying value from within its `Drop`:
    /// that would take a `Gc` to itself, which is a cycle. A panic in `Drop` ends the process.
    ///
    /// Values that are still reachable when the process ends are not dropped.
    pub fn with_drop(value: T) -> Self {
        match Self::try_with_drop(value) {
            Ok(gc) => gc,
            Err((_, e)) => e.fail(),
        }
    }

    /// As [`Gc::with_drop`].
    ///
    /// # Errors
    /// When the heap is exhausted; the value comes back.
    pub fn try_with_drop(value: T) -> Result<Self, (T, OutOfMemory)> {
        let layout = core::alloc::Layout::new::<T>();
        // Scanned whatever `T` is: a type that owns memory has pointers.
        let Ok(place) = place::allocate(Kind::Scan, layout) else {
            return Err((value, OutOfMemory { layout }));
        };
        let place = place.cast::<Finalize<T>>();
        // SAFETY: the memory has the size and alignment of `T`, which `Finalize<T>` shares, and is nobody else's.
        unsafe {
            place.write(Finalize {
                value: ManuallyDrop::new(value),
            })
        };
        if needs_drop::<T>() {
            if raw::set_finalizer_strict(
                place.as_ptr().cast(),
                Some((drop_value::<T>, ptr::null_mut())),
            )
            .is_err()
            {
                // SAFETY: the value was written above; nobody else knows the object, which is left to the collector.
                let value = unsafe { ManuallyDrop::into_inner(place.read().value) };
                return Err((value, OutOfMemory { layout }));
            }
            finalizer_thread::ensure_started();
        }
        // SAFETY: the object holds an initialised value, which ends only when no pointer to it is left.
        Ok(unsafe { Gc::from_raw(place.as_ptr()) })
    }
}

/// The finalizer of a `Finalize<T>`.
///
/// # Safety
/// `object` is an unreachable `Finalize<T>` that was not dropped yet.
unsafe extern "C" fn drop_value<T>(object: *mut u8, _data: *mut u8) {
    // SAFETY: no other pointer to the value exists, and the collector calls this once. `T: Send` was asked for by the
    // constructor, so this thread may drop it. Unwinding out of here ends the process.
    unsafe { ptr::drop_in_place(object.cast::<T>()) }
}

impl<T> Finalize<T> {
    /// Calls `f` with the value, which is not dropped before `f` returns.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // The address lies in this frame until `f` has returned, wherever `self` came from.
        let keep: *const Self = self;
        place::escape(&raw const keep);
        let result = f(&self.value);
        place::escape(&raw const keep);
        result
    }

    /// Keeps the value until the guard is dropped: an entry in a table, tens of nanoseconds. A forgotten guard keeps it for ever.
    pub fn guard(&self) -> Guard<'_, T> {
        let keep: *const Self = self;
        place::escape(&raw const keep);
        if !raw::pin(keep.addr()) {
            OutOfMemory {
                layout: core::alloc::Layout::new::<T>(),
            }
            .fail()
        }
        place::escape(&raw const keep);
        Guard { object: self }
    }
}

/// Access to a value of [`Finalize`], which is not dropped as long as the guard exists.
pub struct Guard<'a, T> {
    object: &'a Finalize<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // The object is pinned, so the value is not dropped.
        &self.object.value
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        raw::unpin(ptr::from_ref(self.object).addr());
    }
}

impl<T: fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Finalize<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|v| v.fmt(f))
    }
}

impl<T: fmt::Display> fmt::Display for Finalize<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|v| v.fmt(f))
    }
}
