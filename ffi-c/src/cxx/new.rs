//! `operator new`.

use core::ffi::c_void;

use super::runtime::Operator;
use super::{all_ours, check_all_ours};
use crate::malloc::slow::{self, Request};
use crate::route;
use gc::raw::{self, Kind};

/// The runtime's operator with the same arguments, in place of a call here.
macro_rules! runtime {
    ($operator:expr, $size:ident, throws, ($($arg:expr),*)) => {{
        let f = $operator.find();
        if f.is_null() {
            $operator.nobody_throws($size)
        }
        // SAFETY: the operator of this name takes and returns these types.
        unsafe { core::mem::transmute::<*mut c_void, extern "C" fn($(runtime!(@type $arg)),*) -> *mut c_void>(f)($($arg),*) }
    }};
    ($operator:expr, $size:ident, returns_null, ($($arg:expr),*)) => {{
        let f = $operator.find();
        if f.is_null() {
            return core::ptr::null_mut();
        }
        // SAFETY: the operator of this name takes and returns these types.
        unsafe { core::mem::transmute::<*mut c_void, extern "C" fn($(runtime!(@type $arg)),*) -> *mut c_void>(f)($($arg),*) }
    }};
    (@type $arg:expr) => { usize };
}

/// One form. `plain` forms define the others.
macro_rules! operator_new {
    ($name:ident, $cold:ident, $from:ident, $static:ident, $readable:literal, $rank:ident, $fail:ident, ($($arg:ident),*),
     $align:tt) => {
        #[doc = concat!("`", $readable, "`.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(size: usize $(, $arg: usize)*) -> *mut c_void {
            if route::is_slow() || !operator_new!(@direct $rank) {
                return $cold(size $(, $arg)*);
            }
            match operator_new!(@fast $align, size) {
                Some(p) => p.cast(),
                None => $cold(size $(, $arg)*),
            }
        }

        static $static: Operator = Operator::new(
            // SAFETY: the bytes end in the only NUL.
            unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            $readable,
        );

        // Reached by a jump, so that the address on top of the stack is that of the operator's caller; see `slow`.
        #[cold]
        #[unsafe(naked)]
        extern "C" fn $cold(_size: usize $(, $arg: usize)*) -> *mut c_void {
            core::arch::naked_asm!(
                concat!("mov ", operator_new!(@register $($arg),*), ", [rsp]"),
                "jmp {from}",
                from = sym $from,
            )
        }

        extern "C" fn $from(size: usize $(, $arg: usize)*, caller: usize) -> *mut c_void {
            if operator_new!(@checked $rank) {
                let p = operator_new!(@slow $align, size, caller);
                if !p.is_null() {
                    return p;
                }
            }
            runtime!($static, size, $fail, (size $(, $arg)*))
        }
    };
    (@register) => { "rsi" };
    (@register $a:ident) => { "rdx" };
    (@register $a:ident, $b:ident) => { "rcx" };
    (@direct plain) => { true };
    (@direct derived) => { all_ours() };
    (@checked plain) => { true };
    (@checked derived) => { check_all_ours() };
    (@fast 0, $size:ident) => { raw::alloc_fast(Kind::Malloc, $size) };
    (@fast $align:ident, $size:ident) => { None::<*mut u8> };
    (@slow 0, $size:ident, $caller:ident) => {
        slow::allocate(Request { size: $size, align: 1, zeroed: false }, $caller)
    };
    (@slow $align:ident, $size:ident, $caller:ident) => {
        if $align.is_power_of_two() {
            slow::allocate(Request { size: $size, align: $align, zeroed: false }, $caller)
        } else {
            core::ptr::null_mut()
        }
    };
}

operator_new!(
    _Znwm,
    new_cold,
    new_from,
    NEW,
    "operator new",
    plain,
    throws,
    (),
    0
);
operator_new!(
    _Znam,
    array_cold,
    array_from,
    ARRAY,
    "operator new[]",
    derived,
    throws,
    (),
    0
);
operator_new!(
    _ZnwmRKSt9nothrow_t,
    new_nothrow_cold,
    new_nothrow_from,
    NEW_NOTHROW,
    "operator new(nothrow)",
    derived,
    returns_null,
    (_nothrow),
    0
);
operator_new!(
    _ZnamRKSt9nothrow_t,
    array_nothrow_cold,
    array_nothrow_from,
    ARRAY_NOTHROW,
    "operator new[](nothrow)",
    derived,
    returns_null,
    (_nothrow),
    0
);
operator_new!(
    _ZnwmSt11align_val_t,
    new_aligned_cold,
    new_aligned_from,
    NEW_ALIGNED,
    "operator new(align_val_t)",
    plain,
    throws,
    (align),
    align
);
operator_new!(
    _ZnamSt11align_val_t,
    array_aligned_cold,
    array_aligned_from,
    ARRAY_ALIGNED,
    "operator new[](align_val_t)",
    derived,
    throws,
    (align),
    align
);
operator_new!(
    _ZnwmSt11align_val_tRKSt9nothrow_t,
    new_aligned_nothrow_cold,
    new_aligned_nothrow_from,
    NEW_ALIGNED_NOTHROW,
    "operator new(align_val_t, nothrow)",
    derived,
    returns_null,
    (align, _nothrow),
    align
);
operator_new!(
    _ZnamSt11align_val_tRKSt9nothrow_t,
    array_aligned_nothrow_cold,
    array_aligned_nothrow_from,
    ARRAY_ALIGNED_NOTHROW,
    "operator new[](align_val_t, nothrow)",
    derived,
    returns_null,
    (align, _nothrow),
    align
);
