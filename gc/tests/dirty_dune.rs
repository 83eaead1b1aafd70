//! The dirty sources `dune` and `dune-wp`: who writes past the guest's page tables, one by one. Each case runs in a child process that enters guest mode.

mod dirty_support;

use dirty_support::*;
use dunegc::dirty::*;
use std::os::fd::AsRawFd;

/// All cases for one source.
macro_rules! hazards {
    ($($name:ident: $source:ty),*) => { $(
        mod $name {
            use super::*;
            hazards!(@ $source: buffers_of_system_calls messages_and_events moved_mappings system_calls_write_to_untouched_memory a_child_in_the_same_memory
                calls_that_nobody_knows a_fault_of_the_program io_uring_ends_it);
        }
    )* };
    (@ $source:ty: $($case:ident)*) => { $(
        #[test]
        fn $case() {
            super::$case::<$source>();
        }
    )* };
}

hazards! {
    dune: Dune,
    dune_wp: DuneWp
}

/// Runs a case in guest mode, in a child.
#[track_caller]
fn inside(case: impl FnOnce()) {
    let _alone = alone();
    if let Err(e) = engine() {
        eprintln!("skipped: {e}");
        return;
    }
    in_child(|| {
        enter_guest_mode();
        case();
    });
}

/// The pages that only system calls wrote are exactly those reported.
#[track_caller]
fn only(t: &mut Tracking<impl Source>, m: &Memory, want: &[usize]) {
    match running(t, m) {
        Written::Pages(got) => assert_eq!(got, want.iter().copied().collect()),
        Written::Everything => panic!("everything"),
    }
}

fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends
}

fn part(m: &Memory, page: usize, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: m.at(page).cast(),
        iov_len: len,
    }
}

fn buffers_of_system_calls<S: Tested>() {
    inside(|| {
        let m = Memory::filled(64);
        let [from, to] = pipe();
        // SAFETY: buffers inside the mapping, descriptors of our own.
        unsafe {
            libc::write(to, c"0123456789abcdef".as_ptr().cast(), 16);
            let mut t = armed::<S>(&m);
            // As much as was read, not as much as there is room for.
            assert_eq!(libc::read(from, m.at(3).cast(), 5), 5);
            only(&mut t, &m, &[3]);
            let parts = [part(&m, 10, 4), part(&m, 20, 4)];
            assert_eq!(libc::readv(from, parts.as_ptr(), 2), 8);
            only(&mut t, &m, &[10, 20]);
            let mut status = std::mem::zeroed::<libc::stat>();
            libc::fstat(from, &mut status);
            libc::fstat(from, m.at(30).cast());
            assert!(running(&mut t, &m).has(30));
            let file = std::fs::File::open("/proc/self/maps").unwrap();
            assert!(libc::pread(file.as_raw_fd(), m.at(40).cast(), 100, 0) > 0);
            only(&mut t, &m, &[40]);
            // A call that only reads.
            assert_eq!(libc::write(to, m.at(50).cast(), 9000), 9000);
            only(&mut t, &m, &[]);
        }
    });
}

fn messages_and_events<S: Tested>() {
    inside(|| {
        let m = Memory::filled(64);
        let mut ends = [0; 2];
        // SAFETY: buffers inside the mapping, descriptors of our own.
        unsafe {
            let socket = libc::SOCK_SEQPACKET;
            assert_eq!(
                libc::socketpair(libc::AF_UNIX, socket, 0, ends.as_mut_ptr()),
                0
            );
            for _ in 0..2 {
                libc::send(ends[1], c"message".as_ptr().cast(), 7, 0);
            }
            let epoll = libc::epoll_create1(0);
            let mut event = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: m.at(0) as u64,
            };
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, ends[0], &mut event);
            let mut t = armed::<S>(&m);
            // The kernel kept a pointer and gives it back.
            assert_eq!(libc::epoll_wait(epoll, m.at(7).cast(), 300, -1), 1);
            only(&mut t, &m, &[7]);
            let mut vector = [part(&m, 12, 3), part(&m, 13, 4)];
            let mut header = std::mem::zeroed::<libc::msghdr>();
            (header.msg_iov, header.msg_iovlen) = (vector.as_mut_ptr(), 2);
            assert_eq!(libc::recvmsg(ends[0], &mut header, 0), 7);
            running(&mut t, &m).assert_has([12, 13]);
            let flags = libc::MSG_TRUNC;
            assert_eq!(libc::recv(ends[0], m.at(22).cast(), 2, flags), 7);
            only(&mut t, &m, &[22]);
        }
    });
}

