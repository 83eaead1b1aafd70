//! Types whose values keep nothing alive.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::num::{NonZero, Saturating, Wrapping};
use core::sync::atomic::*;
use core::time::Duration;

/// Types whose values hold no pointer that has to keep an object alive. [`Gc::new_atomic`](crate::Gc::new_atomic) puts
/// them into memory that the collector never reads, which makes marking faster and stray integers harmless.
///
/// Implemented for numbers, characters and their like, for atomics of numbers, and for arrays, slices, tuples, options and
/// cells of such types. Not for references, raw pointers, function pointers, `Gc`, `Box`, ...
///
/// ```
/// use dunegc::{Gc, NoPointers};
///
/// #[derive(Clone, Copy)]
/// struct Sample { time: f64, value: i32 }
/// // SAFETY: two numbers.
/// unsafe impl NoPointers for Sample {}
///
/// let samples = Gc::<[Sample]>::from_slice_atomic(&[Sample { time: 0.5, value: 3 }; 100]);
/// assert_eq!(samples[99].value, 3);
/// assert_eq!(samples[0].time, 0.5);
/// ```
///
/// ```compile_fail,E0277
/// let number = dunegc::Gc::new(7);
/// dunegc::Gc::new_atomic(number); // would hide `number` from the collector
/// ```
///
/// # Safety
/// No value of the type contains, directly or in a part, a pointer to memory that stays allocated only because of that
/// pointer: no [`Gc`](crate::Gc), [`GcVec`](crate::GcVec) or [`Weak`](crate::Weak), nor, in mode `reclaim`, the only
/// pointer to a malloc'ed block.
pub unsafe trait NoPointers {}

macro_rules! plain {
    ($($t:ty),* $(,)?) => { $(
        // SAFETY: a number, a character, a truth value or text: no pointer among its bytes.
        unsafe impl NoPointers for $t {}
    )* };
}

plain!(
    (),
    bool,
    char,
    str,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    Duration,
    AtomicBool,
    AtomicU8,
    AtomicU16,
    AtomicU32,
    AtomicU64,
    AtomicUsize,
    AtomicI8,
    AtomicI16,
    AtomicI32,
    AtomicI64,
    AtomicIsize,
    NonZero<u8>,
    NonZero<u16>,
    NonZero<u32>,
    NonZero<u64>,
    NonZero<u128>,
    NonZero<usize>,
    NonZero<i8>,
    NonZero<i16>,
    NonZero<i32>,
    NonZero<i64>,
    NonZero<i128>,
    NonZero<isize>,
);

// SAFETY: no value is stored.
unsafe impl<T: ?Sized> NoPointers for PhantomData<T> {}
// SAFETY: the elements hold no pointers, and there is nothing else.
unsafe impl<T: NoPointers> NoPointers for [T] {}
// SAFETY: as for slices.
unsafe impl<T: NoPointers, const N: usize> NoPointers for [T; N] {}
// SAFETY: a value without pointers or none.
unsafe impl<T: NoPointers> NoPointers for Option<T> {}
// SAFETY: only values of `T` may be read from it.
unsafe impl<T: NoPointers> NoPointers for MaybeUninit<T> {}
// SAFETY: the content is a `T` at all times.
unsafe impl<T: NoPointers + ?Sized> NoPointers for Cell<T> {}
// SAFETY: the content is a `T` at all times.
unsafe impl<T: NoPointers + ?Sized> NoPointers for UnsafeCell<T> {}
// SAFETY: nothing but a `T`.
unsafe impl<T: NoPointers> NoPointers for Wrapping<T> {}
// SAFETY: nothing but a `T`.
unsafe impl<T: NoPointers> NoPointers for Saturating<T> {}

macro_rules! tuples {
    ($(($($t:ident)+))*) => { $(
        // SAFETY: every part is without pointers.
        unsafe impl<$($t: NoPointers),+> NoPointers for ($($t,)+) {}
    )* };
}

tuples!((A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F));
