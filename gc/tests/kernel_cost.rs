//! What a pass costs by number and kind of descriptors. Prints the table; fails if a pass is out of all proportion.
use std::any::Any;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
mod kernel_support;
use kernel_support::{alone, in_child, limit, owned};

/// Makes something that holds two descriptors.
type Make = fn() -> Box<dyn Any>;

const KINDS: [(&str, Make); 5] = [
    ("idle Unix sockets", || {
        Box::new(UnixStream::pair().unwrap())
    }),
    ("idle TCP sockets", || {
        // SAFETY: makes a descriptor.
        let socket = || owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        Box::new((socket(), socket()))
    }),
    ("empty pipes", || Box::new(std::io::pipe().unwrap())),
    ("files", || {
        let open = || std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        Box::new((open(), open()))
    }),
    ("eventfds", || {
        // SAFETY: makes a descriptor.
        let event = || owned(unsafe { libc::eventfd(0, 0) });
        Box::new((event(), event()))
    }),
];

/// Processor time of this thread, which other processes do not lengthen by much.
fn now() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is writable.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    assert_eq!(result, 0);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Median time of a pass.
fn median() -> Duration {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let begin = now();
            let found = dunegc::roots::kernel::for_each_word(&mut |w| {
                std::hint::black_box(w);
            });
            assert!(!found.uncertain(), "{}", found.unseen);
            now() - begin
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn report(what: &str) {
    let t = median();
    eprintln!("{what}: {} us", t.as_micros());
    assert!(t < Duration::from_secs(1), "{what}: {t:?}");
}

#[test]
fn by_number_and_kind() {
    let _alone = alone();
    let (_, hard) = limit();
    for (name, make) in KINDS {
        for n in [10, 1000, 10_000] {
            if hard < n as u64 + 100 {
                eprintln!("skipped: {n} {name}: the hard limit on descriptors is {hard}");
                continue;
            }
            let status = in_child(|| {
                let l = libc::rlimit {
                    rlim_cur: hard,
                    rlim_max: hard,
                };
                // SAFETY: `l` is a limit.
                assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &l) }, 0);
                let _open: Vec<_> = (0..n / 2).map(|_| make()).collect();
                report(&format!("{n} {name}"));
            });
            assert_eq!(status, 0);
        }
    }
}

#[test]
fn by_what_is_held() {
    let _alone = alone();
    let status = in_child(|| {
        // SAFETY: makes a descriptor.
        let ep = owned(unsafe { libc::epoll_create1(0) });
        let pairs: Vec<_> = (0..450).map(|_| UnixStream::pair().unwrap()).collect();
        for (i, (a, b)) in pairs.iter().enumerate() {
            for s in [a, b] {
                let mut e = libc::epoll_event {
                    events: libc::EPOLLIN as u32,
                    u64: 0x5a5a_0000_0000 + i as u64,
                };
                let (ep, s) = (ep.as_raw_fd(), s.as_raw_fd());
                // SAFETY: `e` is an event that the kernel reads.
                let result = unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, s, &mut e) };
                assert_eq!(result, 0);
            }
        }
        report("900 sockets in an epoll");
        for (a, _) in &pairs {
            (&mut &*a).write_all(&[0x5a; 64]).unwrap();
        }
        report("the same, half of them with 64 unread bytes");
        drop((ep, pairs));
        let (_r, mut w) = std::io::pipe().unwrap();
        w.write_all(&[0x5a; 65536]).unwrap();
        report("a pipe with 65536 unread bytes");
    });
    assert_eq!(status, 0);
}
