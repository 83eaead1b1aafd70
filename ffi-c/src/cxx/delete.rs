//! `operator delete`.

use core::ffi::c_void;

use super::runtime::Operator;
use super::{all_ours, check_all_ours};
use crate::malloc::release;

/// One form. `plain` forms define the others.
macro_rules! operator_delete {
    ($name:ident, plain, $readable:literal, ($($arg:ident),*)) => {
        #[doc = concat!("`", $readable, "`.")]
        ///
        /// # Safety
        /// As `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(p: *mut c_void $(, $arg: usize)*) {
            // SAFETY: by the caller's contract.
            unsafe { release(p) }
        }
    };
    ($name:ident, $cold:ident, $readable:literal, ($($arg:ident),*)) => {
        #[doc = concat!("`", $readable, "`.")]
        ///
        /// # Safety
        /// As `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(p: *mut c_void $(, $arg: usize)*) {
            if !all_ours() {
                // SAFETY: by the caller's contract.
                return unsafe { $cold(p $(, $arg)*) };
            }
            // SAFETY: by the caller's contract.
            unsafe { release(p) }
        }

        #[cold]
        unsafe extern "C" fn $cold(p: *mut c_void $(, $arg: usize)*) {
            static RUNTIME: Operator = Operator::new(
                // SAFETY: the bytes end in the only NUL.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
                $readable,
            );
            let f = if check_all_ours() { core::ptr::null_mut() } else { RUNTIME.find() };
            if f.is_null() {
                // SAFETY: by the caller's contract.
                return unsafe { release(p) };
            }
            // SAFETY: the operator of this name takes these types; the contract is the caller's.
            unsafe {
                core::mem::transmute::<*mut c_void, extern "C" fn(*mut c_void $(, operator_delete!(@type $arg))*)>(f)(p $(, $arg)*)
            }
        }
    };
    (@type $arg:ident) => { usize };
}

operator_delete!(_ZdlPv, plain, "operator delete", ());
operator_delete!(_ZdaPv, array_cold, "operator delete[]", ());
operator_delete!(_ZdlPvm, sized_cold, "operator delete(size_t)", (_size));
operator_delete!(
    _ZdaPvm,
    array_sized_cold,
    "operator delete[](size_t)",
    (_size)
);
operator_delete!(
    _ZdlPvRKSt9nothrow_t,
    nothrow_cold,
    "operator delete(nothrow)",
    (_nothrow)
);
operator_delete!(
    _ZdaPvRKSt9nothrow_t,
    array_nothrow_cold,
    "operator delete[](nothrow)",
    (_nothrow)
);
operator_delete!(
    _ZdlPvSt11align_val_t,
    plain,
    "operator delete(align_val_t)",
    (_align)
);
operator_delete!(
    _ZdaPvSt11align_val_t,
    array_aligned_cold,
    "operator delete[](align_val_t)",
    (_align)
);
operator_delete!(
    _ZdlPvmSt11align_val_t,
    sized_aligned_cold,
    "operator delete(size_t, align_val_t)",
    (_size, _align)
);
operator_delete!(
    _ZdaPvmSt11align_val_t,
    array_sized_aligned_cold,
    "operator delete[](size_t, align_val_t)",
    (_size, _align)
);
operator_delete!(
    _ZdlPvSt11align_val_tRKSt9nothrow_t,
    aligned_nothrow_cold,
    "operator delete(align_val_t, nothrow)",
    (_align, _nothrow)
);
operator_delete!(
    _ZdaPvSt11align_val_tRKSt9nothrow_t,
    array_aligned_nothrow_cold,
    "operator delete[](align_val_t, nothrow)",
    (_align, _nothrow)
);
