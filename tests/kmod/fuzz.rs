//! `kmod-fuzz SECONDS SEED [REQUESTS]`: for so long, or until it has made so many, requests of /dev/dune with arguments that are nearly right, guests of random code and random tables, mappings that change meanwhile.
//! It runs in children that guests may destroy, and that are killed. What counts is that the kernel does not complain: the caller looks at its log.

mod raw;

use dune_sys as abi;
use raw::{Device, Guest, MEMORY, RW};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number that is likely to mean something.
    fn number(&mut self) -> u64 {
        let base = match self.below(8) {
            0 => 0,
            1 => 1 << self.below(64),
            2 => !0 << self.below(64),
            3 => self.next(),
            4 => self.below(16) << 28,
            5 => self.below(MEMORY as u64 / 4096) << 12,
            6 => 0x7fff_ffff_f000,
            _ => self.below(4096),
        };
        base.wrapping_add(if self.one_in(4) {
            self.below(3).wrapping_sub(1)
        } else {
            0
        })
    }

    /// Spoils some words of a structure.
    fn spoil<T>(&mut self, value: &mut T) {
        let words = size_of::<T>() / 8;
        for _ in 0..1 + self.below(3) {
            let at = self.below(words as u64) as usize;
            let word = self.number();
            // SAFETY: structures of the interface are words of plain numbers.
            unsafe { std::ptr::from_mut(value).cast::<u64>().add(at).write(word) };
        }
    }
}

/// Instructions worth meeting, besides random bytes.
const CODE: &[&[u8]] = &[
    &[0xf4],
    &[0xeb, 0xfe],
    &[0x0f, 0x05],
    &[0x0f, 0x0b],
    &[0xcc],
    &[0xcd, 0x80],
    &[0xf1],
    &[0x0f, 0x01, 0xd8],
    &[0x0f, 0x01, 0xd9],
    &[0x0f, 0x22, 0xd8],
    &[0x0f, 0x22, 0xc0],
    &[0x0f, 0x22, 0xe0],
    &[0x0f, 0x30],
    &[0x0f, 0xa2],
    &[0x0f, 0x31],
    &[0x48, 0xcf],
    &[0x0f, 0xae, 0x2f],
    &[0x48, 0x0f, 0xc7, 0x1f],
    &[0x0f, 0x01, 0xef],
    &[0x9d],
    &[0xfb],
    &[0xfa],
    &[0x48, 0x89, 0x07],
    &[0x48, 0x8b, 0x07],
    &[0xf3, 0x48, 0xab],
    &[0xff, 0xe7],
    &[0x0f, 0x01, 0x3f],
];

/// Writes code, tables, gates: anything.
fn scribble(guest: &Guest, random: &mut Random) {
    for _ in 0..1 + random.below(32) {
        match random.below(4) {
            0 => {
                let at = random.below(0x4000) as usize & !7;
                let word = random.number() | random.below(256);
                guest.word(at, word);
            }
            1 => {
                let at = random.below(MEMORY as u64 - 8) as usize & !7;
                guest.word(at, random.next());
            }
            _ => {
                let mut code = Vec::new();
                for _ in 0..random.below(12) {
                    if random.one_in(3) {
                        code.extend(random.next().to_le_bytes());
                    } else {
                        code.extend(CODE[random.below(CODE.len() as u64) as usize]);
                    }
                }
                guest.code(&code);
            }
        }
    }
}

fn change_mapping(guest: &Guest, random: &mut Random) {
    let page = random.below(MEMORY as u64 / 4096);
    let len = (1 + random.below(16)) << 12;
    let at = guest.memory.wrapping_add((page << 12) as usize).cast();
    let rights = [libc::PROT_NONE, libc::PROT_READ, RW, RW | libc::PROT_EXEC];
    let rights = rights[random.below(4) as usize];
    let advice = [
        libc::MADV_DONTNEED,
        libc::MADV_FREE,
        libc::MADV_HUGEPAGE,
        libc::MADV_PAGEOUT,
    ];
    let advice = advice[random.below(4) as usize];
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: this process may be destroyed.
    unsafe {
        match random.below(4) {
            0 => libc::munmap(at, len as usize),
            1 => libc::mprotect(at, len as usize, rights),
            2 => libc::madvise(at, len as usize, advice),
            _ => {
                libc::mmap(at, len as usize, rights, flags, -1, 0);
                0
            }
        }
    };
}

/// A fault when the fuzzer itself writes what it has unmapped: everything is mapped again.
fn repair(guest: &Guest) {
    raw::map(guest.memory, MEMORY, RW, libc::MAP_FIXED);
    guest.word(0x1000, 0x2000 | 7);
    guest.word(0x2000, 0x3000 | 7);
    for i in 0..128 {
        guest.word(0x3000 + i * 8, (i as u64) << 21 | 0x87);
    }
}

/// Code, whatever has become of its page.
fn repair_code(guest: &Guest, code: &[u8]) {
    raw::map(
        guest.memory.wrapping_add(raw::CODE),
        4096,
        RW,
        libc::MAP_FIXED,
    );
    guest.code(code);
}

extern "C" fn tick(_: i32) {}

