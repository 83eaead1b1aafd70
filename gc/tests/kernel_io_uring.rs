//! Requests of io_uring, through raw system calls, and contexts of Linux AIO.
use std::io::{Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
mod kernel_support;
use dunegc::roots::kernel::Unseen;
use kernel_support::{alone, owned, pass};

const ENTRIES: u32 = 4;
const NOP: u8 = 0;
const POLL_ADD: u8 = 6;
const READ: u8 = 22;

/// A ring as `io_uring_setup(2)` describes it.
struct Ring {
    fd: Option<OwnedFd>,
    parameters: [u32; 30],
    rings: *mut u8,
    sqes: *mut u8,
}

impl Ring {
    /// None where the kernel has no io_uring or does not let this process use it.
    fn new() -> Option<Ring> {
        let mut parameters = [0u32; 30];
        // SAFETY: the parameters have the size of struct io_uring_params.
        let fd =
            unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, parameters.as_mut_ptr()) };
        if fd < 0 {
            eprintln!(
                "skipped: io_uring_setup: {}",
                std::io::Error::last_os_error()
            );
            return None;
        }
        let fd = owned(fd as i32);
        let map = |offset| {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            // SAFETY: a new mapping; a page holds the rings of so few entries.
            let p = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    prot,
                    flags,
                    fd.as_raw_fd(),
                    offset,
                )
            };
            assert_ne!(p, libc::MAP_FAILED);
            p.cast::<u8>()
        };
        Some(Ring {
            rings: map(0),
            sqes: map(0x1000_0000),
            fd: Some(fd),
            parameters,
        })
    }

    /// A field of the rings; `at` is its index in the parameters.
    fn field(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the kernel says where the field is in the mapping, which lives as long as the ring.
        unsafe { &*self.rings.add(self.parameters[at] as usize).cast() }
    }

    fn submit(&self, opcode: u8, fd: i32, data: usize) {
        let mut sqe = [0u64; 8];
        sqe[0] = u64::from(opcode) | (fd as u64) << 32;
        sqe[3] = if opcode == READ {
            8
        } else {
            (libc::POLLIN as u64) << 32
        };
        static BUFFER: AtomicU64 = AtomicU64::new(0);
        sqe[2] = if opcode == READ {
            BUFFER.as_ptr() as u64
        } else {
            0
        };
        sqe[4] = data as u64;
        let tail = self.field(11);
        let slot = tail.load(Relaxed) & (ENTRIES - 1);
        // SAFETY: the slot is free, because every request is submitted at once.
        unsafe {
            self.sqes
                .cast::<[u64; 8]>()
                .add(slot as usize)
                .write_volatile(sqe)
        };
        // SAFETY: the array of slot numbers lies where the kernel says.
        unsafe {
            self.rings
                .add(self.parameters[16] as usize)
                .cast::<u32>()
                .add(slot as usize)
                .write_volatile(slot)
        };
        tail.fetch_add(1, Release);
        let ring = self.fd.as_ref().unwrap().as_raw_fd();
        // SAFETY: submits one request, without a signal mask.
        let result = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 1, 0, 0, 0, 0) };
        assert_eq!(result, 1);
    }

    /// Takes completions off the ring.
    fn reap(&self) {
        let (head, tail) = (self.field(20), self.field(21));
        head.store(tail.load(Acquire), Release);
    }

    /// Makes the kernel's tables and the mapping forget earlier requests.
    fn no_ops(&self, n: u32) {
        for _ in 0..n {
            self.submit(NOP, -1, 0);
            self.reap();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mappings are the ring's own.
        unsafe {
            libc::munmap(self.rings.cast(), 4096);
            libc::munmap(self.sqes.cast(), 4096);
        }
    }
}

#[test]
fn in_flight_and_still_in_its_slot() {
    let _alone = alone();
    let Some(ring) = Ring::new() else { return };
    assert_eq!(
        (pass().0.io_uring_in_flight, pass().0.uncertain()),
        (false, false)
    );
    for opcode in [READ, POLL_ADD] {
        let (r, _w) = pipe().unwrap();
        let data = 0x5a5a_1001_0000_0000 + usize::from(opcode);
        ring.submit(opcode, r.as_raw_fd(), data);
        let (found, words) = pass();
        assert!(
            found.io_uring_in_flight && !found.uncertain(),
            "{opcode}: {found:?}"
        );
        assert!(words.contains(&data), "{opcode}");
    }
}

