//! States of the whole process: forks, exited leaders, debuggers, limits, kernel workers.
mod support;
use dunegc::world::{self, StopError, Why};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::*};
use std::time::{Duration, Instant};
use support::*;

fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn a_forked_child_stops_its_own_threads() {
    let _one = alone();
    let _r = Runners::start(3, None);
    for hook in [true, false] {
        in_child(hook, || {
            let w = world::stop().unwrap();
            let alone = w.threads().len();
            w.resume();
            assert_eq!(alone, 1);
            let r = Runners::start(2, None);
            r.assert_stands_still_then_moves();
            let w = world::stop().unwrap();
            let three = w.threads().len();
            w.resume();
            assert_eq!(three, 3);
        });
    }
}

#[test]
fn a_fork_while_others_stop_the_world() {
    let _one = alone();
    let quit = AtomicBool::new(false);
    std::thread::scope(|s| {
        let _end = SetOnDrop(&quit);
        s.spawn(|| {
            while !quit.load(Relaxed) {
                world::stop().unwrap().resume();
                spin(Duration::from_micros(20));
            }
        });
        for _ in 0..60 {
            in_child(true, || {
                let mut mask = 0u64;
                // SAFETY: a valid 8-byte signal set.
                unsafe { libc::syscall(libc::SYS_rt_sigprocmask, 0, 0usize, &raw mut mask, 8) };
                assert_eq!(mask, 0, "signals stay blocked in the child");
                std::thread::spawn(|| world::stop().unwrap().resume())
                    .join()
                    .unwrap();
                world::stop().unwrap().resume();
            });
        }
    });
}

#[test]
fn the_leader_has_exited() {
    let _one = alone();
    in_child(true, || {
        std::thread::spawn(|| {
            until("leader is a zombie", || {
                std::fs::read_to_string("/proc/self/stat")
                    .unwrap()
                    .contains(") Z ")
            });
            let ok = std::panic::catch_unwind(|| {
                let r = Runners::start(2, None);
                r.assert_stands_still_then_moves();
                let mut times: Vec<u64> =
                    (0..50).map(|_| world::stop().unwrap().stop_ns()).collect();
                times.sort_unstable();
                // Found out once, not with a timeout at every stop; a loaded machine delays most of them, not all.
                assert!(times[0] < 1_000_000, "fastest {} ns", times[0]);
            });
            // SAFETY: ends the process.
            unsafe { libc::_exit(if ok.is_ok() { 0 } else { 1 }) };
        });
        // SAFETY: ends this thread only; its stack stays.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
}

/// What a child sleeps on that has not been told how long.
const FOREVER: u32 = u32::MAX;

/// Sleeps as many milliseconds as the argument says at last.
extern "C" fn sleep_and_exit(left: *mut libc::c_void) -> i32 {
    // SAFETY: the parent's variable, which outlives this child: the parent waits for it.
    let left = unsafe { &*left.cast::<AtomicU32>() };
    while left.load(Acquire) > 0 {
        let told = left.load(Acquire) != FOREVER;
        let ts = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        // SAFETY: a valid time; no memory is written.
        unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
        if told {
            left.fetch_sub(1, AcqRel);
        }
    }
    0
}

/// Lets the child end, also when an assertion fails: its parent waits for it.
struct EndOnDrop<'a>(&'a AtomicU32);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.compare_exchange(FOREVER, 1, AcqRel, Acquire);
    }
}

#[test]
fn the_parent_of_a_vfork_child_is_waited_for_or_named() {
    let _one = alone();
    let r = Runners::start(2, None);
    for waited_for in [true, false] {
        let (tid, left) = (AtomicI32::new(0), AtomicU32::new(FOREVER));
        std::thread::scope(|s| {
            let _end = EndOnDrop(&left);
            s.spawn(|| {
                let stack = raw_stack().1 as *mut libc::c_void;
                tid.store(gettid(), Release);
                let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
                let left = (&raw const left).cast_mut().cast();
                // SAFETY: the child runs on its own stack, sleeps and counts down.
                let pid = unsafe { libc::clone(sleep_and_exit, stack, flags, left) };
                assert_eq!(wait_for(pid), 0);
            });
            until("vfork", || {
                let path = format!("/proc/self/task/{}/status", tid.load(Acquire));
                std::fs::read_to_string(path).is_ok_and(|s| s.contains("State:\tD"))
            });
            if waited_for {
                let begin = Instant::now();
                left.store(200, Release);
                world::stop_within(20_000_000_000).unwrap().resume();
                assert!(begin.elapsed() >= Duration::from_millis(200));
            } else {
                assert_eq!(
                    refused(Duration::from_millis(500)).0,
                    StopError::Blocked {
                        tid: tid.load(Relaxed),
                        why: Why::Uninterruptible
                    }
                );
            }
            r.assert_moves();
        });
        world::stop().unwrap().resume();
    }
}

