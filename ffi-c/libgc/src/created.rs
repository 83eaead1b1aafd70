//! Threads that the program creates through this library: their arguments and results are kept while only libc knows them.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::cell::Cell;
use std::sync::OnceLock;

use crate::{startup, threads};
use dunegc::raw::{self, Kind};
use dunegc::sys::lock::Lock;

type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// A created thread that was neither joined nor detached, or has not ended. An uncollectable object: what it holds is reachable.
struct Thread {
    next: *mut Thread,
    start: Start,
    argument: *mut c_void,
    result: *mut c_void,
    /// Of this entry alone: a later one can lie at the same address.
    serial: u64,
    /// 0 until it runs.
    id: libc::pthread_t,
    detached: bool,
    ended: bool,
}

struct List(*mut Thread);
// SAFETY: the threads in it are reached with its lock held.
unsafe impl Send for List {}

static THREADS: Lock<List> = Lock::new(List(ptr::null_mut()));
static ANY: AtomicBool = AtomicBool::new(false);

std::thread_local! {
    /// The calling thread's own entry, if it was created here.
    static OWN: Cell<*mut Thread> = const { Cell::new(ptr::null_mut()) };
}

/// Some thread was created.
pub fn any() -> bool {
    ANY.load(Relaxed)
}

/// For the fork protocol.
pub fn lock_for_fork() -> &'static Lock<impl Sized> {
    &THREADS
}

/// Takes the entry for which `f` holds out of the list. With its lock held.
///
/// # Safety
/// The list is the one in [`THREADS`].
unsafe fn take(list: &mut List, f: impl Fn(&Thread) -> bool) -> *mut Thread {
    let mut at = &raw mut list.0;
    // SAFETY: entries in the list are live objects of this module, changed with the lock held only.
    unsafe {
        while !(*at).is_null() {
            let t = *at;
            if f(&*t) {
                *at = (*t).next;
                return t;
            }
            at = &raw mut (*t).next;
        }
    }
    ptr::null_mut()
}

/// The calling thread ends: its entry keeps the result until the thread is joined; if it is detached, nobody wants it.
fn ended(result: *mut c_void) {
    let own = OWN.replace(ptr::null_mut());
    if own.is_null() {
        return;
    }
    let mut list = THREADS.lock();
    // SAFETY: the entry is live until it is joined or, below, given up; changed with the lock held.
    unsafe {
        (*own).result = result;
        (*own).ended = true;
        if (*own).detached {
            take(&mut list, |t| ptr::eq(t, own));
            drop(list);
            let _ = raw::free(own.cast());
        }
    }
}

/// For the machine code below.
#[repr(C)]
struct Call {
    start: Start,
    argument: *mut c_void,
}

/// The new thread begins: what it is to call.
unsafe extern "C" fn begin(own: *mut Thread, call: *mut Call) {
    OWN.set(own);
    threads::register();
    watch_end(own);
    // SAFETY: the entry was made for this thread; start and argument do not change. The place is on the caller's stack.
    unsafe {
        let _list = THREADS.lock();
        (*own).id = libc::pthread_self();
        call.write(Call {
            start: (*own).start,
            argument: (*own).argument,
        });
    }
}

/// Its start function has returned.
extern "C" fn end(result: *mut c_void) -> *mut c_void {
    ended(result);
    result
}

/// What a new thread runs. The end of a thread by `pthread_exit` or a cancellation unwinds its stack: there is no frame of Rust below
/// the start function.
#[unsafe(naked)]
unsafe extern "C" fn run(_own: *mut c_void) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "sub rsp, 24",
        ".cfi_adjust_cfa_offset 24",
        "mov rsi, rsp",
        "call {begin}",
        "mov rdi, [rsp + 8]",
        "call [rsp]",
        "mov rdi, rax",
        "call {end}",
        "add rsp, 24",
        ".cfi_adjust_cfa_offset -24",
        "ret",
        ".cfi_endproc",
        begin = sym begin,
        end = sym end,
    )
}

