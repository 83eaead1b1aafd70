//! Calls that find what they write through a vector or message header.

use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::mem::MaybeUninit;
use libc::{off_t, pid_t, size_t, ssize_t};

use super::{copy, in_kernel, parts};

/// Most places of one call that are told apart.
const MOST: usize = 64;

/// Collects places; when there are too many, only the lowest and the highest one matter any more.
pub struct Places {
    places: [usize; MOST],
    count: usize,
}

impl Places {
    pub fn new() -> Places {
        Places {
            places: [0; MOST],
            count: 0,
        }
    }

    pub fn add(&mut self, place: usize) {
        // Only what lies in the heap can be protected, and it is one range of addresses.
        if !gc::raw::owns(place) {
            return;
        }
        if self.count < MOST {
            self.places[self.count] = place;
            self.count += 1;
            return;
        }
        // The last two are the ends of one range that holds all others.
        let last = &mut self.places[MOST - 2..];
        let (lo, hi) = (last[0].min(last[1]), last[0].max(last[1]));
        last[0] = lo.min(place);
        last[1] = hi.max(place);
    }

    pub fn run<R>(&self, call: impl FnOnce() -> R) -> R {
        super::announced(self.places[..self.count].iter().copied(), call)
    }

    pub fn add_message(&mut self, message: usize) {
        self.add(message);
        let mut header = [MaybeUninit::<libc::msghdr>::zeroed()];
        if !copy(message, &mut header) {
            return;
        }
        // SAFETY: plain integers and pointers, for which every value is valid.
        let header = unsafe { header[0].assume_init() };
        self.add(header.msg_name as usize);
        self.add(header.msg_control as usize);
        parts(header.msg_iov as usize, header.msg_iovlen, |p| self.add(p));
    }

    pub fn add_messages(&mut self, messages: usize, count: usize) {
        for i in 0..count.min(libc::UIO_MAXIOV as usize) {
            self.add_message(messages + i * size_of::<libc::mmsghdr>());
        }
    }
}

fn through<R>(find: impl FnOnce(&mut Places), call: impl FnOnce() -> R) -> R {
    if !in_kernel::is_needed() {
        return call();
    }
    let mut places = Places::new();
    find(&mut places);
    places.run(call)
}

fn vector<R>(parts_at: *const c_void, count: c_int, call: impl FnOnce() -> R) -> R {
    let find = |p: &mut Places| parts(parts_at as usize, count.max(0) as usize, |at| p.add(at));
    through(find, call)
}

super::functions! {
    readv(fd: c_int, vec: *const c_void, count: c_int) -> ssize_t, |call| vector(vec, count, call);
    preadv(fd: c_int, vec: *const c_void, count: c_int, at: off_t) -> ssize_t, |call| vector(vec, count, call);
    preadv64(fd: c_int, vec: *const c_void, count: c_int, at: off_t) -> ssize_t, |call| vector(vec, count, call);
    preadv2(fd: c_int, vec: *const c_void, count: c_int, at: off_t, flags: c_int) -> ssize_t, |call| vector(vec, count, call);
    preadv64v2(fd: c_int, vec: *const c_void, count: c_int, at: off_t, flags: c_int) -> ssize_t, |call| vector(vec, count, call);
    process_vm_readv(pid: pid_t, vec: *const c_void, count: c_ulong, from: *const c_void, from_count: c_ulong, flags: c_ulong) -> ssize_t, |call| {
        through(|p| parts(vec as usize, count as size_t, |at| p.add(at)), call)
    };
    recvmsg(fd: c_int, message: *mut c_void, flags: c_int) -> ssize_t, |call| {
        through(|p| p.add_message(message as usize), call)
    };
    recvmmsg(fd: c_int, messages: *mut c_void, count: c_uint, flags: c_int, timeout: *mut c_void) -> c_int, |call| {
        through(|p| { p.add(timeout as usize); p.add_messages(messages as usize, count as usize) }, call)
    };
}
