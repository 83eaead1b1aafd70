//! Guests and the lives of processes: signals, ends, forks, tracers.

use crate::raw::{CODE, Device, Guest};
use dune_sys as abi;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

/// jmp to itself
const LOOP: &[u8] = &[0xeb, 0xfe];

extern "C" fn nothing(_: i32) {}

fn handle(signal: i32) {
    // SAFETY: a handler that does nothing; system calls are not restarted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// A thread that another one interrupts.
#[derive(Default)]
pub struct Target(AtomicU64);

impl Target {
    /// The calling thread is it.
    pub fn here(&self) {
        // SAFETY: always succeeds.
        self.0.store(unsafe { libc::pthread_self() }, SeqCst);
    }

    /// Ends its runs until it has done what it is asked for.
    pub fn interrupt(&self, done: impl Fn() -> bool) {
        handle(libc::SIGUSR1);
        while !done() {
            let thread = self.0.load(SeqCst);
            if thread != 0 {
                // SAFETY: the thread has not been joined.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: programs of one thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    pid
}

pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// An endless guest.
pub fn endless() -> ! {
    endless_until(false)
}

/// The same. `unmapped`: its memory may go, and then its code may not be fetched, which the module says; the thread waits for the end of its process.
fn endless_until(unmapped: bool) -> ! {
    let guest = Guest::new();
    guest.code(LOOP);
    let mut run = guest.vcpu();
    guest.run(&mut run);
    if unmapped && (run.exit, run.detail) == (abi::EXIT_REFUSED, libc::EFAULT as u32) {
        loop {
            std::hint::spin_loop();
        }
    }
    panic!("exit {}, {}", run.exit, run.detail);
}

/// For the script: an endless guest in each of two threads.
pub fn spin() {
    std::thread::spawn(|| endless());
    endless();
}

/// Keeps the calling thread on a processor; whether there is one of that number.
fn stay(processor: usize) -> bool {
    // SAFETY: a set of one processor, for the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set) == 0
    }
}

/// vCPUs that go from processor to processor, two in turn, keep what they have; the guest may end wherever they were last.
pub fn moves() {
    for round in 0..10 {
        let guest = Guest::new();
        // 1: inc rax; inc qword [0x100000]; hlt; jmp 1
        guest.code(&[
            0x48, 0xff, 0xc0, 0x48, 0xff, 0x04, 0x25, 0, 0, 0x10, 0, 0xf4, 0xeb, 0xf2,
        ]);
        let mut runs = [guest.vcpu(), guest.vcpu()];
        for n in 0..64u64 {
            assert!(stay((n / 3) as usize % 2), "two processors are needed");
            for run in &mut runs {
                // Over interruptions: the kernel may have work for a thread that it moves.
                assert_eq!((guest.run(run), run.regs.rax), (abi::EXIT_HALT, n + 1));
            }
        }
        assert_eq!(guest.read(0x10_0000), 128);
        stay(round % 2);
    }
}

/// A signal ends the run, unless it is blocked for it.
pub fn signals() {
    let guest = Guest::new();
    guest.code(LOOP);
    let mut run = guest.vcpu();
    handle(libc::SIGALRM);
    handle(libc::SIGUSR2);
    let bit = |signal: i32| 1u64 << (signal - 1);
    let timer = |milliseconds: i64| {
        let value = libc::itimerval {
            it_interval: libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            },
            it_value: libc::timeval {
                tv_sec: 0,
                tv_usec: milliseconds * 1000,
            },
        };
        // SAFETY: sets our own timer.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &value, std::ptr::null_mut()) };
    };
    for _ in 0..20 {
        timer(10);
        guest.device.run(&mut run).expect("it runs");
        assert_eq!(run.exit, abi::EXIT_INTERRUPTED);
        assert_eq!(run.regs.rip, CODE as u64);
    }
    // One that is blocked outside only, one that is blocked inside only: the first ends the run and stays queued, the second does not end it.
    // SAFETY: changes our own mask.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::raise(libc::SIGALRM);
        run.set = abi::SET_BLOCKED;
        run.blocked = bit(libc::SIGUSR2) | bit(libc::SIGKILL);
        guest.device.run(&mut run).expect("it runs");
        assert_eq!(run.exit, abi::EXIT_INTERRUPTED);
        libc::sigpending(&mut set);
        assert_eq!(libc::sigismember(&set, libc::SIGALRM), 1, "it stays queued");
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let taken = libc::sigtimedwait(&set, std::ptr::null_mut(), &zero);
        assert_eq!(taken, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &mut set);
        assert_eq!(
            libc::sigismember(&set, libc::SIGUSR2),
            0,
            "the mask is as before"
        );
        assert_eq!(
            libc::sigismember(&set, libc::SIGALRM),
            1,
            "the mask is as before"
        );
    }
    // One vCPU is not run by two threads.
    let (target, stop) = (Target::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (guest, target, id) = (&guest, &target, run.vcpu);
        let only = move || abi::Run {
            vcpu: id,
            ..Default::default()
        };
        let stop = &stop;
        let other = scope.spawn(move || {
            target.here();
            while !stop.load(SeqCst) {
                let _ = guest.device.run(&mut only());
            }
        });
        let end = Instant::now() + Duration::from_secs(20);
        let mut busy = false;
        while !busy && !other.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            busy = guest.device.run(&mut only()) == Err(libc::EBUSY);
        }
        stop.store(true, SeqCst);
        target.interrupt(|| other.is_finished());
        assert!(busy);
    });
}

