//! `timer_create` with `SIGEV_THREAD`, over a helper thread that can be stopped.
//!
//! glibc's own helper blocks every signal by a bare system call, so that no collection could run once such a timer was made. This
//! one blocks all but the stop signal. Like glibc's it waits for the kernel's timer signals, which go to it alone
//! (`SIGEV_THREAD_ID`), and starts a detached thread with the attributes asked for at each. The `timer_t` is the kernel's,
//! so that the other timer functions need no help. The value is a root as long as the timer exists.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::next::Next;
use crate::{errno, reclaim, threads};
use gc::raw::{self, Kind};

type Create = unsafe extern "C" fn(libc::clockid_t, *mut Event, *mut usize) -> c_int;
type Delete = unsafe extern "C" fn(usize) -> c_int;
type Notify = unsafe extern "C" fn(usize);

// SAFETY: the types are those of the functions; a `timer_t` is a pointer that nobody follows.
static NEXT_CREATE: Next<Create> = unsafe { Next::new(c"timer_create") };
// SAFETY: as above.
static NEXT_DELETE: Next<Delete> = unsafe { Next::new(c"timer_delete") };

/// glibc's internal signal for timers and cancellation: no program can use it.
const SIGNAL: c_int = 32;
static SIGNAL_SET: u64 = 1 << (SIGNAL - 1);

/// `struct sigevent`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Event {
    value: usize,
    signal: c_int,
    notify: c_int,
    /// The function, or the thread id in the low half.
    target: usize,
    attributes: *const libc::pthread_attr_t,
    rest: [usize; 4],
}

const _: () = assert!(size_of::<Event>() == size_of::<libc::sigevent>());

/// A timer. Uncollectable, so a root.
struct Node {
    next: *mut Node,
    id: usize,
    timer: usize,
    notification: Notification,
    attributes: libc::pthread_attr_t,
}

/// What a notification thread does.
#[derive(Clone, Copy)]
struct Notification {
    function: Notify,
    value: usize,
}

const BUCKETS: usize = 256;

struct Table {
    buckets: [*mut Node; BUCKETS],
    last_id: usize,
}

/// The timers, and the lock that guards them.
struct Shared {
    lock: UnsafeCell<libc::pthread_mutex_t>,
    table: UnsafeCell<Table>,
}

// SAFETY: the table is touched with the lock held only.
unsafe impl Sync for Shared {}

static TIMERS: Shared = Shared {
    lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    table: UnsafeCell::new(Table {
        buckets: [ptr::null_mut(); BUCKETS],
        last_id: 0,
    }),
};

/// Thread id of the helper; 0 for none.
static HELPER: AtomicI32 = AtomicI32::new(0);

impl Shared {
    fn with<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        // SAFETY: an initialised mutex; the table is this thread's alone until it is unlocked. `f` does not come back here.
        unsafe {
            libc::pthread_mutex_lock(self.lock.get());
            let r = f(&mut *self.table.get());
            libc::pthread_mutex_unlock(self.lock.get());
            r
        }
    }
}

impl Table {
    /// Takes out the first node in bucket `b` for which `is` holds; null if there is none.
    fn take_from(&mut self, b: usize, is: impl Fn(&Node) -> bool) -> *mut Node {
        let mut link: *mut *mut Node = &mut self.buckets[b];
        // SAFETY: links lead to the table's own nodes, which live until they are taken out.
        unsafe {
            while !(*link).is_null() {
                let node = *link;
                if is(&*node) {
                    *link = (*node).next;
                    return node;
                }
                link = &raw mut (*node).next;
            }
        }
        ptr::null_mut()
    }

    fn find(&self, id: usize) -> Option<&Node> {
        let mut node = self.buckets[id % BUCKETS];
        // SAFETY: as above.
        while let Some(n) = unsafe { node.as_ref() } {
            if n.id == id {
                return Some(n);
            }
            node = n.next;
        }
        None
    }
}

/// `timer_create`; a block that the event's value points to stays as long as the kernel may know it.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timer_create(
    clock: libc::clockid_t,
    event: *mut Event,
    timer: *mut usize,
) -> c_int {
    let Some(next) = NEXT_CREATE.get() else {
        return fail(libc::ENOSYS);
    };
    // SAFETY: by the caller's contract.
    match unsafe { event.as_ref() } {
        // SAFETY: as above.
        Some(e) if e.notify == libc::SIGEV_THREAD => unsafe { create(next, clock, e, timer) },
        e => {
            if let Some(e) = e {
                reclaim::note(e.value);
            }
            // SAFETY: the caller's arguments.
            unsafe { next(clock, event, timer) }
        }
    }
}

