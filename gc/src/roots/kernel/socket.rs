//! Unread bytes of sockets, with `MSG_PEEK`.
//!
//! `SO_PEEK_OFF` makes successive peeks go on where the last one stopped, over datagrams too; it is put back afterwards.
//! Control messages are not asked for, so no descriptor that is under way (`SCM_RIGHTS`) is installed. An error that waits to be reported
//! (`SO_ERROR`) must not be eaten: nothing is read where it could be.

use super::os::call;
use super::window::Window;
use super::{Pass, Unseen};
use crate::sys::file::Errno;

/// Most peeks into one socket; each takes a datagram or fills the scratch memory.
const PEEKS: usize = 1 << 20;

/// Most datagrams without content that are passed over in one socket; more than queues hold.
const EMPTY: usize = 1 << 12;

/// Sockets that are asked at once whether there is anything to read.
const BATCH: usize = 256;

/// Sockets that have not been looked at; few of many have anything to read.
pub(super) struct Batch {
    sockets: [libc::pollfd; BATCH],
    len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            sockets: [libc::pollfd {
                fd: -1,
                events: libc::POLLIN,
                revents: 0,
            }; BATCH],
            len: 0,
        }
    }
}

impl Batch {
    /// Reads socket `fd`, at once or later.
    pub(super) fn push(&mut self, pass: &mut Pass<'_>, fd: i32, scratch: &mut [u8]) {
        self.sockets[self.len].fd = fd;
        self.len += 1;
        if self.len == BATCH {
            self.finish(pass, scratch);
        }
    }

    /// Reads what was pushed.
    pub(super) fn finish(&mut self, pass: &mut Pass<'_>, scratch: &mut [u8]) {
        let sockets = &mut self.sockets[..core::mem::take(&mut self.len)];
        if let Err(e) = poll(sockets) {
            return pass.missed(Unseen::SOCKET, e);
        }
        for s in sockets.iter().filter(|s| s.revents & libc::POLLIN != 0) {
            if let Err(e) = readable(s.fd, s.revents, scratch, pass.emit) {
                pass.missed(Unseen::SOCKET, e);
            }
        }
    }
}

/// Finds out what there is at this moment for every one of `sockets`.
fn poll(sockets: &mut [libc::pollfd]) -> Result<(), Errno> {
    // SAFETY: the kernel writes to the entries; with a time-out of zero it returns at once.
    match unsafe {
        call(
            libc::SYS_poll,
            [sockets.as_mut_ptr() as usize, sockets.len(), 0, 0, 0, 0],
        )
    } {
        Ok(_) => Ok(()),
        // More than the limit on descriptors (the program may have lowered it).
        Err(Errno(libc::EINVAL)) if sockets.len() > 1 => {
            let (some, others) = sockets.split_at_mut(sockets.len() / 2);
            poll(some).and_then(|()| poll(others))
        }
        Err(e) => Err(e),
    }
}

/// Reads a socket for which `poll` says `events`.
fn readable(
    fd: i32,
    events: i16,
    scratch: &mut [u8],
    emit: &mut dyn FnMut(usize),
) -> Result<(), Errno> {
    match option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_UNIX => unix(fd, events, scratch, emit),
        libc::AF_INET | libc::AF_INET6 => tcp(fd, scratch, emit),
        _ => Ok(()),
    }
}

fn unix(
    fd: i32,
    events: i16,
    scratch: &mut [u8],
    emit: &mut dyn FnMut(usize),
) -> Result<(), Errno> {
    let limit = match option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? {
        // An error is reported behind the data: it stays if no more is peeked at than there is.
        libc::SOCK_STREAM => unread(fd)?,
        // An error is reported first.
        _ if events & libc::POLLERR != 0 => return Err(Errno(libc::EIO)),
        libc::SOCK_SEQPACKET => unread(fd)?,
        // The kernel tells the length of the first datagram only: read to the end.
        _ => usize::MAX,
    };
    peek(fd, limit, scratch, emit)
}

/// A connection within this machine may be one within this process.
fn tcp(fd: i32, scratch: &mut [u8], emit: &mut dyn FnMut(usize)) -> Result<(), Errno> {
    let limit = unread(fd)?;
    if limit == 0 || option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_STREAM || !local(fd)
    {
        return Ok(());
    }
    peek(fd, limit, scratch, emit)
}

/// Bytes that can be read (datagrams: of the first); 0 for a listening socket.
fn unread(fd: i32) -> Result<usize, Errno> {
    let mut bytes = 0i32;
    // SAFETY: FIONREAD on a socket writes one int.
    match unsafe {
        call(
            libc::SYS_ioctl,
            [
                fd as usize,
                libc::FIONREAD as usize,
                &raw mut bytes as usize,
                0,
                0,
                0,
            ],
        )
    } {
        Ok(_) => Ok(bytes.max(0) as usize),
        Err(Errno(libc::EINVAL | libc::ENOTTY | libc::EOPNOTSUPP)) => Ok(0),
        Err(e) => Err(e),
    }
}

