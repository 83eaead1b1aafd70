//! Definitions behind ours: the functions of libc or of a library loaded after this one that we interpose.

use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

const UNKNOWN: usize = 0;
const ABSENT: usize = 1;

/// A function found lazily by `dlsym(RTLD_NEXT)`. `F` is its `extern "C"` function pointer type.
pub struct Next<F> {
    name: &'static CStr,
    address: AtomicUsize,
    kind: PhantomData<F>,
}

impl<F: Copy> Next<F> {
    /// The next definition of `name`.
    ///
    /// # Safety
    /// `F` is a function pointer type that fits the function called `name`.
    pub const unsafe fn new(name: &'static CStr) -> Next<F> {
        assert!(size_of::<F>() == size_of::<usize>());
        Next {
            name,
            address: AtomicUsize::new(UNKNOWN),
            kind: PhantomData,
        }
    }

    /// The function, or `None` if no library behind this one has it.
    #[inline]
    pub fn get(&self) -> Option<F> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address == UNKNOWN {
            address = self.resolve();
        }
        // SAFETY: an address other than the two marks is that of the named function, which `new` was promised is an `F`.
        (address != ABSENT).then(|| unsafe { core::mem::transmute_copy(&address) })
    }

    #[cold]
    fn resolve(&self) -> usize {
        let found = lookup(libc::RTLD_NEXT, self.name);
        let address = if found.is_null() {
            ABSENT
        } else {
            found as usize
        };
        // Racing threads store the same value.
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

/// `dlsym` that keeps errno.
pub fn lookup(handle: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a valid handle or pseudo handle and a C string; RTLD_NEXT refers to this library, as the call is not a tail call.
    crate::errno::preserve(|| unsafe { libc::dlsym(handle, name.as_ptr()) })
}

/// The load address of the object that holds `address`; 0 if none does.
pub fn module_of(address: usize) -> usize {
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only compares the address and fills `info`.
    if unsafe { libc::dladdr(address as *const c_void, info.as_mut_ptr()) } == 0 {
        return 0;
    }
    // SAFETY: dladdr returned non-zero, so it filled `info`.
    unsafe { info.assume_init() }.dli_fbase as usize
}