#[test]
fn a_vfork_child_must_not_stop_its_parent() {
    extern "C" fn stop_in_child(out: *mut libc::c_void) -> i32 {
        // SAFETY: the test passes an AtomicU32; the parent waits meanwhile.
        let out = unsafe { &*out.cast::<AtomicU32>() };
        let refused = matches!(world::stop(), Err(StopError::SharedAddressSpace));
        out.store(if refused { 1 } else { 2 }, SeqCst);
        0
    }
    let _one = alone();
    let out = AtomicU32::new(0);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: own stack; the child ends before the parent goes on.
    let pid = unsafe {
        libc::clone(
            stop_in_child,
            raw_stack().1 as *mut _,
            flags,
            (&raw const out) as *mut _,
        )
    };
    wait_for(pid);
    assert_eq!(out.load(SeqCst), 1);
    world::stop().unwrap().resume();
}

#[test]
fn a_thread_held_by_a_debugger_is_named() {
    let _one = alone();
    let r = Runners::start(2, Some(Duration::from_millis(1)));
    // A thread that is sure to live on: one that the harness just ended is listed for a moment, too.
    let tid = r.tid(0);
    let (mut held, mut holds) = std::io::pipe().unwrap();
    let (mut go, mut goes) = std::io::pipe().unwrap();
    use std::io::{Read, Write};
    // SAFETY: the child makes system calls and writes a byte, then exits.
    let pid = unsafe {
        // Allowed even where Yama restricts attaching.
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0);
        let pid = libc::fork();
        if pid == 0 {
            let ok = libc::ptrace(libc::PTRACE_ATTACH, tid, 0usize, 0usize) == 0
                && libc::waitpid(tid, std::ptr::null_mut(), libc::__WALL) == tid;
            drop(goes);
            if !ok {
                libc::perror(c"ptrace".as_ptr());
            }
            let _ = holds.write_all(&[u8::from(ok)]);
            let _ = go.read(&mut [0]);
            libc::ptrace(libc::PTRACE_DETACH, tid, 0usize, 0usize);
            libc::_exit(0);
        }
        pid
    };
    drop(go);
    let mut b = [0];
    held.read_exact(&mut b).unwrap();
    let e = (b[0] != 0).then(|| refused(Duration::from_millis(500)).0);
    goes.write_all(b"x").unwrap();
    wait_for(pid);
    if b[0] == 0 {
        eprintln!("skipped: ptrace is not allowed here");
        return;
    }
    assert_eq!(
        e,
        Some(StopError::Blocked {
            tid,
            why: Why::Traced
        })
    );
    r.assert_moves();
    r.assert_stands_still_then_moves();
}

#[test]
fn limits_of_signals_and_descriptors() {
    let _one = alone();
    // Sets the soft limit, and the hard one too if told.
    let set = |what, soft: u64, hard: bool| {
        let mut l = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: valid limits.
        unsafe {
            assert_eq!(libc::getrlimit(what, &mut l), 0);
            l.rlim_cur = soft.min(l.rlim_max);
            l.rlim_max = if hard { soft } else { l.rlim_max };
            assert_eq!(libc::setrlimit(what, &l), 0);
        }
    };
    in_child(true, || {
        let r = Runners::start(2, None);
        // The soft limit is used up, the hard one is not.
        set(libc::RLIMIT_NOFILE, 0, false);
        assert!(std::fs::File::open("/").is_err());
        let ok = world::stop().map(drop);
        assert!(std::fs::File::open("/").is_err(), "the limit stays raised");
        assert_eq!(ok, Ok(()));
        set(libc::RLIMIT_NOFILE, 0, true);
        // The threads of the last stop are known; new ones cannot be looked up.
        world::stop().unwrap().resume();
        let _more = Runners::start(1, None);
        assert_eq!(
            world::stop().map(drop),
            Err(StopError::NoProc(libc::EMFILE))
        );
        r.assert_moves();
    });
    in_child(true, || {
        let r = Runners::start(2, None);
        set(libc::RLIMIT_SIGPENDING, 0, false);
        assert_eq!(
            world::stop_within(1_000_000_000).map(drop),
            Err(StopError::SignalQueueFull)
        );
        r.assert_moves();
        set(libc::RLIMIT_SIGPENDING, u64::MAX, false);
        r.assert_stands_still_then_moves();
    });
}

