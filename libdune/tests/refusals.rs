//! What the machine, the kernel or the caller refuses: an error that names it, and the process goes on natively.

mod support;

use libdune::{Choice, Config, Dune, Error};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use support::{in_child, inside, inside_with, pages};

fn kvm() -> Config {
    Config {
        engine: Choice::Kvm,
        ..Config::default()
    }
}

/// Runs `before` in a child process; entering is refused then, by an error whose text has all of `words`.
#[track_caller]
fn refused(before: impl FnOnce(), words: &[&str]) {
    if libdune::engine::any::AnyEngine::open(Choice::Kvm).is_err() {
        eprintln!("skipped: no /dev/kvm");
        return;
    }
    let status = in_child(|| {
        before();
        let error = Dune::enter(kvm()).err().expect("refused").to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
        assert!(!Dune::inside());
        let probed = Dune::probe_engine(Choice::Kvm).expect_err("refused too");
        assert!(!probed.to_string().is_empty());
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}

#[test]
fn no_device() {
    // SAFETY: tests of this program run as root, else the child skips; a root folder without devices, for the child only.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let root = std::env::temp_dir().join(format!("dune-root-{}", std::process::id()));
    let proc = root.join("proc");
    std::fs::create_dir_all(&proc).expect("a folder");
    let (root, proc) = [&root, &proc]
        .map(|p| std::ffi::CString::new(p.to_str().expect("a name")).expect("a name"))
        .into();
    // SAFETY: mounts in a namespace of the child's own.
    let chroot = || unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        let none = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        libc::mount(none, c"/".as_ptr(), none, private, none.cast());
        let kind = c"proc".as_ptr();
        assert_eq!(libc::mount(kind, proc.as_ptr(), kind, 0, none.cast()), 0);
        assert_eq!(libc::chroot(root.as_ptr()), 0);
    };
    refused(chroot, &["/dev/kvm", "ENOENT"]);
}

#[test]
fn no_permission() {
    // SAFETY: only root may become somebody else.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata("/dev/kvm").unwrap_or_else(|_| std::fs::metadata("/").expect("/")),
    );
    if mode & 0o006 == 0o006 {
        eprintln!("skipped: everybody may use /dev/kvm");
        return;
    }
    // SAFETY: changes the child's own identity.
    let nobody = || unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setgid(65534), 0);
        assert_eq!(libc::setuid(65534), 0);
    };
    refused(nobody, &["/dev/kvm", "EACCES"]);
}

/// A filter that answers ioctl with EPERM.
fn forbid_ioctl() {
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, libc::SYS_ioctl as u32),
        instruction(0x06, 0, 0, 0x0005_0000 | libc::EPERM as u32),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which allows everything but one call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program), 0);
    }
}

#[test]
fn seccomp_forbids_ioctl() {
    refused(forbid_ioctl, &["EPERM"]);
}

