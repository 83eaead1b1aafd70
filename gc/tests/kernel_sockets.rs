//! Unread bytes of sockets are found, and stay where they are.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
mod kernel_support;
use dunegc::roots::kernel::Unseen;
use kernel_support::{alone, owned, pass};

fn word(i: usize) -> usize {
    0x5a5a_50c4_0000_0000 + i
}

fn pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(result, 0);
    (owned(ends[0]), owned(ends[1]))
}

fn send(s: &impl AsRawFd, bytes: &[u8]) {
    // SAFETY: `bytes` is readable.
    let n = unsafe {
        libc::send(
            s.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
    assert_eq!(
        n,
        bytes.len() as isize,
        "{}",
        std::io::Error::last_os_error()
    );
}

/// What one `recv` returns; None if nothing is there.
fn receive(s: &impl AsRawFd) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1 << 20];
    // SAFETY: `bytes` is writable.
    let n = unsafe {
        libc::recv(
            s.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
        )
    };
    bytes.truncate(usize::try_from(n).ok()?);
    Some(bytes)
}

fn option(s: &impl AsRawFd, name: i32) -> i32 {
    let (mut value, mut length) = (0, 4);
    // SAFETY: both are writable.
    let r = unsafe {
        libc::getsockopt(
            s.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    assert_eq!(r, 0);
    value
}

fn set_option(s: &impl AsRawFd, name: i32, value: i32) {
    // SAFETY: the kernel reads one int.
    let r = unsafe {
        libc::setsockopt(
            s.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(r, 0);
}

/// Passes twice, expects everything to be seen, and the words `0..n` among it.
fn all_seen(n: usize) {
    for _ in 0..2 {
        let (found, words) = pass();
        assert!(!found.uncertain(), "{}", found.unseen);
        assert_eq!((0..n).find(|i| !words.contains(&word(*i))), None);
    }
}

#[test]
fn streams_at_any_offset() {
    let _alone = alone();
    let (a, b) = pair(libc::SOCK_STREAM);
    let mut sent = vec![1, 2, 3];
    sent.extend((0..20_000).flat_map(|i| word(i).to_ne_bytes()));
    send(&a, &sent);
    // SAFETY: no memory involved.
    let flags = || unsafe {
        (
            libc::fcntl(a.as_raw_fd(), libc::F_GETFL),
            libc::fcntl(b.as_raw_fd(), libc::F_GETFL),
        )
    };
    let before = flags();
    all_seen(20_000);
    assert_eq!((flags(), option(&b, libc::SO_PEEK_OFF)), (before, -1));
    assert!(receive(&b).unwrap() == sent);
    assert_eq!(receive(&b), None);
}

#[test]
fn all_datagrams_in_order_with_empty_ones() {
    let _alone = alone();
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        let mut sent: Vec<Vec<u8>> = vec![
            word(0).to_ne_bytes().to_vec(),
            vec![],
            vec![],
            word(1).to_ne_bytes().to_vec(),
        ];
        sent.push(
            [
                &word(2).to_ne_bytes()[..],
                &vec![9; 150_000],
                &word(3).to_ne_bytes()[..],
            ]
            .concat(),
        );
        sent.push(word(4).to_ne_bytes().to_vec());
        for s in &sent {
            send(&a, s);
        }
        all_seen(5);
        assert_eq!(option(&b, libc::SO_PEEK_OFF), -1);
        for s in &sent {
            assert!(receive(&b).unwrap() == *s);
        }
        assert_eq!(receive(&b), None);
    }
}

#[test]
fn an_empty_datagram_first() {
    let _alone = alone();
    let (a, b) = pair(libc::SOCK_DGRAM);
    send(&a, &[]);
    send(&a, &word(0).to_ne_bytes());
    all_seen(1);
    assert_eq!(receive(&b), Some(vec![]));
}

#[test]
fn the_program_s_own_peek_offset_comes_back() {
    let _alone = alone();
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        send(&a, &word(0).to_ne_bytes());
        set_option(&b, libc::SO_PEEK_OFF, 5);
        all_seen(1);
        assert_eq!(option(&b, libc::SO_PEEK_OFF), 5);
    }
}

#[test]
fn descriptors_under_way_are_not_installed() {
    let _alone = alone();
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        let (r, w) = std::io::pipe().unwrap();
        for i in 0..3 {
            send_descriptor(&a, &word(i).to_ne_bytes(), w.as_raw_fd());
        }
        all_seen(3); // compares the descriptors before and after
        drop(w);
        drop((a, b));
        // No reference to the write end has survived.
        let mut r = r;
        assert_eq!(r.read(&mut [0]).unwrap(), 0);
    }
}

fn send_descriptor(s: &impl AsRawFd, bytes: &[u8], fd: i32) {
    let mut control = [0u64; 3]; // CMSG_SPACE(4)
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: zero is a value of every field; the pointers that are set outlive the call, `control` has room for a header
    // and an int.
    unsafe {
        let mut m: libc::msghdr = std::mem::zeroed();
        (m.msg_iov, m.msg_iovlen) = (&mut part, 1);
        (m.msg_control, m.msg_controllen) = (control.as_mut_ptr().cast(), 24);
        let c = libc::CMSG_FIRSTHDR(&m);
        ((*c).cmsg_level, (*c).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        (*c).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(c).cast::<i32>().write_unaligned(fd);
        assert_eq!(libc::sendmsg(s.as_raw_fd(), &m, 0), bytes.len() as isize);
    }
}

#[test]
fn a_pending_error_is_not_eaten() {
    let _alone = alone();
    // The peer closes without reading what it was sent: an error waits at this end.
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        send(&b, b"never read");
        send(&a, &word(0).to_ne_bytes());
        drop(a);
        let (found, words) = pass();
        if kind == libc::SOCK_STREAM {
            assert!(words.contains(&word(0)) && !found.uncertain());
        } else {
            // The error comes before the data.
            assert_eq!(found.unseen, Unseen::SOCKET);
        }
        assert_eq!(option(&b, libc::SO_ERROR), libc::ECONNRESET);
        assert_eq!(receive(&b).unwrap(), word(0).to_ne_bytes());
    }
}

#[test]
fn a_peer_that_hung_up() {
    let _alone = alone();
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        send(&a, &word(0).to_ne_bytes());
        drop(a);
        all_seen(1);
        assert_eq!(receive(&b).unwrap(), word(0).to_ne_bytes());
        assert!(!pass().0.uncertain());
    }
}

