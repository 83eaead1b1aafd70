//! What systems and programs do to a dirty source: refuse it, kill for it, close its descriptors, use the same facilities.

mod dirty_support;

use dirty_support::*;
use dunegc::config::Dirty;
use dunegc::dirty::{self, Kind, NoSource, Outcome, PagemapScan, Range, Tracking, When};
use std::collections::BTreeSet;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

/// Runs `f` in a child; what the child wrote to standard error, without the prefix of each line.
#[track_caller]
fn lines_of_child(f: impl FnOnce()) -> Vec<String> {
    let _alone = alone();
    let mut file = tempfile();
    let status = status_of_child(|| {
        // SAFETY: descriptors of this child.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 2) }, 2);
        f();
    });
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(status, 0, "the child failed: {text}");
    let line = |l: &str| l.split_once("] ").unwrap_or(("", l)).1.to_owned();
    text.lines().map(line).collect()
}

fn tempfile() -> std::fs::File {
    // SAFETY: makes a descriptor, which the file then owns.
    unsafe {
        use std::os::fd::FromRawFd;
        let fd = libc::memfd_create(c"stderr".as_ptr(), 0);
        assert!(fd >= 0);
        std::fs::File::from_raw_fd(fd)
    }
}

fn pagemap_scan_works() -> bool {
    let works = dirty::available(Kind::PagemapScan);
    if let Err(e) = &works {
        assert!(!must_work("pagemap-scan"), "{e}");
        eprintln!("skipped: pagemap-scan does not work here: {e}");
    }
    works.is_ok()
}

/// From now on `action` answers a system call, if `argument` is that of its second argument.
fn filter(call: libc::c_long, argument: Option<u32>, action: u32) {
    let load = |k: u32| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let unless_skip = |k: u32, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf,
        k,
    };
    let answer = |k: u32| libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = vec![load(0)];
    match argument {
        None => program.push(unless_skip(call as u32, 1)),
        // The second argument's low half.
        Some(a) => program.extend([unless_skip(call as u32, 3), load(24), unless_skip(a, 1)]),
    }
    program.extend([answer(action), answer(libc::SECCOMP_RET_ALLOW)]);
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: a valid program, which the kernel copies.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter),
            0
        );
    }
}

