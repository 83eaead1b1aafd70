//! On Linux: userfaultfd, whose faults another thread handles, or the faulting one in a handler of SIGBUS.

use super::{PAGE, PAGES, least, now, pages, write};
use std::io;
use std::sync::atomic::{AtomicI32, Ordering::*};

/// From linux/userfaultfd.h.
const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const WRITEPROTECT: u64 = 0xc018_aa06;
const FEATURE_WP: u64 = 1 << 0;
const FEATURE_SIGBUS: u64 = 1 << 7;
const REGISTER_WP: u64 = 1 << 1;
const USER_MODE_ONLY: i32 = 1;

/// What the handler of SIGBUS uses.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// Makes a request whose structure is an array of words.
fn request<const N: usize>(fd: i32, request: u64, mut words: [u64; N]) -> io::Result<()> {
    // SAFETY: the three requests read and write structures of these sizes, about mappings of this benchmark's own.
    match unsafe { libc::ioctl(fd, request as _, words.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open(features: u64) -> io::Result<i32> {
    // SAFETY: makes a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    request(fd as i32, API, [0xaa, features, 0])?;
    Ok(fd as i32)
}

/// Takes or gives back the right to write.
fn protect(fd: i32, at: usize, len: usize, taken: bool) -> io::Result<()> {
    request(fd, WRITEPROTECT, [at as u64, len as u64, taken.into()])
}

extern "C" fn give_back(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel fills it for a fault.
    let page = unsafe { (*info).si_addr() } as usize & !(PAGE - 1);
    let given = protect(DESCRIPTOR.load(Relaxed), page, PAGE, false);
    assert!(given.is_ok(), "UFFDIO_WRITEPROTECT");
}

/// Ticks for a page: all are protected at once, each is written, its fault gives the right to write back.
fn second_pattern(fd: i32) -> io::Result<f64> {
    let at = pages(PAGES);
    request(
        fd,
        REGISTER,
        [at as u64, (PAGES * PAGE) as u64, REGISTER_WP, 0],
    )?;
    protect(fd, at, PAGES * PAGE, true)?;
    Ok(least(PAGES, || {
        let start = now();
        let taken = protect(fd, at, PAGES * PAGE, true);
        assert!(taken.is_ok(), "UFFDIO_WRITEPROTECT");
        (0..PAGES).for_each(|i| write(at + i * PAGE));
        now() - start
    }))
}

/// Another thread reads of faults and answers them.
pub fn with_thread() -> io::Result<f64> {
    let fd = open(FEATURE_WP)?;
    std::thread::spawn(move || {
        // `struct uffd_msg`: the address of a fault is its third word.
        let mut message = [0u64; 4];
        loop {
            // SAFETY: as many bytes as the array has.
            let read = unsafe { libc::read(fd, message.as_mut_ptr().cast(), 32) };
            if read == 32 {
                let page = message[2] as usize & !(PAGE - 1);
                let given = protect(fd, page, PAGE, false);
                assert!(given.is_ok(), "UFFDIO_WRITEPROTECT");
            }
        }
    });
    second_pattern(fd)
}

/// The faulting thread gets SIGBUS.
pub fn with_signal() -> io::Result<f64> {
    let fd = open(FEATURE_WP | FEATURE_SIGBUS)?;
    DESCRIPTOR.store(fd, Relaxed);
    super::native::handle(libc::SIGBUS, give_back);
    second_pattern(fd)
}
