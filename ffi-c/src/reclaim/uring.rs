//! io_uring: the words of submission entries stay known to the kernel until the request is complete.

use core::ffi::{c_int, c_uint, c_void};

use super::shadow;
use crate::next::Next;

/// Words of an entry: flags, offset or second address, address, length, user data, and the rest.
const ENTRY_WORDS: usize = 8;
const SETUP_SQE128: c_uint = 1 << 10;

/// `struct io_uring_sq` of liburing, as far as it is the same since version 2.0.
#[repr(C)]
struct Queue {
    head: *const c_uint,
    tail: *const c_uint,
    mask: *const c_uint,
    entries: *const c_uint,
    flags: *const c_uint,
    dropped: *const c_uint,
    array: *const c_uint,
    entry: *const usize,
    first: c_uint,
    last: c_uint,
    rest: [usize; 4],
}

/// `struct io_uring` of liburing.
#[repr(C)]
pub struct Ring {
    submission: Queue,
    completion: [usize; 11],
    flags: c_uint,
}

const _: () = assert!(size_of::<Queue>() == 104 && core::mem::offset_of!(Ring, flags) == 192);

/// Notes the entries that the next submission hands over.
///
/// # Safety
/// `ring` is an initialised ring of liburing.
unsafe fn note(ring: *const Ring) {
    if !shadow::is_on() {
        return;
    }
    // SAFETY: by the contract the ring and what its submission queue points to can be read; entries are in `[first, last)`
    // modulo the queue's size.
    unsafe {
        let queue = &(*ring).submission;
        let shift = u32::from((*ring).flags & SETUP_SQE128 != 0);
        let mask = *queue.mask;
        for i in 0..queue
            .last
            .wrapping_sub(queue.first)
            .min(mask.wrapping_add(1))
        {
            let at = ((queue.first.wrapping_add(i) & mask) << shift) as usize * ENTRY_WORDS;
            note_words(queue.entry.add(at), ENTRY_WORDS << shift);
        }
    }
}

/// # Safety
/// `count` words at `words` are readable.
pub(super) unsafe fn note_words(words: *const usize, count: usize) {
    for i in 0..count {
        // SAFETY: by the contract.
        shadow::note(unsafe { words.add(i).read_volatile() });
    }
}

macro_rules! submission {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => { $(
        #[doc = concat!("liburing's `", stringify!($name), "`; blocks that the entries point to stay.")]
        ///
        /// # Safety
        /// As for the function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(ring: *mut Ring $(, $arg: $type)*) -> c_int {
            // SAFETY: the type is that of the function; the bytes end in the only NUL.
            static NEXT: Next<unsafe extern "C" fn(*mut Ring $(, $type)*) -> c_int> = unsafe {
                Next::new(core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()))
            };
            let Some(next) = NEXT.get() else { return -libc::ENOSYS };
            // SAFETY: by the caller's contract.
            unsafe { note(ring) };
            // SAFETY: the caller's arguments.
            unsafe { next(ring $(, $arg)*) }
        }
    )* };
}

submission! {
    io_uring_submit();
    io_uring_submit_and_wait(count: c_uint);
    io_uring_submit_and_wait_timeout(entry: *mut c_void, count: c_uint, timeout: *mut c_void, set: *mut c_void);
    io_uring_submit_and_get_events();
    io_uring_wait_cqes(entry: *mut c_void, count: c_uint, timeout: *mut c_void, set: *mut c_void);
}

/// Notes all entries of all rings of the process, for a submission by a bare system call.
pub(super) fn note_all_rings() {
    if !shadow::is_on() {
        return;
    }
    crate::errno::preserve(|| {
        // Runs on the path of a system call of the program, which may allocate.
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
            return;
        };
        for line in maps
            .lines()
            .filter(|l| l.ends_with("anon_inode:[io_uring]"))
        {
            let mut fields = line.split_ascii_whitespace();
            let (Some(range), Some(offset)) = (fields.next(), fields.nth(1)) else {
                continue;
            };
            if offset != "10000000" {
                continue;
            }
            let parse = |s: &str| usize::from_str_radix(s, 16).ok();
            let Some((Some(low), Some(high))) =
                range.split_once('-').map(|(l, h)| (parse(l), parse(h)))
            else {
                continue;
            };
            // SAFETY: the mapping of a ring's entries, which the program keeps while it submits to it.
            unsafe { note_words(low as *const usize, (high - low) / size_of::<usize>()) };
        }
    });
}