#[test]
fn without_proc_nothing_is_stopped() {
    let _one = alone();
    if !is_root() {
        eprintln!("skipped: only root can hide /proc");
        return;
    }
    in_child(true, || {
        let r = Runners::start(2, None);
        // SAFETY: constant strings.
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
            eprintln!("skipped: mount is not allowed here");
            return;
        }
        assert_eq!(
            world::stop().map(drop),
            Err(StopError::NoProc(libc::ENOENT))
        );
        r.assert_moves();
    });
}

#[test]
fn a_worker_thread_of_the_kernel_is_not_waited_for() {
    let _one = alone();
    in_child(true, || {
        let mut params = [0u32; 30];
        const IORING_SETUP_SQPOLL: u32 = 2;
        params[2] = IORING_SETUP_SQPOLL;
        params[4] = 60_000; // idle milliseconds
        // SAFETY: params is as large as struct io_uring_params (120 bytes).
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
        if fd < 0 {
            eprintln!(
                "skipped: no io_uring here: {}",
                std::io::Error::last_os_error()
            );
            return;
        }
        assert_eq!(
            std::fs::read_dir("/proc/self/task").unwrap().count(),
            2,
            "the ring has a kernel thread"
        );
        let r = Runners::start(2, None);
        r.assert_stands_still_then_moves();
        let mut times: Vec<u64> = (0..50).map(|_| world::stop().unwrap().stop_ns()).collect();
        times.sort_unstable();
        assert!(times[25] < 1_000_000, "median {} ns", times[25]);
    });
}

#[test]
fn a_thread_on_its_alternate_stack() {
    static IN_HANDLER: AtomicBool = AtomicBool::new(false);
    static LEAVE: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn handler(_: i32) {
        IN_HANDLER.store(true, SeqCst);
        while !LEAVE.load(Relaxed) {
            COUNT.fetch_add(1, Relaxed);
        }
    }
    let _one = alone();
    let (lo, hi) = raw_stack();
    let thread = std::thread::spawn(move || {
        // SAFETY: the stack is mapped for ever, the handler touches only atomics.
        unsafe {
            let st = libc::stack_t {
                ss_sp: lo as *mut _,
                ss_flags: 0,
                ss_size: hi - lo,
            };
            assert_eq!(libc::sigaltstack(&st, std::ptr::null_mut()), 0);
            let mut sa: libc::sigaction = std::mem::zeroed();
            sa.sa_sigaction = handler as *const () as usize;
            sa.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(libc::SIGUSR1, &sa, std::ptr::null_mut());
            let tid = gettid();
            libc::raise(libc::SIGUSR1);
            // The stack must not be used after the thread: give it back before.
            let off = libc::stack_t {
                ss_sp: std::ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            libc::sigaltstack(&off, std::ptr::null_mut());
            tid
        }
    });
    until("in handler", || IN_HANDLER.load(SeqCst));
    let w = world::stop().unwrap();
    let on_alt: Vec<_> = w
        .threads()
        .iter()
        .filter(|t| t.on_alt_stack)
        .map(|t| (t.tid, t.sp, t.alt_stack))
        .collect();
    let before = COUNT.load(Relaxed);
    spin(Duration::from_millis(1));
    let after = COUNT.load(Relaxed);
    w.resume();
    LEAVE.store(true, SeqCst);
    let tid = thread.join().unwrap();
    assert_eq!(before, after);
    assert_eq!(on_alt.len(), 1);
    assert_eq!((on_alt[0].0, on_alt[0].2), (tid, (lo, hi)));
    assert!(lo < on_alt[0].1 && on_alt[0].1 < hi);
}
