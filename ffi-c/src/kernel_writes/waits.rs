//! Waiting for descriptors, processes and time.

use core::ffi::{c_int, c_uint, c_void};
use libc::{id_t, nfds_t, pid_t, size_t};

super::writes! {
    poll(fds: *mut c_void, count: nfds_t, timeout: c_int) -> c_int, [fds];
    __poll(fds: *mut c_void, count: nfds_t, timeout: c_int) -> c_int, [fds];
    __poll_chk(fds: *mut c_void, count: nfds_t, timeout: c_int, room: size_t) -> c_int, [fds];
    select(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *mut c_void) -> c_int, [read, write, except, timeout];
    __select(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *mut c_void) -> c_int, [read, write, except, timeout];
    epoll_wait(epoll: c_int, events: *mut c_void, count: c_int, timeout: c_int) -> c_int, [events];
    wait(status: *mut c_int) -> pid_t, [status];
    __wait(status: *mut c_int) -> pid_t, [status];
    wait3(status: *mut c_int, options: c_int, usage: *mut c_void) -> pid_t, [status, usage];
    wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut c_void) -> pid_t, [status, usage];
    waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t, [status];
    __waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t, [status];
    waitid(kind: c_uint, id: id_t, info: *mut c_void, options: c_int) -> c_int, [info];
    nanosleep(time: *const c_void, left: *mut c_void) -> c_int, [left];
    __nanosleep(time: *const c_void, left: *mut c_void) -> c_int, [left];
    clock_nanosleep(clock: c_int, flags: c_int, time: *const c_void, left: *mut c_void) -> c_int, [left];
    eventfd_read(fd: c_int, to: *mut u64) -> c_int, [to];
}