/// What was written before the mapping was moved or grown is not known any more.
fn moved_mappings<S: Tested>() {
    inside(|| {
        let m = Memory::filled(64);
        let mut t = armed::<S>(&m);
        m.write(5);
        let r = m.part(0, 16);
        // SAFETY: a part of our own mapping, which stays where it is.
        let p = unsafe { libc::mremap(r.start as *mut _, r.len(), r.len() / 2, 0) };
        assert_eq!(p as usize, r.start);
        running(&mut t, &m).assert_has([5]);
    });
}

/// Pages that the guest's tables do not know yet, and that the kernel fills.
fn system_calls_write_to_untouched_memory<S: Tested>() {
    inside(|| {
        let m = Memory::new(4096);
        let mut t = armed::<S>(&m);
        let [from, to] = pipe();
        // SAFETY: a buffer inside the mapping.
        unsafe {
            libc::write(to, c"text".as_ptr().cast(), 4);
            assert_eq!(libc::read(from, m.at(3000).cast(), 4), 4);
        }
        running(&mut t, &m).assert_has([3000]);
    });
}

#[track_caller]
fn everything_after<S: Tested>(event: impl FnOnce(&Memory)) {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    only(&mut t, &m, &[]);
    event(&m);
    assert!(matches!(running(&mut t, &m), Written::Everything));
    // And once only.
    m.write(9);
    only(&mut t, &m, &[9]);
}

/// posix_spawn's child lives in the parent's memory, natively.
fn a_child_in_the_same_memory<S: Tested>() {
    inside(|| {
        everything_after::<S>(|_| {
            let _ = std::process::Command::new("true").status();
        });
    });
}

fn calls_that_nobody_knows<S: Tested>() {
    inside(|| {
        everything_after::<S>(|m| {
            // SIOCGIFCONF and such hold addresses.
            // SAFETY: fails; the buffer is inside the mapping.
            unsafe { libc::ioctl(0, 0x8912, m.at(3)) };
        });
        everything_after::<S>(|_| {
            // SAFETY: there is no such call.
            unsafe { libc::syscall(9999) };
        });
    });
}

/// A store that faults is executed natively, the handler runs in guest mode again.
fn a_fault_of_the_program<S: Tested>() {
    extern "C" fn repair(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the page that the test took the rights of.
        unsafe {
            let page = (*info).si_addr() as usize & !(PAGE - 1);
            libc::mprotect(page as *mut _, PAGE, libc::PROT_READ | libc::PROT_WRITE);
        }
    }
    inside(|| {
        everything_after::<S>(|m| {
            // SAFETY: a handler for a page of our own.
            unsafe {
                let mut action = std::mem::zeroed::<libc::sigaction>();
                action.sa_sigaction = repair as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO;
                libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
                libc::mprotect(m.at(8).cast(), PAGE, libc::PROT_READ);
            }
            m.write(8);
            assert!(libdune::Dune::inside());
        });
    });
}

/// The kernel may write at any time: another source is needed.
fn io_uring_ends_it<S: Tested>() {
    inside(|| {
        let m = Memory::filled(4);
        let mut t = armed::<S>(&m);
        let mut parameters = [0u32; 30];
        // SAFETY: the kernel writes 120 bytes.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
        if ring < 0 {
            eprintln!("skipped: no io_uring: {}", std::io::Error::last_os_error());
            return;
        }
        assert!(matches!(running(&mut t, &m), Written::Everything));
        assert!(t.arm(&[m.range()]).is_err());
        assert!(available(Kind::Dune).is_err());
    });
}

