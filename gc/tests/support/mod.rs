//! What the tests of the world share.
#![allow(dead_code)]
use dunegc::world::{self, CriticalFlags, StopError, Why, WorldConfig};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

thread_local! {
    static FLAGS: CriticalFlags = const { CriticalFlags::new() };
}

fn flags() -> *const CriticalFlags {
    FLAGS.with(|f| f as *const _)
}

/// The calling thread's flags, made its own.
pub fn own_flags() -> &'static CriticalFlags {
    // SAFETY: the thread's own thread-local, used only by the thread while it lives.
    let f = unsafe { &*flags() };
    if f.tid.load(Relaxed) != gettid() as u32 {
        f.adopt(gettid() as u32);
    }
    f
}

pub fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// One test at a time: each looks at all threads of the process.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let g = ONE.lock().unwrap_or_else(|e| e.into_inner());
    world::init(WorldConfig {
        timeout_ms: 5000,
        critical_flags: Some(flags),
        ..WorldConfig::default()
    })
    .unwrap();
    g
}

/// Threads with a counter each, which moves while the thread runs.
pub struct Runners {
    counts: Arc<Vec<AtomicU64>>,
    tids: Arc<Vec<AtomicI32>>,
    quit: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Runners {
    pub fn start(n: usize, pause: Option<Duration>) -> Runners {
        let counts: Arc<Vec<AtomicU64>> = Arc::new((0..n).map(|_| AtomicU64::new(0)).collect());
        let tids: Arc<Vec<AtomicI32>> = Arc::new((0..n).map(|_| AtomicI32::new(0)).collect());
        let quit = Arc::new(AtomicBool::new(false));
        let threads = (0..n)
            .map(|i| {
                let (counts, tids, quit) = (counts.clone(), tids.clone(), quit.clone());
                std::thread::spawn(move || {
                    tids[i].store(gettid(), Relaxed);
                    while !quit.load(Relaxed) {
                        counts[i].fetch_add(1, Release);
                        if let Some(p) = pause {
                            std::thread::sleep(p);
                        }
                    }
                })
            })
            .collect();
        while counts.iter().any(|c| c.load(Acquire) == 0) {
            std::thread::yield_now();
        }
        Runners {
            counts,
            tids,
            quit,
            threads,
        }
    }

    /// The kernel's number of the `i`th thread.
    pub fn tid(&self, i: usize) -> i32 {
        self.tids[i].load(Relaxed)
    }

    pub fn snapshot(&self) -> Vec<u64> {
        self.counts.iter().map(|c| c.load(Relaxed)).collect()
    }

    /// Nothing moves while the world is stopped; everything moves afterwards.
    pub fn assert_stands_still_then_moves(&self) {
        // Room for two snapshots: another thread may hold malloc's lock while the world is stopped.
        let n = self.counts.len();
        let (mut before, mut after) = (vec![0; n], vec![0; n]);
        let w = world::stop().unwrap();
        self.fill(&mut before);
        spin(Duration::from_millis(5));
        self.fill(&mut after);
        w.resume();
        assert_eq!(before, after, "a thread ran while the world was stopped");
        self.assert_moves();
    }

    pub fn fill(&self, into: &mut [u64]) {
        into.iter_mut()
            .zip(self.counts.iter())
            .for_each(|(i, c)| *i = c.load(Relaxed));
    }

    pub fn assert_moves(&self) {
        let before = self.snapshot();
        let end = Instant::now() + Duration::from_secs(20);
        while self
            .snapshot()
            .iter()
            .zip(&before)
            .any(|(now, then)| now == then)
        {
            assert!(Instant::now() < end, "a thread does not run on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        self.quit.store(true, Relaxed);
        self.threads.drain(..).for_each(|t| t.join().unwrap());
    }
}

/// Waits without sleeping.
pub fn spin(d: Duration) {
    let until = Instant::now() + d;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// The error of a stop that a thread does not let happen, and how long it took. Where the machine is so loaded that some other
/// thread does not come to run in all that time, the error names that one: then again.
pub fn refused(limit: Duration) -> (StopError, Duration) {
    for _ in 0..20 {
        let begin = Instant::now();
        let error = world::stop_within(limit.as_nanos() as u64)
            .map(drop)
            .unwrap_err();
        let overloaded = matches!(
            error,
            StopError::Blocked {
                why: Why::Unresponsive,
                ..
            }
        );
        if !overloaded {
            return (error, begin.elapsed());
        }
    }
    panic!("the threads of the test do not come to run");
}

/// Waits until `f` holds.
pub fn until(what: &str, f: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !f() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

unsafe extern "C" {
    /// fork without the handlers of pthread_atfork (glibc 2.34).
    fn _Fork() -> libc::pid_t;
}

/// Runs `f` in a forked child; it must not panic. `hook`: whether the fork handlers run, which the crate registers.
pub fn in_child(hook: bool, f: impl FnOnce()) {
    // SAFETY: the child calls only the test code and _exit; no other thread of a test holds malloc's locks.
    let pid = unsafe { if hook { libc::fork() } else { _Fork() } };
    assert!(pid >= 0);
    if pid == 0 {
        let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_ok();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    assert_eq!(wait_for(pid), 0, "the child failed");
}

/// The wait status of a child.
pub fn wait_for(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
        assert_eq!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::EINTR)
        );
    }
    status
}

/// A stack for a raw thread: never unmapped.
pub fn raw_stack() -> (usize, usize) {
    const LEN: usize = 256 << 10;
    // SAFETY: a fresh mapping.
    let p = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(p, libc::MAP_FAILED);
    (p as usize, p as usize + LEN)
}

/// A thread that libc does not know: it shares its creator's thread-local storage and must not use it.
pub fn raw_thread(f: extern "C" fn(*mut libc::c_void) -> i32, arg: *const libc::c_void) -> i32 {
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    // SAFETY: a fresh stack, never reused; the function touches no thread-local storage.
    let tid = unsafe { libc::clone(f, raw_stack().1 as *mut _, flags, arg.cast_mut()) };
    assert!(tid > 0);
    tid
}

/// Whether `tid` is a thread of this process.
pub fn exists(tid: i32) -> bool {
    std::path::Path::new(&format!("/proc/self/task/{tid}")).exists()
}

/// Sets a flag when dropped, so that a failed assertion does not leave threads running.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