#[test]
fn a_blocked_reader_is_not_woken() {
    let _alone = alone();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut got = [0; 8];
        b.read_exact(&mut got).unwrap();
        got
    });
    for _ in 0..20 {
        assert!(!pass().0.uncertain());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(!reader.is_finished());
    a.write_all(&word(1).to_ne_bytes()).unwrap();
    assert_eq!(reader.join().unwrap(), word(1).to_ne_bytes());
}

#[test]
fn loopback_connections_and_listeners() {
    let _alone = alone();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else {
            eprintln!("skipped: no address {address}");
            continue;
        };
        let mut out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!pass().0.uncertain()); // a connection waits to be accepted
        let (mut accepted, _) = listener.accept().unwrap();
        let sent: Vec<u8> = (0..4000).flat_map(|i| word(i).to_ne_bytes()).collect();
        out.write_all(&sent).unwrap();
        while accepted.peek(&mut vec![0; sent.len()]).unwrap() < sent.len() {}
        all_seen(4000);
        let mut got = vec![0; sent.len()];
        accepted.read_exact(&mut got).unwrap();
        assert!(got == sent);
    }
    let path = std::env::temp_dir().join(format!("dunegc-socket-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut out = UnixStream::connect(&path).unwrap();
    assert!(!pass().0.uncertain());
    let (_in, _) = listener.accept().unwrap();
    out.write_all(&word(0).to_ne_bytes()).unwrap();
    all_seen(1);
    std::fs::remove_file(path).unwrap();
}
