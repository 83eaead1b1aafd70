//! Threads in states that make stopping hard.
mod support;
use dunegc::world::{self, StopError, Why};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::time::{Duration, Instant};
use support::*;

/// A raw thread that counts until told to end. Touches no thread-local storage.
struct Raw {
    count: AtomicU64,
    quit: AtomicBool,
}

extern "C" fn raw_count(arg: *mut libc::c_void) -> i32 {
    // SAFETY: the test passes a `Raw` that outlives the thread.
    let raw = unsafe { &*arg.cast::<Raw>() };
    while !raw.quit.load(Relaxed) {
        raw.count.fetch_add(1, Relaxed);
    }
    0
}

#[test]
fn a_thread_that_libc_does_not_know() {
    let _one = alone();
    static RAW: Raw = Raw {
        count: AtomicU64::new(0),
        quit: AtomicBool::new(false),
    };
    // Its creator is in a critical section: the raw thread sees the creator's flags and must not take them for its own.
    let flags = own_flags();
    flags.depth.store(1, SeqCst);
    let tid = raw_thread(raw_count, (&raw const RAW).cast());
    until("raw thread runs", || RAW.count.load(Relaxed) != 0);
    let w = world::stop().unwrap();
    let listed = w.threads().iter().any(|t| t.tid == tid);
    let before = RAW.count.load(Relaxed);
    spin(Duration::from_millis(2));
    let after = RAW.count.load(Relaxed);
    w.resume();
    flags.depth.store(0, SeqCst);
    assert!(listed);
    assert_eq!(before, after);
    until("raw thread runs on", || RAW.count.load(Relaxed) != after);
    RAW.quit.store(true, Relaxed);
    until("raw thread ends", || !exists(tid));
    world::stop().unwrap().resume();
}

/// The frames of whoever collects are left out: the caller's stack begins where the registers were taken.
#[test]
fn the_callers_stack_begins_where_it_is_told() {
    #[inline(never)]
    fn deeper(registers: &world::Registers) -> (usize, usize) {
        let frame = std::hint::black_box([1usize; 512]);
        let w = world::stop_before(registers).unwrap();
        let own = w.threads()[0];
        w.resume();
        assert!(own.is_caller);
        (own.sp, frame.as_ptr() as usize)
    }
    let _one = alone();
    let (sp, below, told) = world::with_spilled_registers(|registers| {
        let (sp, below) = deeper(registers);
        (sp, below, registers.sp)
    });
    assert_eq!(sp, told);
    assert!(below < sp);
}

fn set_all_blocked(block: bool) {
    let all = !0u64;
    let how = if block {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: a valid 8-byte signal set.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const all, 0, 8) };
}

#[test]
fn a_thread_that_blocks_every_signal_is_named_in_time_and_all_run_on() {
    let _one = alone();
    let r = Runners::start(4, None);
    let tid = AtomicU32::new(0);
    let [go_on, seen, end] = [const { AtomicBool::new(false) }; 3];
    std::thread::scope(|s| {
        s.spawn(|| {
            set_all_blocked(true);
            tid.store(gettid() as u32, Release);
            while !go_on.load(Acquire) {
                std::thread::yield_now();
            }
            // The signals of all attempts arrive here; they are stale and must be ignored.
            set_all_blocked(false);
            seen.store(true, Release);
            while !end.load(Acquire) {
                std::thread::yield_now();
            }
        });
        // Also when an assertion fails: the scope waits for its thread.
        let _end = (SetOnDrop(&go_on), SetOnDrop(&end));
        until("blocked", || tid.load(Acquire) != 0);
        const LIMIT: Duration = Duration::from_millis(500);
        let attempt = || {
            let (e, took) = refused(LIMIT);
            assert_eq!(
                e,
                StopError::Blocked {
                    tid: tid.load(Relaxed) as i32,
                    why: Why::SignalBlocked
                }
            );
            r.assert_moves();
            took
        };
        assert!(attempt() >= LIMIT);
        // Later attempts know whom to look at first, and make nobody wait; a loaded machine delays some, not all.
        let took: Vec<_> = (0..5).map(|_| attempt()).collect();
        assert!(took.iter().any(|t| *t < LIMIT), "{took:?}");
        go_on.store(true, Release);
        until("stale signals ignored", || seen.load(Acquire));
        r.assert_stands_still_then_moves();
    });
}

