//! Finalizers of debug objects: they are called with the program's part of the object.

use core::ffi::c_void;
use core::ptr;

use crate::allocation::GC_malloc;
use crate::debug::{HEADER, is_debug};
use crate::finalize::register;
use crate::print::error;
use dunegc::raw::{self, Finalizer, Order};

/// What the finalizer of the whole object gets as its data.
#[repr(C)]
struct Closure {
    f: Finalizer,
    data: *mut u8,
}

unsafe extern "C" fn run(object: *mut u8, closure: *mut u8) {
    // SAFETY: registered below with the start of a debug object and a closure.
    unsafe {
        let c = closure.cast::<Closure>().read();
        (c.f)(object.add(HEADER), c.data);
    }
}

unsafe fn register_debug(
    object: *mut c_void,
    f: Option<Finalizer>,
    data: *mut c_void,
    old_f: *mut Option<Finalizer>,
    old_data: *mut *mut c_void,
    order: Order,
    name: &str,
) {
    let (mut of, mut od) = (None::<Finalizer>, ptr::null_mut::<c_void>());
    match raw::find(object as usize) {
        Some(o) if object as usize == o.base + HEADER && is_debug(&o) => {
            let base = o.base as *mut c_void;
            // SAFETY: the closure is fresh; the rest by the caller's contract.
            unsafe {
                match f {
                    None => register(base, None, ptr::null_mut(), &mut of, &mut od, order),
                    Some(f) => {
                        let c = GC_malloc(size_of::<Closure>()).cast::<Closure>();
                        if c.is_null() {
                            return;
                        }
                        c.write(Closure {
                            f,
                            data: data.cast(),
                        });
                        register(base, Some(run), c.cast(), &mut of, &mut od, order);
                    }
                }
            }
        }
        Some(_) => error(format_args!(
            "{name} called with non-base-pointer {:#x}\n",
            object as usize
        )),
        None => {}
    }
    if of.is_some_and(|f| ptr::fn_addr_eq(f, run as Finalizer)) {
        // SAFETY: data of `run` is a closure, kept alive by `od`.
        let c = unsafe { &*od.cast::<Closure>() };
        (of, od) = (Some(c.f), c.data.cast());
    }
    // SAFETY: by the caller's contract.
    unsafe {
        if !old_f.is_null() {
            old_f.write(of);
        }
        if !old_data.is_null() {
            old_data.write(od);
        }
    }
}

macro_rules! registrations {
    ($($name:ident $order:expr;)*) => { $(
        /// As the function without `debug`, for debug objects.
        ///
        /// # Safety
        /// `f` may be called with `object` and `data`; the places are null or writable.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            object: *mut c_void,
            f: Option<Finalizer>,
            data: *mut c_void,
            old_f: *mut Option<Finalizer>,
            old_data: *mut *mut c_void,
        ) {
            // SAFETY: by the caller's contract.
            unsafe { register_debug(object, f, data, old_f, old_data, $order, stringify!($name)) }
        }
    )* };
}

registrations! {
    GC_debug_register_finalizer Order::AfterReferrers;
    GC_debug_register_finalizer_ignore_self Order::AfterReferrersButSelf;
    GC_debug_register_finalizer_no_order Order::Unordered;
    GC_debug_register_finalizer_unreachable Order::LastOfAll;
}