/// # Safety
/// As for `timer_create` with such an event.
unsafe fn create(next: Create, clock: libc::clockid_t, event: &Event, timer: *mut usize) -> c_int {
    let Some(helper) = TIMERS.with(|_| helper()) else {
        return fail(libc::EAGAIN);
    };
    let node = raw::alloc(Kind::Uncollectable, size_of::<Node>()).cast::<Node>();
    if node.is_null() {
        return fail(libc::EAGAIN);
    }
    let id = TIMERS.with(|t| {
        t.last_id += 1;
        t.last_id
    });
    // SAFETY: a fresh block of a node's size, zeroed; the attributes are the caller's, or null; the function is one by contract.
    unsafe {
        (*node).id = id;
        (*node).notification = Notification {
            function: core::mem::transmute::<usize, Notify>(event.target),
            value: event.value,
        };
        copy_attributes(event.attributes, &raw mut (*node).attributes);
    }
    let mut kernel = Event {
        value: id,
        signal: SIGNAL,
        notify: libc::SIGEV_THREAD_ID,
        target: helper as usize,
        attributes: ptr::null(),
        rest: [0; 4],
    };
    // SAFETY: a valid event; the place is the caller's.
    let result = unsafe { next(clock, &mut kernel, timer) };
    if result != 0 {
        // SAFETY: nobody else has the node.
        errno::preserve(|| unsafe { discard(node) });
        return result;
    }
    // Not armed yet, so the helper does not look for it before it is here.
    TIMERS.with(|t| {
        // SAFETY: the node is ours until it is in the table; the place was filled by the call above.
        unsafe {
            (*node).timer = timer.read();
            (*node).next = t.buckets[id % BUCKETS];
        }
        t.buckets[id % BUCKETS] = node;
    });
    0
}

/// `timer_delete`.
///
/// # Safety
/// As for the function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timer_delete(timer: usize) -> c_int {
    let Some(next) = NEXT_DELETE.get() else {
        return fail(libc::ENOSYS);
    };
    // Before the kernel's timer is gone: then its id may be another one's.
    let node = TIMERS.with(|t| {
        (0..BUCKETS)
            .map(|b| t.take_from(b, |n| n.timer == timer))
            .find(|n| !n.is_null())
    });
    if let Some(node) = node {
        // SAFETY: taken out, so nobody else has it.
        unsafe { discard(node) };
    }
    // SAFETY: the caller's argument.
    unsafe { next(timer) }
}

/// # Safety
/// The node is complete and not used afterwards.
unsafe fn discard(node: *mut Node) {
    // SAFETY: by the contract; the attributes were initialised by `copy_attributes`.
    unsafe {
        libc::pthread_attr_destroy(&raw mut (*node).attributes);
        let _ = raw::free(node.cast());
    }
}

fn fail(error: c_int) -> c_int {
    errno::set(error);
    -1
}

unsafe extern "C" {
    fn pthread_attr_getstack(
        attributes: *const libc::pthread_attr_t,
        address: *mut *mut c_void,
        size: *mut usize,
    ) -> c_int;
    fn pthread_attr_getscope(attributes: *const libc::pthread_attr_t, scope: *mut c_int) -> c_int;
    fn pthread_attr_setscope(attributes: *mut libc::pthread_attr_t, scope: c_int) -> c_int;
}