/// Has [`ended`] called when the thread ends otherwise than by returning.
fn watch_end(own: *mut Thread) {
    extern "C" fn gone(_: *mut c_void) {
        ended(ptr::null_mut());
    }
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: a valid place; the destructor has the right type.
        let made = unsafe { libc::pthread_key_create(&mut key, Some(gone)) } == 0;
        made.then_some(key)
    });
    if let Some(key) = *key {
        // SAFETY: the key exists.
        unsafe { libc::pthread_setspecific(key, own.cast()) };
    }
}

/// `pthread_create`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    startup::first_use();
    ANY.store(true, Relaxed);
    let mut state = libc::PTHREAD_CREATE_JOINABLE;
    if !attributes.is_null() {
        // SAFETY: not null, so by the caller's contract initialised.
        unsafe { pthread_attr_getdetachstate(attributes, &mut state) };
    }
    let own = raw::alloc(Kind::Uncollectable, size_of::<Thread>()).cast::<Thread>();
    if own.is_null() {
        return libc::EAGAIN;
    }
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Relaxed);
    let mut list = THREADS.lock();
    // SAFETY: a fresh object of the right size; listed with the lock held.
    unsafe {
        own.write(Thread {
            next: list.0,
            start,
            argument,
            result: ptr::null_mut(),
            serial,
            id: 0,
            detached: state == libc::PTHREAD_CREATE_DETACHED,
            ended: false,
        });
    }
    list.0 = own;
    drop(list);
    // SAFETY: the caller's arguments, with a start function and argument that belong together.
    let result = unsafe { libc::pthread_create(thread, attributes, run_as_libc(), own.cast()) };
    let mut list = THREADS.lock();
    // SAFETY: as long as it is listed the entry is live: the lock is held.
    unsafe {
        if result != 0 {
            take(&mut list, |t| ptr::eq(t, own));
            drop(list);
            let _ = raw::free(own.cast());
        } else {
            let mut t = list.0;
            while !t.is_null() && (*t).serial != serial {
                t = (*t).next;
            }
            if !t.is_null() {
                (*t).id = *thread;
            }
        }
    }
    result
}

unsafe extern "C" {
    fn pthread_attr_getdetachstate(
        attributes: *const libc::pthread_attr_t,
        state: *mut c_int,
    ) -> c_int;
}

/// [`run`] as libc's declaration wants it.
fn run_as_libc() -> extern "C" fn(*mut c_void) -> *mut c_void {
    // SAFETY: only the word `unsafe` of the type differs; libc calls it with the argument that belongs to it.
    unsafe { core::mem::transmute::<Start, extern "C" fn(*mut c_void) -> *mut c_void>(run) }
}

/// Forgets a thread that nobody waits for any more.
fn forget(id: libc::pthread_t) {
    let mut list = THREADS.lock();
    // SAFETY: the list is the one in THREADS.
    let t = unsafe { take(&mut list, |t| t.id == id && t.ended) };
    drop(list);
    if !t.is_null() {
        // SAFETY: it is in the list no more, and its thread has ended.
        let _ = unsafe { raw::free(t.cast()) };
    }
}

/// `pthread_join`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_join(
    thread: libc::pthread_t,
    result: *mut *mut c_void,
) -> c_int {
    // SAFETY: by the caller's contract.
    let r = unsafe { libc::pthread_join(thread, result) };
    if r == 0 {
        forget(thread);
    }
    r
}

/// `pthread_detach`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_detach(thread: libc::pthread_t) -> c_int {
    {
        let list = THREADS.lock();
        let mut t = list.0;
        while !t.is_null() {
            // SAFETY: entries in the list are live while its lock is held.
            unsafe {
                if (*t).id == thread {
                    (*t).detached = true;
                }
                t = (*t).next;
            }
        }
    }
    forget(thread);
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_detach(thread) }
}

extern "C" fn exits(result: *mut c_void) {
    ended(result);
}

/// `pthread_exit`.
///
/// # Safety
/// As there.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_exit(_result: *mut c_void) -> ! {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {exits}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp pthread_exit@PLT",
        ".cfi_endproc",
        exits = sym exits,
    )
}

/// `pthread_cancel`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_cancel(thread: libc::pthread_t) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_cancel(thread) }
}