/// An integer option.
fn option(fd: i32, level: i32, name: i32) -> Result<i32, Errno> {
    let (mut value, mut length) = (0i32, size_of::<i32>() as libc::socklen_t);
    let args = [
        fd as usize,
        level as usize,
        name as usize,
        &raw mut value as usize,
        &raw mut length as usize,
        0,
    ];
    // SAFETY: the kernel writes at most `length` bytes to `value` and the length to `length`.
    unsafe { call(libc::SYS_getsockopt, args) }?;
    Ok(value)
}

/// Both ends of a connection have the same address, or that of the loopback device.
fn local(fd: i32) -> bool {
    match (
        address(fd, libc::SYS_getsockname),
        address(fd, libc::SYS_getpeername),
    ) {
        (Some(here), Some(there)) => here == there || loopback(&there),
        _ => false,
    }
}

/// The address of one end, an IPv4 address as IPv6 has it.
fn address(fd: i32, which: libc::c_long) -> Option<[u8; 16]> {
    // Family (2), port (2); IPv4: address (4); IPv6: flow (4), address (16).
    let (mut raw, mut length) = ([0u8; 28], 28 as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to `raw` and the length to `length`.
    unsafe {
        call(
            which,
            [
                fd as usize,
                raw.as_mut_ptr() as usize,
                &raw mut length as usize,
                0,
                0,
                0,
            ],
        )
    }
    .ok()?;
    match i32::from(u16::from_ne_bytes([raw[0], raw[1]])) {
        libc::AF_INET => {
            let mut mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
            mapped[12..].copy_from_slice(&raw[4..8]);
            Some(mapped)
        }
        libc::AF_INET6 => raw[8..24].try_into().ok(),
        _ => None,
    }
}

fn loopback(address: &[u8; 16]) -> bool {
    let address = core::net::Ipv6Addr::from(*address);
    address
        .to_ipv4_mapped()
        .map_or(address.is_loopback(), |v4| v4.is_loopback())
}

/// Hands out the words of the next `limit` unread bytes.
fn peek(
    fd: i32,
    limit: usize,
    scratch: &mut [u8],
    emit: &mut dyn FnMut(usize),
) -> Result<(), Errno> {
    if limit == 0 {
        return Ok(());
    }
    let before = match option(fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF) {
        Ok(before) => before,
        // TCP before Linux 6.9: what fits is seen.
        Err(Errno(libc::EOPNOTSUPP)) => return peek_once(fd, limit, scratch, emit),
        Err(e) => return Err(e),
    };
    set_peek_offset(fd, 0)?;
    let result = peek_on(fd, limit, scratch, emit);
    set_peek_offset(fd, before)?;
    result
}

/// Peeks on and on from the peek offset.
fn peek_on(
    fd: i32,
    limit: usize,
    scratch: &mut [u8],
    emit: &mut dyn FnMut(usize),
) -> Result<(), Errno> {
    let (mut window, mut left, mut empty) = (Window::new(scratch), limit, 0);
    for _ in 0..PEEKS {
        let room = window.room();
        let room = room.len().min(left);
        match receive(fd, &mut window.room()[..room]) {
            // A datagram without content, behind which there may be more; or the end, if somebody else has read the rest.
            Ok(0) if empty == EMPTY => return Err(Errno(libc::EFBIG)),
            Ok(n) => {
                empty += usize::from(n == 0);
                window.filled(n, emit);
                left -= n;
                if left == 0 {
                    return Ok(());
                }
            }
            Err(Errno(libc::EAGAIN)) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Err(Errno(libc::EFBIG))
}

/// Peeks where there is no peek offset.
fn peek_once(
    fd: i32,
    limit: usize,
    scratch: &mut [u8],
    emit: &mut dyn FnMut(usize),
) -> Result<(), Errno> {
    let mut window = Window::new(scratch);
    let n = receive(fd, window.room())?;
    window.filled(n, emit);
    if n < limit {
        Err(Errno(libc::EFBIG))
    } else {
        Ok(())
    }
}

fn receive(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most the length of `into` into it; no address and no control messages are asked for.
    unsafe {
        call(
            libc::SYS_recvfrom,
            [
                fd as usize,
                into.as_mut_ptr() as usize,
                into.len(),
                flags as usize,
                0,
                0,
            ],
        )
    }
}

fn set_peek_offset(fd: i32, offset: i32) -> Result<(), Errno> {
    let (level, name, length) = (
        libc::SOL_SOCKET as usize,
        libc::SO_PEEK_OFF as usize,
        size_of::<i32>(),
    );
    // SAFETY: the kernel reads one int.
    unsafe {
        call(
            libc::SYS_setsockopt,
            [
                fd as usize,
                level,
                name,
                &raw const offset as usize,
                length,
                0,
            ],
        )
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn addresses() {
        let mapped = |a: [u8; 4]| Ipv4Addr::from(a).to_ipv6_mapped().octets();
        assert!(loopback(&mapped([127, 0, 0, 1])) && loopback(&mapped([127, 9, 9, 9])));
        assert!(!loopback(&mapped([10, 0, 0, 1])));
        assert!(loopback(&std::net::Ipv6Addr::LOCALHOST.octets()));
        assert!(!loopback(&[0; 16]));
    }
}
