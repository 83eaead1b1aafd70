//! Sockets and message queues.

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use libc::{size_t, socklen_t, ssize_t};

super::writes! {
    recv(fd: c_int, to: *mut c_void, size: size_t, flags: c_int) -> ssize_t, [to];
    __recv_chk(fd: c_int, to: *mut c_void, size: size_t, room: size_t, flags: c_int) -> ssize_t, [to];
    recvfrom(fd: c_int, to: *mut c_void, size: size_t, flags: c_int, from: *mut c_void, length: *mut socklen_t) -> ssize_t, [to, from, length];
    __recvfrom_chk(fd: c_int, to: *mut c_void, size: size_t, room: size_t, flags: c_int, from: *mut c_void, length: *mut socklen_t) -> ssize_t, [to, from, length];
    accept(fd: c_int, from: *mut c_void, length: *mut socklen_t) -> c_int, [from, length];
    accept4(fd: c_int, from: *mut c_void, length: *mut socklen_t, flags: c_int) -> c_int, [from, length];
    getsockname(fd: c_int, name: *mut c_void, length: *mut socklen_t) -> c_int, [name, length];
    getpeername(fd: c_int, name: *mut c_void, length: *mut socklen_t) -> c_int, [name, length];
    getsockopt(fd: c_int, level: c_int, option: c_int, to: *mut c_void, length: *mut socklen_t) -> c_int, [to, length];
    socketpair(domain: c_int, kind: c_int, protocol: c_int, to: *mut c_int) -> c_int, [to];
    mq_receive(queue: c_int, to: *mut c_char, size: size_t, priority: *mut c_uint) -> ssize_t, [to, priority];
    mq_timedreceive(queue: c_int, to: *mut c_char, size: size_t, priority: *mut c_uint, until: *const c_void) -> ssize_t, [to, priority];
    msgrcv(queue: c_int, to: *mut c_void, size: size_t, kind: c_long, flags: c_int) -> ssize_t, [to];
    msgctl(queue: c_int, command: c_int, to: *mut c_void) -> c_int, [to];
    shmctl(segment: c_int, command: c_int, to: *mut c_void) -> c_int, [to];
    semctl(set: c_int, number: c_int, command: c_int, argument: usize) -> c_int, [argument];
}