#[test]
fn in_flight_and_its_slot_used_again() {
    let _alone = alone();
    for opcode in [READ, POLL_ADD] {
        let Some(ring) = Ring::new() else { return };
        let (r, mut w) = pipe().unwrap();
        let data = 0x5a5a_1002_0000_0000 + usize::from(opcode);
        ring.submit(opcode, r.as_raw_fd(), data);
        ring.no_ops(2 * ENTRIES);
        let (found, words) = pass();
        assert!(found.io_uring_in_flight, "{opcode}");
        assert_eq!(found.unseen, Unseen::IO_URING, "{opcode}");
        assert!(
            !words.contains(&data),
            "{opcode}: the kernel tells more than is documented"
        );
        // It completes: the completion is in the ring, and nothing is in flight.
        w.write_all(&[1; 8]).unwrap();
        let begin = std::time::Instant::now();
        loop {
            // SAFETY: runs what is pending for this thread, submits nothing.
            unsafe {
                libc::syscall(
                    libc::SYS_io_uring_enter,
                    ring.fd.as_ref().unwrap().as_raw_fd(),
                    0,
                    0,
                    1,
                    0,
                    0,
                )
            };
            let (found, words) = pass();
            if !found.uncertain() {
                assert!(words.contains(&data) && !found.io_uring_in_flight);
                break;
            }
            assert!(begin.elapsed().as_secs() < 10, "{found:?}");
        }
    }
}

#[test]
fn nothing_in_flight_after_many_requests() {
    let _alone = alone();
    let Some(ring) = Ring::new() else { return };
    ring.no_ops(1000);
    let (found, _) = pass();
    assert!(!found.io_uring_in_flight && !found.uncertain(), "{found:?}");
}

#[test]
fn more_completions_than_fit() {
    let _alone = alone();
    let Some(ring) = Ring::new() else { return };
    for i in 0..6 * ENTRIES as usize {
        ring.submit(NOP, -1, 0x5a5a_1003_0000_0000 + i);
    }
    let (found, words) = pass();
    assert!(!found.io_uring_in_flight && !found.uncertain(), "{found:?}");
    assert!((0..6 * ENTRIES as usize).all(|i| words.contains(&(0x5a5a_1003_0000_0000 + i))));
}

#[test]
fn a_ring_whose_descriptor_was_closed() {
    let _alone = alone();
    let Some(mut ring) = Ring::new() else { return };
    let second = Ring::new();
    assert!(!pass().0.uncertain());
    ring.fd = None;
    assert_eq!(pass().0.unseen, Unseen::IO_URING);
    drop(ring);
    assert!(!pass().0.uncertain());
    drop(second);
}

#[test]
fn registered_buffers() {
    let _alone = alone();
    let Some(ring) = Ring::new() else { return };
    let buffer = vec![0u8; 8192];
    let part = libc::iovec {
        iov_base: buffer.as_ptr().cast_mut().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: IORING_REGISTER_BUFFERS (0) with one buffer, which outlives the ring's use of it.
    let r = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.fd.as_ref().unwrap().as_raw_fd(),
            0,
            &raw const part,
            1,
        )
    };
    assert_eq!(r, 0, "{}", std::io::Error::last_os_error());
    assert!(pass().1.contains(&(buffer.as_ptr() as usize)));
}

#[test]
fn a_context_of_linux_aio() {
    let _alone = alone();
    let mut context = 0usize;
    // SAFETY: `context` is writable and zero.
    if unsafe { libc::syscall(libc::SYS_io_setup, 8, &raw mut context) } != 0 {
        eprintln!("skipped: io_setup: {}", std::io::Error::last_os_error());
        return;
    }
    assert_eq!(pass().0.unseen, Unseen::AIO);
    // SAFETY: the context exists.
    assert_eq!(unsafe { libc::syscall(libc::SYS_io_destroy, context) }, 0);
    assert!(!pass().0.uncertain());
}