const PAGEMAP_SCAN: u32 = 0xc060_6610;
const UFFDIO_REGISTER: u32 = 0xc020_aa00;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A filter from the start on: asked for by name it costs one line, chosen automatically none; nothing dies.
#[test]
fn forbidden_from_the_start() {
    if !pagemap_scan_works() {
        return;
    }
    let uffd = libc::SYS_userfaultfd;
    let ioctl = libc::SYS_ioctl;
    for (call, argument, action, why) in [
        (uffd, None, EPERM, "userfaultfd: EPERM: not permitted"),
        (uffd, None, ENOSYS, "userfaultfd: errno 38"),
        (
            uffd,
            None,
            libc::SECCOMP_RET_KILL_PROCESS,
            "a seccomp filter kills",
        ),
        (
            uffd,
            None,
            libc::SECCOMP_RET_KILL_THREAD,
            "a seccomp filter kills",
        ),
        (uffd, None, libc::SECCOMP_RET_TRAP, "a seccomp filter kills"),
        (
            ioctl,
            Some(PAGEMAP_SCAN),
            libc::SECCOMP_RET_KILL_PROCESS,
            "a seccomp filter kills",
        ),
        (
            ioctl,
            Some(UFFDIO_REGISTER),
            libc::SECCOMP_RET_KILL_PROCESS,
            "a seccomp filter kills",
        ),
        (ioctl, Some(PAGEMAP_SCAN), EPERM, "PAGEMAP_SCAN: EPERM"),
    ] {
        let lines = lines_of_child(|| {
            filter(call, argument, action);
            assert_ne!(dirty::choose(Dirty::PagemapScan), Kind::PagemapScan);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let start = "DUNEGC_DIRTY=pagemap-scan does not work here (";
        assert!(lines[0].starts_with(start), "{lines:?}");
        assert!(lines[0][start.len()..].starts_with(why), "{lines:?}");
        let lines = lines_of_child(|| {
            filter(call, argument, action);
            assert_ne!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
        });
        assert!(lines.is_empty(), "{lines:?}");
    }
}

/// A harmless filter changes nothing.
#[test]
fn under_an_unrelated_filter() {
    if !pagemap_scan_works() {
        return;
    }
    let lines = lines_of_child(|| {
        filter(libc::SYS_swapon, None, EPERM);
        assert_eq!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
        dirty::arm(&[Memory::filled(4).range()]).unwrap();
    });
    assert!(lines.is_empty(), "{lines:?}");
}

/// A filter that the program installs between two cycles.
#[test]
fn forbidden_later() {
    if !pagemap_scan_works() {
        return;
    }
    for action in [EPERM, libc::SECCOMP_RET_KILL_PROCESS] {
        let lines = lines_of_child(|| {
            let m = Memory::filled(16);
            assert_eq!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
            dirty::arm(&[m.range()]).unwrap();
            dirty::disarm();
            filter(libc::SYS_ioctl, Some(PAGEMAP_SCAN), action);
            assert_eq!(dirty::arm(&[m.range()]), Err(NoSource::Never));
            assert_eq!(dirty::kind(), Kind::None);
            assert_eq!(dirty::arm(&[m.range()]), Err(NoSource::Never));
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("dirty source pagemap-scan stopped working ("),
            "{lines:?}"
        );
    }
}

/// In the middle of a cycle: everything counts as written.
#[test]
fn forbidden_while_armed() {
    if !pagemap_scan_works() {
        return;
    }
    let lines = lines_of_child(|| {
        let m = Memory::filled(16);
        assert_eq!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
        dirty::arm(&[m.range()]).unwrap();
        filter(libc::SYS_ioctl, Some(PAGEMAP_SCAN), EPERM);
        m.write(3);
        for _ in 0..2 {
            assert_eq!(
                dirty::harvest(When::Running, &mut |_| {}),
                Outcome::Everything
            );
        }
        let last = When::Stopped { keep: false };
        assert_eq!(dirty::harvest(last, &mut |_| {}), Outcome::Everything);
        dirty::disarm();
        assert_eq!(dirty::arm(&[m.range()]), Err(NoSource::Never));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// Uses up all descriptors below the limit.
fn exhaust(soft: u64, hard: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: a valid limit; descriptors of this child.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        while libc::dup(2) >= 0 {}
    }
    assert_eq!(
        std::io::Error::last_os_error().raw_os_error(),
        Some(libc::EMFILE)
    );
}

#[test]
fn no_descriptor_left() {
    if !pagemap_scan_works() {
        return;
    }
    let lines = lines_of_child(|| {
        exhaust(64, 64);
        assert_eq!(dirty::choose(Dirty::PagemapScan), Kind::None);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("EMFILE"), "{lines:?}");
    // The soft limit is the program's habit, not the system's.
    let lines = lines_of_child(|| {
        exhaust(64, 128);
        assert_eq!(dirty::choose(Dirty::PagemapScan), Kind::PagemapScan);
        let m = Memory::filled(16);
        dirty::arm(&[m.range()]).unwrap();
        m.write(3);
        assert_eq!(
            dirty::harvest(When::Running, &mut |_| {}),
            Outcome::Pages(1)
        );
    });
    assert!(lines.is_empty(), "{lines:?}");
}

fn descriptors() -> BTreeSet<i32> {
    // SAFETY: only asks for flags.
    (0..2000)
        .filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0)
        .collect()
}

/// The program closes everything, or puts files of its own at our numbers: one harvest says everything, then all is as before, and the
/// program's files are left alone.
#[test]
fn descriptors_closed_and_replaced() {
    if !pagemap_scan_works() {
        return;
    }
    let lines = lines_of_child(|| {
        let before = descriptors();
        let m = Memory::filled(16);
        assert_eq!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
        let ours: Vec<i32> = descriptors().difference(&before).copied().collect();
        assert_eq!(ours.len(), 2);
        assert!(ours.iter().all(|&fd| fd >= 200), "{ours:?}");
        // SAFETY: only asks for flags.
        let flags = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert!(ours.iter().all(|&fd| flags(fd) & libc::FD_CLOEXEC != 0));
        dirty::arm(&[m.range()]).unwrap();
        m.write(3);
        // SAFETY: descriptors of this child; standard error stays.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        assert_eq!(
            dirty::harvest(When::Running, &mut |_| {}),
            Outcome::Everything
        );
        m.write(4);
        assert_eq!(
            dirty::harvest(When::Running, &mut |_| {}),
            Outcome::Pages(1)
        );
        let now: Vec<i32> = descriptors().into_iter().filter(|&fd| fd > 2).collect();
        assert_eq!(now.len(), 2);
        // SAFETY: as above.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            now.iter()
                .for_each(|&fd| assert_eq!(libc::dup2(null, fd), fd));
        }
        m.write(5);
        let last = When::Stopped { keep: false };
        assert_eq!(dirty::harvest(last, &mut |_| {}), Outcome::Everything);
        assert!(
            now.iter().all(|&fd| flags(fd) >= 0),
            "closed the program's files"
        );
        dirty::disarm();
        dirty::arm(&[m.range()]).unwrap();
        m.write(6);
        assert_eq!(dirty::harvest(last, &mut |_| {}), Outcome::Pages(1));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("closed or replaced"), "{lines:?}");
}

/// The program closes the userfaultfd alone: a harvest in a stop, which does not look at that, finds out.
#[test]
fn the_userfaultfd_is_closed_before_a_stop() {
    if !pagemap_scan_works() {
        return;
    }
    let lines = lines_of_child(|| {
        let before = descriptors();
        let m = Memory::filled(16);
        assert_eq!(dirty::choose(Dirty::Auto), Kind::PagemapScan);
        let ours = descriptors();
        let is_userfaultfd = |fd: &&i32| {
            let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
            link.is_ok_and(|to| to.to_string_lossy().contains("userfaultfd"))
        };
        let close = || {
            let now = descriptors();
            let fd = *now.difference(&before).find(is_userfaultfd).unwrap();
            // SAFETY: a descriptor of this child, which nothing else uses.
            assert_eq!(unsafe { libc::close(fd) }, 0);
        };
        assert_eq!(ours.difference(&before).count(), 2);
        dirty::arm(&[m.range()]).unwrap();
        m.write(3);
        close();
        m.write(4);
        let mut all = BTreeSet::new();
        let look = When::Stopped { keep: false };
        let outcome = dirty::harvest(look, &mut |r| {
            all.extend((r.start - m.start) / PAGE..(r.end - m.start) / PAGE);
        });
        assert!(outcome == Outcome::Everything || all == (0..16).collect());
        let keep = When::Stopped { keep: true };
        assert_eq!(dirty::harvest(keep, &mut |_| {}), Outcome::Everything);
        m.write(5);
        assert_eq!(dirty::harvest(keep, &mut |_| {}), Outcome::Pages(1));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("closed or replaced"), "{lines:?}");
}

/// Neighbouring ranges that were added apart lie in memory of a userfaultfd of the program.
#[test]
fn neighbours_that_belong_to_the_program() {
    if !pagemap_scan_works() {
        return;
    }
    let _alone = alone();
    let m = Memory::filled(256);
    let mut theirs = Tracking::new(PagemapScan::open().unwrap());
    theirs.arm(&[m.part(64, 128)]).unwrap();
    let mut ours = Tracking::new(PagemapScan::open().unwrap());
    ours.arm(&[m.part(64, 96)]).unwrap();
    ours.track(m.part(200, 216));
    ours.track(m.part(96, 128));
    ours.track(m.part(32, 64));
    for when in [
        When::Running,
        When::Stopped { keep: true },
        When::Stopped { keep: false },
    ] {
        for page in [40, 70, 100, 203] {
            m.write(page);
        }
        // The program harvests first, as it may at any time.
        let _ = theirs.harvest(When::Running, &mut |_| {});
        let w = harvest(&mut ours, &m, when);
        w.assert_has([40, 70, 100, 203]);
        assert!(!w.has(41) && !w.has(204), "{w:?}");
    }
}

/// Part of the memory belongs to a userfaultfd of the program, which clears what we would look at.
#[test]
fn the_program_uses_userfaultfd_itself() {
    if !pagemap_scan_works() {
        return;
    }
    let _alone = alone();
    let m = Memory::filled(256);
    let mut theirs = Tracking::new(PagemapScan::open().unwrap());
    theirs.arm(&[m.part(64, 128)]).unwrap();
    let mut ours = Tracking::new(PagemapScan::open().unwrap());
    ours.arm(&[m.range()]).unwrap();
    m.write(3);
    m.write(70);
    m.write(200);
    // The program harvests first, as it may at any time.
    let _ = theirs.harvest(When::Running, &mut |_| {});
    let Written::Pages(got) = running(&mut ours, &m) else {
        panic!("everything")
    };
    let want: BTreeSet<usize> = (64..128).chain([3, 200]).collect();
    assert_eq!(got, want);
    m.write(71);
    let _ = theirs.harvest(When::Running, &mut |_| {});
    let w = last(&mut ours, &m);
    w.assert_has([71]);
    assert!(!w.has(4) && !w.has(150), "{w:?}");
    // Ours have taken nothing from theirs.
    m.write(72);
    let _ = running(&mut ours, &m);
    theirs.disarm();
    let mut seen = Vec::new();
    let _ = theirs.harvest(When::Running, &mut |r: Range| seen.push(r));
}

/// The program has a handler for SIGSEGV: its own faults reach it, ours do not, under `mprotect`.
#[test]
fn the_program_handles_sigsegv_itself() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static FAULTS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        FAULTS.fetch_add(1, SeqCst);
        // SAFETY: the fault was in the page that the test protected; made writable, the store goes on.
        unsafe {
            let page = (*info).si_addr() as usize & !(PAGE - 1);
            libc::mprotect(page as *mut _, PAGE, libc::PROT_READ | libc::PROT_WRITE);
        }
    }
    let lines = lines_of_child(|| {
        let (m, own) = (Memory::filled(64), Memory::filled(4));
        // SAFETY: installs the handler above; protects a page of this test.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        }
        assert_eq!(dirty::choose(Dirty::Mprotect), Kind::Mprotect);
        for round in 1..3 {
            dirty::arm(&[m.range()]).unwrap();
            // SAFETY: a page of this test.
            unsafe { libc::mprotect(own.at(1).cast(), PAGE, libc::PROT_READ) };
            m.write(3);
            own.write(1);
            assert_eq!(FAULTS.load(SeqCst), round);
            assert_eq!(
                dirty::harvest(When::Running, &mut |_| {}),
                Outcome::Pages(16)
            );
            dirty::disarm();
        }
    });
    assert!(lines.is_empty(), "{lines:?}");
}

/// A real fault still ends the process by SIGSEGV.
#[test]
fn a_real_fault_is_fatal_under_mprotect() {
    let _alone = alone();
    let status = status_of_child(|| {
        // SAFETY: resets the handler of Rust's runtime; then a store to an address that is never mapped.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            let m = Memory::filled(4);
            dirty::choose(Dirty::Mprotect);
            dirty::arm(&[m.range()]).unwrap();
            (16 as *mut u8).write_volatile(1);
        }
    });
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV);
}

/// The choice costs less than a millisecond, also where a filter makes a child necessary.
#[test]
fn choosing_takes_no_time() {
    if !pagemap_scan_works() {
        return;
    }
    lines_of_child(|| {
        let best = || {
            (0..50)
                .map(|_| {
                    let start = std::time::Instant::now();
                    dirty::choose(Dirty::Auto);
                    start.elapsed()
                })
                .min()
                .unwrap()
        };
        let limit = std::time::Duration::from_millis(1);
        let plain = best();
        filter(libc::SYS_swapon, None, EPERM);
        let filtered = best();
        assert!(plain < limit && filtered < limit, "{plain:?} {filtered:?}");
        println!("choosing: {plain:?}, under a filter {filtered:?}");
    });
}
