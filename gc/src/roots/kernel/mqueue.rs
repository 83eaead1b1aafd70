//! POSIX message queues: nothing can be read without being taken out, so it is only found out whether something is there.

use super::os::call;
use super::{Pass, Unseen, os};
use crate::sys::file;

/// Looks at `fd` if it is a message queue.
pub(super) fn read(pass: &mut Pass<'_>, fd: i32) {
    // struct mq_attr of the kernel: flags, capacity, message size, messages queued, four reserved.
    let mut attributes = [0i64; 8];
    let args = [fd as usize, 0, attributes.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: without new attributes the call only writes a struct mq_attr, for which there is room.
    if unsafe { call(libc::SYS_mq_getsetattr, args) }.is_err() {
        return; // not a message queue
    }
    if attributes[3] > 0 || registered(fd) {
        pass.found.unseen |= Unseen::MESSAGE_QUEUE;
    }
}

/// This process waits for a notification (`mq_notify`) from the queue, which comes with a value.
fn registered(fd: i32) -> bool {
    let mut text = [0u8; 256];
    // SAFETY: reads at most the length of `text` into it; the descriptor's own position stays where it is.
    let n = unsafe {
        call(
            libc::SYS_pread64,
            [fd as usize, text.as_mut_ptr() as usize, text.len(), 0, 0, 0],
        )
    };
    match n {
        Ok(n) => {
            os::after(&text[..n], b"NOTIFY_PID:").and_then(|t| os::number(t, 10))
                == Some(file::getpid() as u64)
        }
        // A descriptor that is only open for writing does not tell.
        Err(_) => false,
    }
}
