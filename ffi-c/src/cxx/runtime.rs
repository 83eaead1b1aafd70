//! The definitions of the C++ runtime library, and of the program.

use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::next::lookup;
use gc::message;

/// The runtime's definition of one operator.
pub struct Operator {
    name: &'static CStr,
    readable: &'static str,
    address: AtomicUsize,
}

impl Operator {
    /// The operator with mangled name `name`.
    pub const fn new(name: &'static CStr, readable: &'static str) -> Operator {
        Operator {
            name,
            readable,
            address: AtomicUsize::new(0),
        }
    }

    /// Its address; null if no C++ runtime is loaded.
    pub fn find(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if known != 0 {
            return known as *mut c_void;
        }
        let mut found = lookup(libc::RTLD_NEXT, self.name);
        if found.is_null() {
            found = in_local_runtime(self.name);
        }
        // Absence is not remembered: a runtime may be loaded later.
        self.address.store(found as usize, Ordering::Relaxed);
        found
    }

    /// Ends the process: this operator has to throw and nobody is there who could.
    pub fn nobody_throws(&self, size: usize) -> ! {
        message!(
            "{}({size}): out of memory, and no C++ runtime is loaded that could throw std::bad_alloc; aborting",
            self.readable
        );
        // SAFETY: abort may be called at any time.
        unsafe { libc::abort() }
    }
}

/// A runtime that was loaded with RTLD_LOCAL, as by a plugin of a C program.
fn in_local_runtime(name: &CStr) -> *mut c_void {
    for library in [c"libstdc++.so.6", c"libc++.so.1", c"libc++abi.so.1"] {
        // SAFETY: nothing is loaded anew, so no constructor runs.
        let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            continue;
        }
        let found = lookup(handle, name);
        // The handle is kept: the function must stay loaded.
        if !found.is_null() {
            return found;
        }
    }
    ptr::null_mut()
}

/// The program sees another definition than ours of a form by which the standard defines others.
pub fn any_form_replaced() -> bool {
    let ours: [(&CStr, usize); 8] = [
        (c"_Znwm", super::_Znwm as *const () as usize),
        (c"_Znam", super::_Znam as *const () as usize),
        (c"_ZdlPv", super::_ZdlPv as *const () as usize),
        (c"_ZdaPv", super::_ZdaPv as *const () as usize),
        (
            c"_ZnwmSt11align_val_t",
            super::_ZnwmSt11align_val_t as *const () as usize,
        ),
        (
            c"_ZnamSt11align_val_t",
            super::_ZnamSt11align_val_t as *const () as usize,
        ),
        (
            c"_ZdlPvSt11align_val_t",
            super::_ZdlPvSt11align_val_t as *const () as usize,
        ),
        (
            c"_ZdaPvSt11align_val_t",
            super::_ZdaPvSt11align_val_t as *const () as usize,
        ),
    ];
    ours.iter().any(|&(name, address)| {
        let seen = lookup(libc::RTLD_DEFAULT, name) as usize;
        seen != 0 && seen != address
    })
}
