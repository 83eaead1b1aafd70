//! Data of epoll entries, values of timers, and message queues.
use std::io::Write;
use std::os::fd::AsRawFd;
mod kernel_support;
use dunegc::roots::kernel::Unseen;
use kernel_support::{alone, in_child, owned, pass};

fn epoll() -> std::os::fd::OwnedFd {
    // SAFETY: makes a descriptor, no memory involved.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn add(ep: &impl AsRawFd, fd: &impl AsRawFd, events: i32, data: usize) {
    let mut e = libc::epoll_event {
        events: events as u32,
        u64: data as u64,
    };
    // SAFETY: `e` is an event that the kernel reads.
    let result =
        unsafe { libc::epoll_ctl(ep.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut e) };
    assert_eq!(result, 0);
}

/// Data of the events that are reported at this moment.
fn events(ep: &impl AsRawFd) -> Vec<u64> {
    let mut e = [libc::epoll_event { events: 0, u64: 0 }; 8];
    // SAFETY: room for eight events.
    let n = unsafe { libc::epoll_wait(ep.as_raw_fd(), e.as_mut_ptr(), 8, 0) };
    e[..n as usize].iter().map(|e| e.u64).collect()
}

#[test]
fn data_of_every_entry() {
    let _alone = alone();
    let (ep, other) = (epoll(), epoll());
    let pipes: Vec<_> = (0..1000).map(|_| std::io::pipe().unwrap()).collect();
    for (i, (r, _)) in pipes.iter().enumerate() {
        add(
            &ep,
            r,
            libc::EPOLLIN | libc::EPOLLONESHOT,
            0x5a5a_0000_1000 + i * 16,
        );
    }
    add(&other, &ep, libc::EPOLLIN, 0xffff_5a5a_0000_0001);
    let (found, words) = pass();
    assert!(!found.uncertain(), "{}", found.unseen);
    assert!((0..1000).all(|i| words.contains(&(0x5a5a_0000_1000 + i * 16))));
    assert!(words.contains(&0xffff_5a5a_0000_0001));
    drop(ep);
    assert!(!pass().1.contains(&0x5a5a_0000_1000));
}

#[test]
fn edge_triggered_events_are_neither_lost_nor_made() {
    let _alone = alone();
    let ep = epoll();
    let (r, mut w) = std::io::pipe().unwrap();
    let (a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
    let (c, d) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let edge = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET;
    add(&ep, &r, edge, 1);
    add(&ep, &w, edge, 2);
    add(&ep, &a, edge, 3);
    add(&ep, &b, edge, 4);
    add(&ep, &c, edge, 5);
    add(&ep, &d, edge, 6);
    w.write_all(b"12345678").unwrap();
    b.write_all(b"12345678").unwrap();
    d.send(b"12345678").unwrap();
    pass();
    let mut first = events(&ep);
    first.sort_unstable();
    assert_eq!(first, [1, 2, 3, 4, 5, 6], "an event got lost");
    pass();
    assert_eq!(events(&ep), [], "an event came without a reason");
    w.write_all(b"x").unwrap();
    pass();
    assert_eq!(events(&ep), [1]);
}

#[test]
fn values_of_timers() {
    let _alone = alone();
    let value = 0x7a5a_0000_4440_usize;
    // SAFETY: zero is a value of every field.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    event.sigev_value.sival_ptr = value as *mut libc::c_void;
    let mut timer: libc::timer_t = std::ptr::null_mut();
    // SAFETY: both arguments are valid; the timer is never armed.
    let result = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
    assert_eq!(result, 0);
    let (found, words) = pass();
    assert!(
        words.contains(&value) && !found.uncertain(),
        "{}",
        found.unseen
    );
    // SAFETY: the timer exists.
    assert_eq!(unsafe { libc::timer_delete(timer) }, 0);
    assert!(!pass().1.contains(&value));
}

#[test]
fn a_message_queue_is_uncertain_while_it_holds_something() {
    let _alone = alone();
    let name = std::ffi::CString::new(format!("/dunegc-kernel-{}", std::process::id())).unwrap();
    // SAFETY: zero is a value of every field.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    (attributes.mq_maxmsg, attributes.mq_msgsize) = (4, 8);
    // SAFETY: name and attributes are valid.
    let q = unsafe {
        libc::mq_open(
            name.as_ptr(),
            libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            0o600,
            &attributes,
        )
    };
    let q = owned(q);
    // SAFETY: the name is valid.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    assert!(!pass().0.uncertain());
    // SAFETY: eight bytes are sent.
    let result = unsafe { libc::mq_send(q.as_raw_fd(), c"1234567".as_ptr(), 8, 0) };
    assert_eq!(result, 0);
    assert_eq!(pass().0.unseen, Unseen::MESSAGE_QUEUE);
    let mut message = [0 as libc::c_char; 8];
    // SAFETY: room for a message of eight bytes.
    let result =
        unsafe { libc::mq_receive(q.as_raw_fd(), message.as_mut_ptr(), 8, std::ptr::null_mut()) };
    assert_eq!(result, 8);
    assert!(!pass().0.uncertain());
    // SAFETY: zero is a value of every field.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_NONE;
    // SAFETY: the event is valid.
    assert_eq!(unsafe { libc::mq_notify(q.as_raw_fd(), &event) }, 0);
    assert_eq!(pass().0.unseen, Unseen::MESSAGE_QUEUE);
}

#[test]
fn without_proc_nothing_is_certain() {
    let _alone = alone();
    let status = in_child(|| {
        // SAFETY: this process gets its own view of the mounts, in which /proc is hidden.
        let hidden = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/proc".as_ptr(),
                    c"tmpfs".as_ptr(),
                    0,
                    std::ptr::null(),
                ) == 0
        };
        if !hidden {
            // SAFETY: ends the child.
            unsafe { libc::_exit(3) };
        }
        let found = dunegc::roots::kernel::for_each_word(&mut |_| {});
        assert_eq!(found.unseen, Unseen::PROC);
    });
    if status == 3 {
        eprintln!("skipped: needs the right to mount");
        return;
    }
    assert_eq!(status, 0);
}

#[test]
fn no_descriptor_left() {
    let _alone = alone();
    let soft_and_hard = |soft, hard| {
        let l = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        // SAFETY: `l` is a limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &l) }, 0);
    };
    let status = in_child(|| {
        let (_r, mut w) = std::io::pipe().unwrap();
        w.write_all(&0x5a5a_7777_0000_0001_usize.to_ne_bytes())
            .unwrap();
        let mut emitted = false;
        let mut run = || {
            emitted = false;
            let found = dunegc::roots::kernel::for_each_word(&mut |w| {
                emitted |= w == 0x5a5a_7777_0000_0001
            });
            (found.unseen, emitted)
        };
        // The soft limit alone is no obstacle.
        soft_and_hard(3, 4096);
        let r = run();
        assert_eq!(kernel_support::limit(), (3, 4096));
        assert_eq!(r, (Unseen::default(), true));
        // At the hard limit nothing can be opened.
        soft_and_hard(3, 3);
        assert_eq!(run().0, Unseen::DESCRIPTORS);
    });
    assert_eq!(status, 0);
}
