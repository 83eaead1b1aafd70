//! Time: the clocks and the time-stamp counter of guest mode are those of the process, sleeps last as long as they should, alarms come.

use libdune::{Config, Dune};
use std::arch::x86_64::{__rdtscp, _rdtsc};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::time::{Duration, Instant, SystemTime};

static ALARMS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn alarm(_: i32) {
    ALARMS.fetch_add(1, Relaxed);
}

fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

/// Nanoseconds of a clock by the system call, past the vDSO.
fn clock(number: i32) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the structure.
    unsafe { libc::syscall(libc::SYS_clock_gettime, number, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The same through libc, which asks the vDSO.
fn clock_of_libc(number: i32) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the structure.
    unsafe { libc::clock_gettime(number, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ticks of a hundredth of a second by the monotonic clock.
fn rate() -> u64 {
    let (start, first) = (Instant::now(), ticks());
    while start.elapsed() < Duration::from_millis(10) {}
    (ticks() - first) / start.elapsed().as_micros().max(1) as u64
}

fn main() {
    let outside = rate();
    let wall = SystemTime::now();
    let dune = Dune::enter(Config {
        whole: true,
        ..Config::default()
    })
    .unwrap_or_else(|e| panic!("{e}"));
    // Readings that alternate between ways, and between outside and inside, never go back.
    let mut last = clock(libc::CLOCK_MONOTONIC);
    let mut forward = true;
    let mut counter = ticks();
    for i in 0..1000 {
        let now = match i % 2 {
            0 => clock(libc::CLOCK_MONOTONIC),
            _ => clock_of_libc(libc::CLOCK_MONOTONIC),
        };
        forward &= now >= last;
        last = now;
        if i % 100 == 50 {
            dune.leave_thread().expect("inside");
            let native = ticks();
            forward &= native >= counter;
            counter = native;
            dune.enter_thread().expect("outside");
        }
        let mut processor = 0;
        // SAFETY: reads a counter and a number.
        let now = unsafe { __rdtscp(&mut processor) };
        forward &= now >= counter;
        counter = now;
    }
    println!("never back: {forward}");
    let near = outside.abs_diff(rate()) <= outside / 10;
    println!("the counter's rate: {near}");
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    println!("slept: {}", start.elapsed() >= Duration::from_millis(20));
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: 5000,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the handler only counts.
    unsafe {
        libc::signal(libc::SIGALRM, alarm as *const () as usize);
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
    // A thread that only computes is interrupted, too.
    while ALARMS.load(Relaxed) < 5 {
        std::hint::spin_loop();
    }
    println!("alarms: {}", ALARMS.load(Relaxed) >= 5);
    println!("wall clock: {}", SystemTime::now() >= wall);
    println!("still inside: {}", Dune::inside());
}