/// A signal every 500 microseconds, so that endless guests come back.
fn clock() {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: 500,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: a handler that does nothing, and our own timer.
    unsafe {
        libc::signal(libc::SIGALRM, tick as *const () as usize);
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
}

fn vcpu(random: &mut Random) -> abi::Vcpu {
    let mut start = Guest::start();
    (start.idt, start.gdt, start.task) = (0x4000, 0x5000, 0x6000);
    (start.idt_limit, start.gdt_limit, start.task_selector) = (4095, 127, 0x40);
    if random.one_in(3) {
        random.spoil(&mut start);
        if random.one_in(2) {
            (start.id, start.reserved0, start.reserved1, start.reserved) = (0, 0, 0, [0; 4]);
        }
    }
    start
}

fn run(random: &mut Random, last: u32) -> abi::Run {
    let mut run = abi::Run {
        vcpu: last.saturating_sub(random.below(2) as u32),
        set: random.below(32) as u32,
        ..Default::default()
    };
    (run.regs.rip, run.regs.rsp) = (raw::CODE as u64, raw::STACK);
    (run.regs.rdi, run.regs.rcx) = (random.number(), random.number());
    run.regs.rflags = random.next();
    if random.one_in(3) {
        random.spoil(&mut run);
        if random.one_in(2) {
            (run.reserved, run.set) = ([0; 4], run.set & 31);
        }
    }
    run
}

/// What a child does until it is killed. `counts`: requests, runs, and exits by reason from 8 on.
fn child(seed: u64, counts: &[AtomicU64]) {
    let random = &mut Random(seed | 1);
    if !random.one_in(16) {
        // Emulators take longer to clear huge pages than for all the rest.
        // SAFETY: changes where memory comes from and nothing else.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    }
    let guest = Guest::new();
    clock();
    let second = random.one_in(2).then(|| {
        let device = Device::open();
        device.ok()
    });
    let mut last = 0;
    repair(&guest);
    loop {
        if random.one_in(8) {
            repair(&guest);
            scribble(&guest, random);
        }
        if random.one_in(2) {
            // A guest that comes to an end: `mov [rdi], rax`, hlt.
            let short: &[u8] = if random.one_in(2) {
                &[0xf4]
            } else {
                &[0x48, 0x89, 0x07, 0xf4]
            };
            repair_code(&guest, short);
        }
        for _ in 0..1 + random.below(40) {
            let what = random.below(16);
            if what == 4 {
                change_mapping(&guest, random);
                continue;
            }
            counts[0].fetch_add(1, Relaxed);
            let device = match &second {
                Some(Some(other)) if random.one_in(4) => other,
                _ => &guest.device,
            };
            match what {
                0 | 1 => {
                    let mut vcpu = vcpu(random);
                    if device.create(&mut vcpu).is_ok() {
                        last = vcpu.id;
                    }
                }
                2 => {
                    let mut chunk = abi::Chunk {
                        gpa: random.number() & !(abi::CHUNK_SIZE - 1),
                        address: random.number() & !(abi::CHUNK_SIZE - 1),
                        ..Default::default()
                    };
                    if random.one_in(3) {
                        random.spoil(&mut chunk);
                    }
                    let _ = device.add_chunk(&mut chunk);
                }
                3 => {
                    let request = [abi::GET_INFO, abi::ADD_CHUNK, abi::CREATE_VCPU, abi::RUN];
                    let request =
                        request[random.below(4) as usize] ^ (random.below(4) & random.below(4));
                    let nowhere = std::ptr::without_provenance_mut(random.number() as usize);
                    // A random address may be one of this program's, which a child survives or not.
                    let _ = device.request(request, nowhere);
                }
                _ => {
                    let mut run = run(random, last);
                    if device.run(&mut run).is_ok() {
                        counts[1].fetch_add(1, Relaxed);
                        counts[8 + (run.exit as usize & 7)].fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }
}

fn main() {
    let number = |n: usize| std::env::args().nth(n).and_then(|a| a.parse().ok());
    let seconds = number(1).expect("seconds");
    let seed: u64 = number(2).expect("a seed");
    let enough = number(3).unwrap_or(u64::MAX);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, of zeros, that children share.
    let counts = unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 4096, RW, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        std::slice::from_raw_parts(at.cast::<AtomicU64>(), 16)
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed * 2 + 1);
    let mut children = 0;
    let of = |n: usize| counts[n].load(Relaxed);
    let mut tell = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end && of(0) < enough {
        if Instant::now() > tell {
            println!("fuzz: {} requests so far", of(0));
            tell += Duration::from_secs(60);
        }
        // Two at a time.
        let pids: Vec<i32> = (0..2)
            .map(|_| {
                let seed = random.next();
                // SAFETY: this program has one thread.
                let pid = unsafe { libc::fork() };
                assert!(pid >= 0);
                if pid == 0 {
                    // SAFETY: closes what a guest that has lost its way might write to.
                    unsafe { libc::close(0) };
                    let _ = std::panic::catch_unwind(|| child(seed, counts));
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(1) };
                }
                pid
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200 + random.below(1000)));
        for pid in pids {
            children += 1;
            // SAFETY: our own child.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    }
    println!(
        "fuzz: {} requests, {} runs by {children} children; halt {}, interrupted {}, refused {}, exception {}, shutdown {}, invalid {}, unknown {}",
        of(0),
        of(1),
        of(9),
        of(10),
        of(11),
        of(12),
        of(13),
        of(14),
        of(15)
    );
    assert!(
        of(1) > 100 && (9..=13).all(|n| of(n) > 0),
        "it reaches too little"
    );
}
