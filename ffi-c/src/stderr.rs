//! Reports at exit come after programs like those of coreutils have closed stderr: they go to a duplicate made at start then.

use core::sync::atomic::{AtomicI32, Ordering};
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use gc::stats;
use gc::sys::file;

static SPARE: AtomicI32 = AtomicI32::new(-1);

/// Duplicates stderr. Done in the constructor, and only if a report goes there.
pub fn save() {
    if let Ok(fd) = file::duplicate_high(2) {
        SPARE.store(fd, Ordering::Relaxed);
        stats::set_spare_stderr(fd);
    }
}

/// Writes to stderr, or to the duplicate if it is closed.
pub fn write(text: &[u8]) {
    for fd in [2, SPARE.load(Ordering::Relaxed)] {
        if fd >= 0 {
            // SAFETY: the descriptor is only written to and not closed.
            let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
            if file.write_all(text).is_ok() {
                return;
            }
        }
    }
}