/// Processes are killed at any point of a guest's life.
pub fn kill() {
    for round in 0..150u32 {
        let child = fork(|| endless());
        std::thread::sleep(Duration::from_micros(u64::from(round) * 97 % 20_000));
        // SAFETY: our own child.
        unsafe { libc::kill(child, libc::SIGKILL) };
        assert_eq!(wait(child), libc::SIGKILL, "killed");
    }
}

/// A process ends, or executes something else, with threads in guests, or without any memory.
pub fn ends() {
    for round in 0..60 {
        let child = fork(|| {
            for _ in 0..3 {
                std::thread::spawn(move || endless_until(round % 3 == 2));
            }
            std::thread::sleep(Duration::from_millis(round % 20));
            match round % 3 {
                // SAFETY: ends the process.
                0 => unsafe { libc::_exit(0) },
                1 => {
                    let name = c"busybox";
                    let args = [name.as_ptr(), c"true".as_ptr(), std::ptr::null()];
                    // SAFETY: a path and arguments that end in NULL.
                    unsafe { libc::execv(c"/bin/busybox".as_ptr(), args.as_ptr()) };
                    panic!("exec");
                }
                _ => {
                    // All below the stack goes, this code too: what follows is a segmentation fault.
                    // SAFETY: the process ends by this.
                    unsafe {
                        libc::munmap(std::ptr::without_provenance_mut(0x1000), 0x7fff_0000_0000)
                    };
                }
            }
        });
        let status = wait(child);
        let expected = if round % 3 == 2 { libc::SIGSEGV } else { 0 };
        assert_eq!(status & 0x7f, expected, "round {round}: {status:#x}");
    }
}

/// A forked child can do nothing with its parent's guest; the parent can still when the child has gone.
pub fn foreign() {
    let guest = Guest::new();
    guest.code(&[0xf4]);
    let mut run = guest.vcpu();
    for _ in 0..10 {
        let child = fork(|| {
            let device = &guest.device;
            assert_eq!(device.run(&mut { run }), Err(libc::EIO));
            assert_eq!(device.create(&mut Guest::start()), Err(libc::EIO));
            assert_eq!(device.add_chunk(&mut abi::Chunk::default()), Err(libc::EIO));
            Device::open().expect("its own");
        });
        assert_eq!(wait(child), 0);
        run.set = abi::SET_REGS;
        run.regs.rip = CODE as u64;
        assert_eq!(guest.run(&mut run), abi::EXIT_HALT);
    }
    // A child that outlives its parent holds the last reference to the file, of an address space that is gone.
    let parent = fork(|| {
        let guest = Guest::new();
        guest.code(&[0xf4]);
        guest.run(&mut guest.vcpu());
        fork(|| std::thread::sleep(Duration::from_millis(300)));
    });
    assert_eq!(wait(parent), 0);
    std::thread::sleep(Duration::from_millis(600));
}

/// A tracer stops a thread in a guest, sees it in the request, and lets it go.
pub fn traced() {
    let child = fork(|| endless());
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..10 {
        // SAFETY: traces our own child.
        unsafe {
            let none = std::ptr::null_mut::<u8>();
            assert_eq!(libc::ptrace(libc::PTRACE_ATTACH, child, none, none), 0);
            let status = wait(child);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            let at = &raw mut registers;
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, child, none, at), 0);
            assert_ne!(
                registers.rip, CODE as u64,
                "the guest's registers are its own"
            );
            assert_eq!(libc::ptrace(libc::PTRACE_DETACH, child, none, none), 0);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: our own child.
    unsafe { libc::kill(child, libc::SIGKILL) };
    assert_eq!(wait(child), libc::SIGKILL);
}

/// A guest that is stepped leaves nothing of that in the processor's registers: a watchpoint that the kernel itself hits is taken for what it is. The kernel's
/// log says if it is not.
pub fn steps() {
    const PERF_TYPE_BREAKPOINT: u64 = 5;
    const WRITE: u64 = 2;
    let guest = Guest::new();
    // nop; hlt
    guest.code(&[0x90, 0xf4]);
    let mut run = guest.vcpu();
    let watched = Box::new(0u64);
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    stay(0);
    for round in 1..=5u64 {
        run.set |= abi::SET_REGS;
        // TF
        (run.regs.rip, run.regs.rflags) = (CODE as u64, 0x102);
        assert_eq!(guest.run(&mut run), abi::EXIT_EXCEPTION);
        assert_eq!((run.detail, run.regs.rip), (1, CODE as u64 + 1));
        let at = &raw const *watched;
        // `struct perf_event_attr`, 112 bytes: type and size, bp_type, bp_addr, bp_len.
        let mut attributes = [0u64; 14];
        attributes[0] = PERF_TYPE_BREAKPOINT | 112 << 32;
        (attributes[6], attributes[7], attributes[8]) = (WRITE << 32, at as u64, 8);
        let at_attributes = attributes.as_ptr();
        // SAFETY: the structure is as long as it says; a counter of this thread's. Then eight bytes go through the pipe to where they belong.
        unsafe {
            let counter = libc::syscall(libc::SYS_perf_event_open, at_attributes, 0, -1, -1, 0);
            assert!(counter >= 0, "{}", std::io::Error::last_os_error());
            let counter = counter as i32;
            assert_eq!(libc::write(ends[1], (&raw const round).cast(), 8), 8);
            assert_eq!(libc::read(ends[0], at.cast_mut().cast(), 8), 8);
            let mut hits = 0u64;
            assert_eq!(libc::read(counter, (&raw mut hits).cast(), 8), 8);
            assert!(hits > 0, "the kernel's store is not seen");
            assert_eq!(at.read_volatile(), round);
            libc::close(counter);
        }
    }
}