#[test]
fn no_descriptor_left() {
    let none_left = || {
        let limit = libc::rlimit {
            rlim_cur: 3,
            rlim_max: 3,
        };
        // SAFETY: reads the limit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    };
    refused(none_left, &["EMFILE"]);
}

#[test]
fn entering_twice() {
    inside(|dune| {
        assert_eq!(Dune::enter(Config::default()).err(), Some(Error::Entered));
        assert_eq!(dune.enter_thread(), Err(Error::Entered));
        assert!(Dune::inside());
        dune.leave_thread().expect("inside");
        assert_eq!(dune.leave_thread(), Err(Error::NotEntered));
        assert_eq!(Dune::enter(Config::default()).err(), Some(Error::Entered));
        dune.enter_thread().expect("outside");
    });
}

/// From a handler of a native program: the thread is in guest mode when the handler goes on, and the kernel's frame is left by a system call as everywhere.
#[test]
fn entering_from_a_signal_handler() {
    static INSIDE: AtomicBool = AtomicBool::new(false);
    extern "C" fn enter(_: i32) {
        let config = Config {
            whole: true,
            ..Config::default()
        };
        INSIDE.store(Dune::enter(config).is_ok() && Dune::inside(), SeqCst);
    }
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        // SAFETY: the handler interrupts nothing but `raise`.
        unsafe {
            libc::signal(libc::SIGUSR1, enter as *const () as usize);
            libc::raise(libc::SIGUSR1);
        }
        assert!(INSIDE.load(SeqCst));
        // Whether inside or not: the program goes on.
        assert_eq!((1..=10u64).sum::<u64>(), 55);
        assert!(std::fs::read("/proc/self/comm").is_ok());
        let mut child = std::process::Command::new("true");
        assert!(child.status().expect("true runs").success());
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}

/// Sets a limit of the process to nothing.
fn allow_none(resource: libc::__rlimit_resource_t) {
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads the limit.
    let done = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(done, 0);
}

#[test]
fn without_locked_memory() {
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        allow_none(libc::RLIMIT_MEMLOCK);
        // Tables need not be locked.
        let dune = Dune::enter(Config::default()).expect("the process enters");
        let memory = pages(2000);
        memory.iter_mut().step_by(4096).for_each(|b| *b = 7);
        assert!(Dune::inside() && dune.stats().exits() > 0);
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}

/// Two terabytes that nobody may use cost nothing; the few pages of them that are used later do.
#[test]
fn two_terabytes_without_rights() {
    for packed in [false, true] {
        let config = Config {
            packed,
            ..Config::default()
        };
        inside_with(config, |_| {
            let len = 2usize << 40;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let null = std::ptr::null_mut();
            // SAFETY: a new mapping, a part of which gets rights.
            unsafe {
                let at = libc::mmap(null, len, libc::PROT_NONE, flags, -1, 0);
                assert_ne!(at, libc::MAP_FAILED);
                for part in (0..len).step_by(len / 16) {
                    let page = at.cast::<u8>().add(part);
                    let rights = libc::PROT_READ | libc::PROT_WRITE;
                    assert_eq!(libc::mprotect(page.cast(), 4096, rights), 0);
                    page.write_volatile(3);
                    assert_eq!(page.read_volatile(), 3);
                }
                assert_eq!(libc::munmap(at, len), 0);
            }
            assert!(Dune::inside());
        });
    }
}

/// A process that is killed while its threads are in the guest ends as any other.
#[test]
fn killed_inside() {
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    static THREADS: AtomicU32 = AtomicU32::new(0);
    let status = in_child(|| {
        Dune::enter(Config::default()).expect("the process enters");
        for _ in 0..3 {
            std::thread::spawn(|| {
                THREADS.fetch_add(1, SeqCst);
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        while THREADS.load(SeqCst) < 3 {
            std::thread::yield_now();
        }
        // SAFETY: ends this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        std::thread::park();
    });
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
}

/// One thread that computes in the guest is sent a signal that nobody handles: the process ends by it, as natively.
#[test]
fn a_thread_killed_inside() {
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    for whole in [false, true] {
        for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR2, libc::SIGSEGV] {
            let status = in_child(|| {
                let config = Config {
                    whole,
                    ..Config::default()
                };
                Dune::enter(config).expect("the process enters");
                let thread = std::sync::Arc::new(AtomicU32::new(0));
                let number = thread.clone();
                std::thread::spawn(move || {
                    assert!(Dune::inside());
                    // SAFETY: no arguments.
                    number.store(unsafe { libc::gettid() } as u32, SeqCst);
                    loop {
                        std::hint::spin_loop();
                    }
                });
                while thread.load(SeqCst) == 0 {
                    std::thread::yield_now();
                }
                // SAFETY: a signal for the other thread.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::syscall(
                        libc::SYS_tgkill,
                        libc::getpid(),
                        thread.load(SeqCst),
                        signal,
                    );
                }
                std::thread::sleep(std::time::Duration::from_secs(20));
            });
            let ended = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal;
            assert!(ended, "whole {whole}, signal {signal}: {status:#x}");
        }
    }
}

/// A thread of many that is already inside cannot enter again from a handler, natively or not.
#[test]
fn entering_again_from_a_signal_handler() {
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn enter(_: i32) {
        let again = Dune::enter(Config::default()).err() == Some(Error::Entered);
        REFUSED.fetch_add(again.into(), SeqCst);
    }
    for whole in [false, true] {
        let config = Config {
            whole,
            ..Config::default()
        };
        inside_with(config, |_| {
            // SAFETY: the handler interrupts nothing but `raise`.
            unsafe {
                libc::signal(libc::SIGUSR1, enter as *const () as usize);
                libc::raise(libc::SIGUSR1);
            }
            assert_eq!(REFUSED.load(SeqCst), 1);
            assert!(Dune::inside());
        });
    }
}

/// A process whose user may queue no signals at all: threads are still interrupted.
#[test]
fn without_queued_signals() {
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        allow_none(libc::RLIMIT_SIGPENDING);
        let dune = Dune::enter(Config::default()).expect("the process enters");
        let memory = pages(64);
        let (start, len) = (memory.as_ptr() as usize, memory.len());
        dune.map(start, len).expect("inside");
        static READY: AtomicBool = AtomicBool::new(false);
        std::thread::spawn(move || {
            READY.store(true, SeqCst);
            loop {
                // SAFETY: a byte of the mapping.
                unsafe { (start as *mut u8).write_volatile(1) };
            }
        });
        while !READY.load(SeqCst) {
            std::thread::yield_now();
        }
        for _ in 0..50 {
            let mut dirty = dune.dirty(start, len).expect("inside");
            dirty.by_ref().for_each(drop);
            dune.flush(dirty.finish()).expect("inside");
        }
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}

/// A process that is refused again and again keeps no descriptors of the attempts.
#[test]
fn refusals_leave_nothing_behind() {
    if libdune::engine::any::AnyEngine::open(Choice::Any).is_err() {
        return;
    }
    let status = in_child(|| {
        let open = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
        let before = open();
        for _ in 0..10 {
            let config = Config {
                trouble: libdune::engine::mock::Trouble::NoCpu(0),
                ..Config::default()
            };
            assert!(Dune::enter(config).is_err());
        }
        assert_eq!(open(), before);
    });
    assert_eq!(status, 0, "the child's wait status is {status:#x}");
}
