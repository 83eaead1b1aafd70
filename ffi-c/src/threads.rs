//! Thread creation: the argument's block stays alive until the thread runs, and the stack's bounds are made known.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use crate::kernel_writes;
use crate::next::Next;
use gc::raw::{self, Kind};
use gc::world;

type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Start,
    *mut c_void,
) -> c_int;
type C11Start = unsafe extern "C" fn(*mut c_void) -> c_int;
type C11Create = unsafe extern "C" fn(*mut c_void, C11Start, *mut c_void) -> c_int;

// SAFETY: the types are those of the functions in <pthread.h> and <threads.h>.
static NEXT_CREATE: Next<Create> = unsafe { Next::new(c"pthread_create") };
// SAFETY: as above.
static NEXT_C11_CREATE: Next<C11Create> = unsafe { Next::new(c"thrd_create") };

/// What a thread gets instead of its argument: a root that keeps the argument's block alive until the thread runs.
struct Packet<S> {
    start: S,
    argument: *mut c_void,
}

impl<S> Packet<S> {
    fn new(start: S, argument: *mut c_void) -> *mut Packet<S> {
        let packet = raw::alloc(Kind::Uncollectable, size_of::<Packet<S>>()).cast::<Packet<S>>();
        if !packet.is_null() {
            // SAFETY: a fresh block of the right size; 16-byte alignment is enough.
            unsafe { packet.write(Packet { start, argument }) };
        }
        packet
    }

    /// # Safety
    /// `packet` came from `new` and is not used afterwards.
    unsafe fn take(packet: *mut Packet<S>) -> Packet<S> {
        // SAFETY: by the contract it is initialised and ours alone.
        let content = unsafe { packet.read() };
        // SAFETY: as above; it came from `raw::alloc`.
        let _ = unsafe { raw::free(packet.cast()) };
        content
    }
}

/// Tells the collector the calling thread's stack; without that all of its mapping counts.
fn note_stack() {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the attributes are filled for the calling thread, which lives.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return;
    }
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: initialised by pthread_getattr_np; the places are valid.
    if unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) } == 0 {
        world::note_stack_bounds(low as usize, low as usize + size);
    }
    // SAFETY: initialised above, not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
}

unsafe extern "C" fn run(packet: *mut c_void) -> *mut c_void {
    note_stack();
    // SAFETY: `pthread_create` below made the packet for this thread.
    let Packet { start, argument } = unsafe { Packet::<Start>::take(packet.cast()) };
    // SAFETY: the program's function with the program's argument.
    unsafe { start(argument) }
}

unsafe extern "C" fn run_c11(packet: *mut c_void) -> c_int {
    note_stack();
    // SAFETY: `thrd_create` below made the packet for this thread.
    let Packet { start, argument } = unsafe { Packet::<C11Start>::take(packet.cast()) };
    // SAFETY: the program's function with the program's argument.
    unsafe { start(argument) }
}

/// `pthread_create`; EAGAIN without memory, as the standard allows.
///
/// # Safety
/// As in `<pthread.h>`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let Some(next) = NEXT_CREATE.get() else {
        return libc::EAGAIN;
    };
    kernel_writes::before_threads();
    let packet = Packet::new(start, argument);
    if packet.is_null() {
        return libc::EAGAIN;
    }
    // SAFETY: the caller's arguments, with a start function and argument that belong together.
    let result = unsafe { next(thread, attributes, run, packet.cast()) };
    if result != 0 {
        // SAFETY: the thread was not made, so nobody else has the packet.
        unsafe { Packet::take(packet) };
    }
    result
}

/// C11 `thrd_create`; `thrd_nomem` without memory.
///
/// # Safety
/// As in `<threads.h>`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thrd_create(
    thread: *mut c_void,
    start: C11Start,
    argument: *mut c_void,
) -> c_int {
    const THRD_ERROR: c_int = 2;
    const THRD_NOMEM: c_int = 3;
    const THRD_SUCCESS: c_int = 0;
    let Some(next) = NEXT_C11_CREATE.get() else {
        return THRD_ERROR;
    };
    kernel_writes::before_threads();
    let packet = Packet::new(start, argument);
    if packet.is_null() {
        return THRD_NOMEM;
    }
    // SAFETY: the caller's arguments, with a start function and argument that belong together.
    let result = unsafe { next(thread, run_c11, packet.cast()) };
    if result != THRD_SUCCESS {
        // SAFETY: the thread was not made, so nobody else has the packet.
        unsafe { Packet::take(packet) };
    }
    result
}

/// Starts a thread of this library with every signal blocked but those of the collector. False if it cannot be created.
pub fn spawn_detached(body: extern "C" fn(*mut c_void) -> *mut c_void) -> bool {
    let mut thread: libc::pthread_t = 0;
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: sets and attributes are initialised by the calls before they are used; the masks go through this library's
    // own pthread_sigmask, which leaves the stop signal unblocked.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return false;
        }
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        crate::signals::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let result = pthread_create(&mut thread, attributes.as_ptr(), body, ptr::null_mut());
        crate::signals::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result == 0
    }
}