#[test]
fn a_thread_that_consumes_the_signal_is_named() {
    let _one = alone();
    let (tid, quit) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| {
            set_all_blocked(true);
            tid.store(gettid() as u32, Release);
            // SAFETY: valid set and timeout; the info is not wanted.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigfillset(&mut set);
                let ts = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 5_000_000,
                };
                while !quit.load(Acquire) {
                    libc::sigtimedwait(&set, std::ptr::null_mut(), &ts);
                }
            }
        });
        let _end = SetOnDrop(&quit);
        until("waits", || tid.load(Acquire) != 0);
        let (e, _) = refused(Duration::from_millis(500));
        quit.store(true, Release);
        assert_eq!(
            e,
            StopError::Blocked {
                tid: tid.load(Relaxed) as i32,
                why: Why::SignalConsumed
            }
        );
    });
    world::stop().unwrap().resume();
}

#[test]
fn threads_are_created_and_end_all_the_time() {
    let _one = alone();
    static QUIT: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    fn spawn() -> std::thread::JoinHandle<()> {
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| _ = COUNT.fetch_add(1, Relaxed))
            .unwrap()
    }
    let creators: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                while !QUIT.load(Relaxed) {
                    let young: Vec<_> = (0..3).map(|_| spawn()).collect();
                    COUNT.fetch_add(1, Relaxed);
                    young.into_iter().for_each(|t| t.join().unwrap());
                }
            })
        })
        .collect();
    let mut slowest = 0;
    for _ in 0..500 {
        let w = world::stop().unwrap();
        slowest = slowest.max(w.stop_ns());
        let before = COUNT.load(Relaxed);
        spin(Duration::from_micros(100));
        let after = COUNT.load(Relaxed);
        w.resume();
        assert_eq!(before, after);
        spin(Duration::from_micros(300));
    }
    QUIT.store(true, Relaxed);
    creators.into_iter().for_each(|t| t.join().unwrap());
    eprintln!(
        "storm: {} threads, slowest stop {slowest} ns",
        COUNT.load(Relaxed)
    );
    assert!(COUNT.load(Relaxed) > 100);
}

/// Whether the kernel shows a thread sleeping in a system call.
fn in_call(tid: u32, call: libc::c_long) -> bool {
    let text =
        std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
    text.split(' ').next() == Some(&call.to_string())
}

#[test]
fn restartable_calls_see_no_eintr_and_errno_survives() {
    let _one = alone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (word, ready, quit, spoiled) = (
        AtomicU32::new(0),
        [const { AtomicU32::new(0) }; 3],
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    std::thread::scope(|s| {
        let read = s.spawn(|| {
            ready[0].store(gettid() as u32, SeqCst);
            let mut b = [0; 1];
            // `read` reports EINTR, unlike `read_exact`.
            reader.read(&mut b)
        });
        let futex = s.spawn(|| {
            ready[1].store(gettid() as u32, SeqCst);
            // SAFETY: a valid futex word, no timeout.
            let r = unsafe {
                libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, 0usize)
            };
            if r == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
        let accept = s.spawn(|| {
            ready[2].store(gettid() as u32, SeqCst);
            use std::os::fd::AsRawFd;
            // SAFETY: a valid listening socket; the address is not wanted.
            let r = unsafe {
                libc::accept4(
                    listener.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    0,
                )
            };
            if r >= 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
        s.spawn(|| {
            // SAFETY: the thread's own errno.
            let errno = unsafe { libc::__errno_location() };
            while !quit.load(Relaxed) {
                // SAFETY: as above.
                unsafe {
                    errno.write_volatile(4711);
                    spin(Duration::from_micros(50));
                    if errno.read_volatile() != 4711 {
                        spoiled.store(true, Relaxed);
                    }
                }
            }
        });
        let _end = SetOnDrop(&quit);
        let asleep = || {
            for (tid, call) in
                ready
                    .iter()
                    .zip([libc::SYS_read, libc::SYS_futex, libc::SYS_accept4])
            {
                until("sleeps in its call", || in_call(tid.load(SeqCst), call));
            }
        };
        asleep();
        for _ in 0..200 {
            world::stop().unwrap().resume();
            spin(Duration::from_micros(100));
        }
        // A futex wait that is restarted after the word has changed rightly gives EAGAIN.
        asleep();
        assert!(!read.is_finished() && !futex.is_finished() && !accept.is_finished());
        writer.write_all(b"x").unwrap();
        word.store(1, SeqCst);
        // SAFETY: a valid futex word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
        std::net::TcpStream::connect(addr).unwrap();
        assert_eq!(read.join().unwrap().unwrap(), 1);
        futex.join().unwrap().unwrap();
        accept.join().unwrap().unwrap();
        quit.store(true, Relaxed);
    });
    assert!(!spoiled.load(Relaxed), "errno changed");
}

#[test]
fn a_critical_section_ends_before_the_thread_stops() {
    let _one = alone();
    let (work, rounds, quit) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    // Odd while inside: a stop must never see that.
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                let f = own_flags();
                let mine = AtomicU64::new(0);
                while !quit.load(Relaxed) {
                    f.depth.store(1, Relaxed);
                    std::sync::atomic::compiler_fence(SeqCst);
                    work.fetch_add(1, SeqCst);
                    mine.fetch_add(1, SeqCst);
                    spin(Duration::from_micros(
                        if mine.load(Relaxed).is_multiple_of(64) {
                            3000
                        } else {
                            5
                        },
                    ));
                    work.fetch_sub(1, SeqCst);
                    std::sync::atomic::compiler_fence(SeqCst);
                    f.depth.store(0, Relaxed);
                    std::sync::atomic::compiler_fence(SeqCst);
                    if f.pending.swap(0, Relaxed) != 0 {
                        rounds.fetch_add(1, Relaxed);
                        world::park_self();
                    }
                }
            });
        }
        let _end = SetOnDrop(&quit);
        let mut inside = 0;
        for _ in 0..300 {
            let w = world::stop().unwrap();
            inside += work.load(SeqCst);
            w.resume();
            spin(Duration::from_micros(50));
        }
        quit.store(true, Relaxed);
        assert_eq!(inside, 0, "a thread was stopped in its critical section");
    });
    assert!(
        rounds.load(Relaxed) > 10,
        "the protocol was hardly used: {}",
        rounds.load(Relaxed)
    );
}