#[test]
fn a_native_thread_is_refused() {
    let _alone = alone();
    assert!(available(Kind::Dune).is_err());
    if engine().is_err() {
        return;
    }
    in_child(|| {
        enter_guest_mode();
        assert!(available(Kind::Dune).is_ok());
        libdune::Dune::get().unwrap().leave_thread().unwrap();
        assert!(available(Kind::Dune).is_err());
    });
}

/// First writes are faults that the guest deals with: no exits, and nothing of it is left when the page was written.
#[test]
fn faults_of_dune_wp_are_no_exits() {
    inside(|| {
        let m = Memory::filled(1000);
        let mut t = armed::<DuneWp>(&m);
        // Known to the tables, what the count itself needs too.
        let dune = libdune::Dune::get().unwrap();
        let before = dune.stats();
        for want in [1000, 1000] {
            (0..1000).for_each(|page| m.write(page));
            let now = dune.stats();
            assert_eq!(now.exits(), before.exits());
            assert_eq!(now.faults - before.faults, want);
        }
        let Written::Pages(all) = running(&mut t, &m) else {
            panic!("everything");
        };
        assert_eq!(all.len(), 1000);
    });
}

/// Signals that arrive while a fault is dealt with wait for its end: handlers see the program's registers and stack.
#[test]
fn signals_beside_faults_of_dune_wp() {
    use std::sync::atomic::{AtomicUsize, Ordering::*};
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static WRONG: AtomicUsize = AtomicUsize::new(0);
    static STACK: AtomicUsize = AtomicUsize::new(0);
    // The next one comes a while after this one's end, however slow the machine.
    fn next_tick() {
        let time = |tv_usec| libc::timeval { tv_sec: 0, tv_usec };
        let timer = libc::itimerval {
            it_interval: time(0),
            it_value: time(300),
        };
        // SAFETY: our own timer; a handler may call this.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    }
    extern "C" fn tick(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the context of a handler with SA_SIGINFO.
        let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let stack = registers[libc::REG_RSP as usize] as usize;
        let seen = SEEN.fetch_add(1, Relaxed) + 1;
        WRONG.fetch_add(
            usize::from(stack.abs_diff(STACK.load(Relaxed)) > 1 << 20),
            Relaxed,
        );
        // Where a handler takes longer than the timer, the program goes on when there were enough.
        if seen < 300 {
            next_tick();
        }
    }
    inside(|| {
        let here = 0u8;
        STACK.store(&raw const here as usize, Relaxed);
        // SAFETY: the handler only counts.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = tick as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        }
        next_tick();
        let m = Memory::filled(200);
        let mut t = armed::<DuneWp>(&m);
        while SEEN.load(Relaxed) < 300 {
            (0..200).for_each(|page| m.write(page));
            running(&mut t, &m).assert_has(0..200);
        }
        assert_eq!(WRONG.load(Relaxed), 0);
        assert!(libdune::Dune::inside());
    });
}

/// Page tables are known as such, in a forked child too: its copy of them, and the tables of its own.
#[test]
fn page_tables_are_known_as_such() {
    fn check(m: &Memory, want: usize) {
        let mut ranges = Vec::new();
        page_tables(|lo, hi| ranges.push(lo..hi));
        assert_eq!(ranges.len(), want);
        let within = |at: usize| ranges.iter().any(|r| r.contains(&at));
        m.write(0);
        let entry = libdune::Dune::get().unwrap().entry(m.start).unwrap();
        assert!(within(std::ptr::from_ref(entry) as usize));
        assert!(!within(m.start) && !within(&raw const ranges as usize));
    }
    inside(|| {
        let m = Memory::filled(4);
        check(&m, 1);
        in_child(|| {
            enter_guest_mode();
            assert!(libdune::Dune::inside());
            check(&m, 2);
        });
    });
}
