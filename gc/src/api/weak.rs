//! Pointers that do not keep their object alive.

use super::Gc;
use super::peek;
use super::place::{self, OutOfMemory};
use crate::raw::{self, Kind};
use crate::sync::AtomicUsize;
use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};

/// A pointer to a collected object that does not keep it alive.
///
/// ```
/// use dunegc::{Gc, Weak};
///
/// let strong = Gc::new(17);
/// let weak: Weak<i32> = Gc::downgrade(strong);
/// dunegc::collect().unwrap();
/// assert_eq!(weak.upgrade().map(|gc| *gc), Some(17)); // `strong` is still here:
/// assert_eq!(*strong, 17);
/// ```
///
/// It is cleared in the collection that finds the object unreachable, before `Drop` runs and before the memory is reused; from
/// then on [`upgrade`](Weak::upgrade) gives `None`, for good. An object that is kept for the `Drop` of another one only
/// counts as unreachable.
///
/// A `Weak` is one word and `Copy`; it is `Send` and `Sync` as [`Gc`] is.
pub struct Weak<T: ?Sized> {
    link: Option<NonNull<Link<T>>>,
}

/// Lies in a pointer-free object of its own, so that the collector does not see the address in it.
struct Link<T: ?Sized> {
    /// The address, inverted; 0 when the object is gone. Registered with the collector, which writes the 0 with the world
    /// stopped.
    hidden: AtomicUsize,
    /// The rest of the pointer (length or vtable); its address part is 0.
    rest: *const T,
}

// SAFETY: a `Weak` is good for a `Gc<T>` at most. The link is an atomic word, and a pointer that is never written again.
unsafe impl<T: ?Sized + Send + Sync> Send for Weak<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for Weak<T> {}

impl<T: ?Sized> Gc<T> {
    /// A weak pointer to the same object. Copies of the result share one table entry; each call makes another.
    /// Ends the process when memory is exhausted.
    pub fn downgrade(this: Gc<T>) -> Weak<T> {
        Self::try_downgrade(this).unwrap_or_else(|e| e.fail())
    }

    /// As [`Gc::downgrade`].
    ///
    /// # Errors
    /// When the heap is exhausted.
    pub fn try_downgrade(this: Gc<T>) -> Result<Weak<T>, OutOfMemory> {
        let layout = Layout::new::<Link<T>>();
        let link = place::allocate(Kind::Atomic, layout)?.cast::<Link<T>>();
        let p = Gc::as_ptr(this);
        let addr = p.cast::<u8>().addr();
        // SAFETY: the memory fits a link and is nobody else's.
        unsafe {
            link.write(Link {
                hidden: AtomicUsize::new(!addr),
                rest: p.wrapping_byte_sub(addr),
            })
        };
        // Not an object of the heap: a static that `Gc::map` has found, or nothing at all (an empty slice). It stays.
        if raw::find(addr).is_some_and(|o| matches!(o.kind, Kind::Scan | Kind::Atomic)) {
            // SAFETY: the link was initialised above.
            let hidden = unsafe { link.as_ref() }.hidden.as_ptr();
            if !raw::register_link(hidden, p.cast()) {
                return Err(OutOfMemory { layout });
            }
        }
        // The object must not die before its link is known.
        place::escape(&raw const this);
        Ok(Weak { link: Some(link) })
    }
}

impl<T: ?Sized> Weak<T> {
    /// Points to nothing.
    pub const fn new() -> Self {
        Weak { link: None }
    }

    /// The object, if it is still there.
    #[inline]
    pub fn upgrade(&self) -> Option<Gc<T>> {
        // SAFETY: the link was initialised, and `self` keeps its object alive.
        let link = unsafe { self.link?.as_ref() };
        let addr = peek::peek(&link.hidden, place::reveal)?;
        // SAFETY: the object is alive, as `peek` says. The pointer is the one that `downgrade` took apart.
        Some(unsafe { Gc::from_raw(link.rest.wrapping_byte_add(addr)) })
    }

    /// True if both were made by the same call of [`Gc::downgrade`], or one is a copy of the other.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (self.link, other.link) {
            (Some(a), Some(b)) => ptr::addr_eq(a.as_ptr(), b.as_ptr()),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<T: ?Sized> Copy for Weak<T> {}

impl<T: ?Sized> Clone for Weak<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Default for Weak<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}