/// A copy of what was asked for, detached in any case, as glibc makes it.
///
/// # Safety
/// `from` is null or initialised; `to` is writable.
unsafe fn copy_attributes(from: *const libc::pthread_attr_t, to: *mut libc::pthread_attr_t) {
    // SAFETY: by the contract; what a getter gives is valid for the setter.
    unsafe {
        libc::pthread_attr_init(to);
        libc::pthread_attr_setdetachstate(to, libc::PTHREAD_CREATE_DETACHED);
        if from.is_null() {
            return;
        }
        let (mut n, mut size, mut stack) = (0, 0usize, ptr::null_mut());
        let mut param = MaybeUninit::<libc::sched_param>::zeroed();
        if libc::pthread_attr_getinheritsched(from, &mut n) == 0 {
            libc::pthread_attr_setinheritsched(to, n);
        }
        if libc::pthread_attr_getschedpolicy(from, &mut n) == 0 {
            libc::pthread_attr_setschedpolicy(to, n);
        }
        if libc::pthread_attr_getschedparam(from, param.as_mut_ptr()) == 0 {
            libc::pthread_attr_setschedparam(to, param.as_ptr());
        }
        if pthread_attr_getscope(from, &mut n) == 0 {
            pthread_attr_setscope(to, n);
        }
        if libc::pthread_attr_getguardsize(from, &mut size) == 0 {
            libc::pthread_attr_setguardsize(to, size);
        }
        if libc::pthread_attr_getstacksize(from, &mut size) == 0 {
            libc::pthread_attr_setstacksize(to, size);
        }
        // Without a stack of its own, the address is the end of nothing: 0 less the size.
        if pthread_attr_getstack(from, &mut stack, &mut size) == 0
            && (stack as usize).wrapping_add(size) != 0
            && !stack.is_null()
        {
            libc::pthread_attr_setstack(to, stack, size);
        }
    }
}

/// The helper's thread id, after starting it if there is none. With the lock held.
fn helper() -> Option<c_int> {
    if HELPER.load(Ordering::Acquire) == 0 {
        if !threads::spawn_detached(help) {
            return None;
        }
        while HELPER.load(Ordering::Acquire) == 0 {
            // SAFETY: no preconditions.
            unsafe { libc::sched_yield() };
        }
    }
    Some(HELPER.load(Ordering::Acquire))
}

/// `siginfo_t` of a timer's signal.
#[repr(C)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    pad: c_int,
    kernel_id: c_int,
    overrun: c_int,
    value: usize,
    rest: [usize; 12],
}

const _: () = assert!(size_of::<Info>() == 128);

/// Bare, because libc's functions leave its internal signals out.
fn set_mask(how: c_int, set: u64) {
    // SAFETY: a set of eight bytes.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how as usize,
            &raw const set,
            0usize,
            8usize,
        )
    };
}

extern "C" fn help(_: *mut c_void) -> *mut c_void {
    set_mask(libc::SIG_BLOCK, SIGNAL_SET);
    // SAFETY: no preconditions.
    HELPER.store(unsafe { libc::gettid() }, Ordering::Release);
    loop {
        let mut info = MaybeUninit::<Info>::zeroed();
        // SAFETY: a set of eight bytes and room for a siginfo; no time limit.
        let signal = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const SIGNAL_SET,
                info.as_mut_ptr(),
                0usize,
                8usize,
            )
        };
        // SAFETY: zeroed, or filled by the kernel.
        let info = unsafe { info.assume_init() };
        // Others come from a stop, or from somebody who cancels at random.
        if signal == SIGNAL as libc::c_long && info.code == libc::SI_TIMER {
            TIMERS.with(|t| {
                if let Some(node) = t.find(info.value) {
                    notify(node);
                }
            });
        }
    }
}

/// Starts the thread that tells of an expiration. As with glibc, it is lost if there is no memory for a thread.
fn notify(node: &Node) {
    let packet = raw::alloc(Kind::Uncollectable, size_of::<Notification>()).cast::<Notification>();
    if packet.is_null() {
        return;
    }
    let mut thread: libc::pthread_t = 0;
    // SAFETY: a fresh block for the packet, which the thread frees; initialised attributes.
    unsafe {
        packet.write(node.notification);
        if threads::pthread_create(&mut thread, &node.attributes, run, packet.cast()) != 0 {
            let _ = raw::free(packet.cast());
        }
    }
}

unsafe extern "C" fn run(packet: *mut c_void) -> *mut c_void {
    // As with glibc, everything else stays blocked.
    set_mask(libc::SIG_UNBLOCK, SIGNAL_SET);
    // SAFETY: `notify` made the packet for this thread; the program's function with the program's value.
    unsafe {
        let n = packet.cast::<Notification>().read();
        let _ = raw::free(packet.cast());
        (n.function)(n.value);
    }
    ptr::null_mut()
}

/// A fork child has neither timers nor a helper.
pub fn after_fork_in_child() {
    HELPER.store(0, Ordering::Relaxed);
    // SAFETY: the child has one thread; the parent's other threads may have left the lock locked or the table in between two
    // stores, so both are made anew. Nodes that were in it stay allocated.
    unsafe {
        TIMERS.lock.get().write(libc::PTHREAD_MUTEX_INITIALIZER);
        (*TIMERS.table.get()).buckets = [ptr::null_mut(); BUCKETS];
    }
}
