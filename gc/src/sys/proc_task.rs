//! The threads of this process, from /proc/self/task.
use super::raw::{Errno, Fd, syscall};
use super::text;

/// Scheduler state and blocked signals of a thread, from /proc/self/task/TID/status.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// One letter: R, S, D, T, t, Z, X, I.
    pub state: u8,
    /// Blocked signals.
    pub blocked: u64,
    /// Signals that wait for this thread.
    pub pending: u64,
}

/// The number of threads, zombies included, in one system call: the kernel adds it to the directory's link count of 2.
pub fn count() -> Result<usize, Errno> {
    let mut st = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is NUL-terminated and `st` valid for writing; all-zero is a valid stat if the call fails.
    let st = unsafe {
        syscall!(libc::SYS_stat, c"/proc/self/task".as_ptr(), st.as_mut_ptr())?;
        st.assume_init()
    };
    Ok((st.st_nlink as usize).saturating_sub(2))
}

/// An open /proc/self/task.
pub struct TaskDir(Fd);

impl TaskDir {
    /// Opens the directory.
    pub fn open() -> Result<TaskDir, Errno> {
        Fd::open(b"/proc/self/task\0", libc::O_RDONLY | libc::O_DIRECTORY).map(TaskDir)
    }

    /// Calls `f` with every TID, from the beginning. While threads exit, the kernel may leave living ones out of a pass.
    pub fn for_each(&self, mut f: impl FnMut(i32) -> Result<(), Errno>) -> Result<(), Errno> {
        // SAFETY: plain arguments.
        unsafe { syscall!(libc::SYS_lseek, self.0.number(), 0, libc::SEEK_SET) }?;
        let mut buf = Buffer([0; 4096]);
        loop {
            // SAFETY: `buf` is valid for its length.
            let n = unsafe {
                syscall!(
                    libc::SYS_getdents64,
                    self.0.number(),
                    buf.0.as_mut_ptr(),
                    buf.0.len()
                )
            }?;
            if n == 0 {
                return Ok(());
            }
            let mut rest = &buf.0[..n];
            // struct linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, NUL-terminated name.
            while rest.len() > 19 {
                let reclen = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
                if let Some((tid, _)) = text::decimal(&rest[19..reclen]) {
                    f(tid as i32)?;
                }
                rest = &rest[reclen..];
            }
        }
    }
}

#[repr(align(8))]
struct Buffer([u8; 4096]);

/// The status of `tid`; None when the thread is gone (or the file cannot be read).
pub fn status(tid: i32) -> Option<Status> {
    let mut buf = [0; 4096];
    let text = read(tid, b"/status\0", &mut buf)?;
    let hex = |key: &[u8]| {
        text::field(text, key)
            .and_then(text::hex)
            .map_or(0, |v| v.0)
    };
    Some(Status {
        state: *text::field(text, b"State")?.first()?,
        blocked: hex(b"SigBlk"),
        pending: hex(b"SigPnd"),
    })
}

/// Whether `tid` is listed but never executes user code any more: a zombie, or a worker that the kernel created in this
/// process (io_uring, vhost). Those have every signal blocked for good.
pub fn is_inert(tid: i32) -> bool {
    const PF_IO_WORKER: u64 = 0x10;
    const PF_USER_WORKER: u64 = 0x4000;
    let mut buf = [0; 1024];
    // pid (name) state ppid pgrp session tty_nr tpgid flags …; the name may contain anything, also parentheses.
    let parse = |text: &[u8]| {
        let end = text.iter().rposition(|c| *c == b')')?;
        let mut fields = text[end + 1..]
            .split(|c| *c == b' ')
            .filter(|f| !f.is_empty());
        let state = *fields.next()?.first()?;
        let flags = text::decimal(fields.nth(5)?)?.0;
        Some(matches!(state, b'Z' | b'X') || flags & (PF_IO_WORKER | PF_USER_WORKER) != 0)
    };
    read(tid, b"/stat\0", &mut buf)
        .and_then(parse)
        .unwrap_or(false)
}

/// The start of /proc/self/task/TID/FILE.
fn read<'a>(tid: i32, file: &[u8], buf: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut path = [0u8; 48];
    let mut digits = [0; 20];
    let mut n = 0;
    for part in [
        b"/proc/self/task/",
        text::to_decimal(tid as u64, &mut digits),
        file,
    ] {
        path[n..n + part.len()].copy_from_slice(part);
        n += part.len();
    }
    let fd = Fd::open(&path[..n], libc::O_RDONLY).ok()?;
    let n = fd.read(buf).ok()?;
    Some(&buf[..n])
}

#[cfg(test)]
mod tests {
    use super::super::raw::gettid;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_and_counts_all_threads() {
        let stop = std::sync::Barrier::new(201);
        std::thread::scope(|s| {
            for _ in 0..200 {
                s.spawn(|| stop.wait());
            }
            let dir = TaskDir::open().unwrap();
            // The test harness' own threads come and go: compare with a second source until both agree.
            let agreed = (0..1000).any(|_| {
                let mut mine = BTreeSet::new();
                dir.for_each(|t| {
                    mine.insert(t);
                    Ok(())
                })
                .unwrap();
                let std: BTreeSet<i32> = std::fs::read_dir("/proc/self/task")
                    .unwrap()
                    .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
                    .collect();
                mine.contains(&gettid())
                    && mine.len() >= 201
                    && mine == std
                    && count() == Ok(mine.len())
            });
            stop.wait();
            assert!(agreed);
        });
    }

    #[test]
    fn own_status_and_a_gone_thread() {
        let s = status(gettid()).unwrap();
        assert_eq!(s.state, b'R');
        assert!(status(0x3fff_fff0).is_none());
        assert!(!is_inert(gettid()) && !is_inert(0x3fff_fff0));
    }
}
