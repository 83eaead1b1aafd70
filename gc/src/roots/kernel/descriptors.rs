//! One pass over the open descriptors: what each one is, found out as cheaply as possible and without asking a file system
//! (one in user space may need a thread of this process to answer, and they are stopped).

use super::io_uring::Rings;
use super::numbers::Table;
use super::os::{Fd, Room, call, status};
use super::{Pass, Unseen, epoll, io_uring, mqueue, pipe, socket};
use crate::sys::file::Errno;
use crate::sys::out::Text;
use core::ffi::CStr;
use core::fmt::Write;

/// What a descriptor is.
enum Kind {
    Socket,
    Pipe,
    Epoll,
    /// The inode number identifies the ring, where the kernel gives each its own.
    IoUring(u64),
    /// A file that has the looks of a message queue.
    MaybeQueue,
    /// Holds no pointers, or is not open.
    Other,
}

/// Reads all descriptors of the calling thread: threads that share no descriptor table with it (`unshare(CLONE_FILES)`)
/// have their own.
pub(super) fn read(pass: &mut Pass<'_>, scratch: &mut [u8], rings: &mut Rings) {
    let table = match Table::open(&mut pass.room, scratch) {
        Ok(table) => table,
        Err(e) => return pass.missed(Unseen::PROC, e),
    };
    let (mut copy, mut sockets) = (pipe::Copy::default(), socket::Batch::default());
    let all = table.for_each(scratch, |fd, scratch| match kind(&table.directory, fd) {
        Ok(Kind::Other) => {}
        Ok(Kind::Socket) => sockets.push(pass, fd, scratch),
        Ok(Kind::Pipe) => pipe::read(pass, &mut copy, fd, scratch),
        Ok(Kind::Epoll) => epoll::read(pass, fd, scratch),
        Ok(Kind::IoUring(inode)) => {
            rings.opened(inode);
            io_uring::read(pass, fd, scratch);
        }
        Ok(Kind::MaybeQueue) => mqueue::read(pass, fd),
        // Refused, by a sandbox for example.
        Err(e) => pass.missed(Unseen::PROC, e),
    });
    sockets.finish(pass, scratch);
    if let Err(e) = all {
        pass.missed(Unseen::PROC, e);
    }
}

/// Finds out what `fd` is.
fn kind(directory: &Fd, fd: i32) -> Result<Kind, Errno> {
    // Sends no messages: cheaper than any other question that only a socket answers.
    // SAFETY: with a count of zero nothing is read from the null pointer.
    match unsafe { call(libc::SYS_sendmmsg, [fd as usize, 0, 0, 0, 0, 0]) } {
        Ok(_) => return Ok(Kind::Socket),
        Err(Errno(libc::ENOTSOCK)) => {}
        // Not open, or O_PATH, through which nothing can be read.
        Err(Errno(libc::EBADF)) => return Ok(Kind::Other),
        Err(e) => return Err(e),
    }
    let status = status(fd)?;
    let mode = u32::from(status.stx_mode) & libc::S_IFMT;
    if mode == libc::S_IFIFO {
        return Ok(Kind::Pipe);
    }
    // Anonymous inodes have no type; on some kernels they look like empty regular files of no device.
    let file = mode == libc::S_IFREG && status.stx_dev_major == 0;
    if file && status.stx_size == QUEUE_SIZE {
        return Ok(Kind::MaybeQueue);
    }
    if status.stx_size != 0 || mode != 0 && !file {
        return Ok(Kind::Other);
    }
    let mut target = [0u8; 32];
    Ok(match link(directory, fd, &mut target)? {
        b"anon_inode:[eventpoll]" => Kind::Epoll,
        b"anon_inode:[io_uring]" => Kind::IoUring(status.stx_ino),
        _ => Kind::Other,
    })
}

/// Size that the kernel gives the file of a message queue.
const QUEUE_SIZE: u64 = 80;

/// What the link of `fd` in the directory of descriptors says, cut at the length of `target`.
fn link<'t>(directory: &Fd, fd: i32, target: &'t mut [u8]) -> Result<&'t [u8], Errno> {
    let name = path(format_args!("{fd}"));
    let args = [
        directory.0 as usize,
        name.as_bytes().as_ptr() as usize,
        target.as_mut_ptr() as usize,
        target.len(),
        0,
        0,
    ];
    // SAFETY: `name` ends in NUL, the kernel writes at most the length of `target` into it.
    let n = unsafe { call(libc::SYS_readlinkat, args) }?;
    Ok(&target[..n])
}

/// Opens the kernel's description of `fd`.
pub(super) fn fdinfo(room: &mut Room, fd: i32) -> Result<Fd, Errno> {
    let path = path(format_args!("/proc/thread-self/fdinfo/{fd}"));
    let path =
        CStr::from_bytes_until_nul(path.as_bytes()).map_err(|_| Errno(libc::ENAMETOOLONG))?;
    room.open(path, 0)
}

/// A short path with its NUL.
fn path(name: core::fmt::Arguments<'_>) -> Text<64> {
    let mut text = Text::new();
    // A descriptor number and the longest prefix fit.
    let _ = text.write_fmt(name);
    text.push(b"\0");
    text
}