#[test]
fn a_critical_section_that_lasts_is_named() {
    let _one = alone();
    let (tid, quit) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| {
            let f = own_flags();
            f.depth.store(1, SeqCst);
            tid.store(gettid() as u32, Release);
            while !quit.load(Acquire) {
                std::hint::spin_loop();
            }
            f.depth.store(0, SeqCst);
            // The stop was given up: nothing to wait for.
            assert_eq!(f.pending.swap(0, SeqCst), 1);
            world::park_self();
        });
        let _end = SetOnDrop(&quit);
        until("inside", || tid.load(Acquire) != 0);
        let (e, _) = refused(Duration::from_millis(500));
        assert_eq!(
            e,
            StopError::Blocked {
                tid: tid.load(Relaxed) as i32,
                why: Why::CriticalSection
            }
        );
        quit.store(true, Release);
    });
    world::stop().unwrap().resume();
}

#[test]
fn many_threads_stop_the_world_at_once_also_from_critical_sections() {
    let _one = alone();
    let (stopped, overlaps) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for i in 0..6 {
            let (stopped, overlaps) = (&stopped, &overlaps);
            s.spawn(move || {
                let f = own_flags();
                for _ in 0..100 {
                    f.depth.store(i % 2, SeqCst);
                    let w = world::stop().unwrap();
                    if stopped.fetch_add(1, SeqCst) != 0 {
                        overlaps.fetch_add(1, SeqCst);
                    }
                    spin(Duration::from_micros(5));
                    stopped.fetch_sub(1, SeqCst);
                    w.resume();
                    f.depth.store(0, SeqCst);
                    if f.pending.swap(0, SeqCst) != 0 {
                        world::park_self();
                    }
                }
            });
        }
    });
    assert_eq!(overlaps.load(SeqCst), 0);
}

#[test]
fn an_exempt_thread_runs_on_and_is_not_listed() {
    let _one = alone();
    let (count, tid, quit) = (AtomicU64::new(0), AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| {
            assert!(world::exempt_self());
            tid.store(gettid() as u32, Release);
            while !quit.load(Relaxed) {
                count.fetch_add(1, Relaxed);
            }
            world::unexempt_self();
        });
        let _end = SetOnDrop(&quit);
        until("exempt", || tid.load(Acquire) != 0);
        let w = world::stop().unwrap();
        let (listed, before) = (
            w.threads()
                .iter()
                .any(|t| t.tid == tid.load(Relaxed) as i32),
            count.load(Relaxed),
        );
        let end = Instant::now() + Duration::from_secs(10);
        while count.load(Relaxed) == before && Instant::now() < end {}
        let after = count.load(Relaxed);
        w.resume();
        quit.store(true, Relaxed);
        assert!(!listed && before != after);
    });
    world::stop().unwrap().resume();
}
