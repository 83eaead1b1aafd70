//! `libgccpp.so.1`: the C++ operators `new` and `delete` on `libgc.so.1`. Objects are uncollectable, and scanned; they end with `delete`.
//!
//! All functions are written in machine instructions: an exception that leaves them must not pass a frame of Rust.
#![allow(non_snake_case, non_upper_case_globals)]

use core::arch::naked_asm;
use core::ffi::c_void;
use core::sync::atomic::AtomicU32;

/// Throws `std::bad_alloc`: `GC_throw_bad_alloc()`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn _Z18GC_throw_bad_allocv() -> ! {
    naked_asm!("jmp _ZSt17__throw_bad_allocv@PLT")
}

macro_rules! operators {
    ($(new $new:ident;)* $(delete $delete:ident;)*) => { $(
        /// `operator new`: an object that is scanned and not collected; throws without memory.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $new(_size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "call GC_malloc_uncollectable@PLT",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "test rax, rax",
                "je _Z18GC_throw_bad_allocv@PLT",
                "ret",
                ".cfi_endproc",
            )
        }
    )* $(
        /// `operator delete`; takes null.
        ///
        /// # Safety
        /// The object came from `operator new` or another allocation of libgc, and nobody uses it afterwards.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete(_p: *mut c_void) {
            naked_asm!("jmp GC_free@PLT")
        }
    )* };
}

operators! {
    new _Znwm;
    new _Znam;
    delete _ZdlPv;
    delete _ZdlPvm;
    delete _ZdaPv;
    delete _ZdaPvm;
}

/// The end of the library's data, which other implementations export.
#[unsafe(no_mangle)]
pub static _end: AtomicU32 = AtomicU32::new(0);
