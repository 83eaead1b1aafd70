//! Memory: what guests took is given back, also when the kernel takes it by force, and nothing is held that the kernel wants to move.

use crate::lives::{endless, fork, wait};
use crate::raw::{CODE, Device, Guest, RW, map};
use dune_sys as abi;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 1: inc qword [rdi]; rdi += 4096; cmp rdi, rdx; jb 1; hlt
const WALK: &[u8] = &[
    0x48, 0xff, 0x07, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0x48, 0x39, 0xd7, 0x72, 0xf1, 0xf4,
];

/// Has the guest add one to the first word of each page.
fn walk(guest: &Guest, run: &mut abi::Run, from: usize, to: usize) -> u32 {
    run.set |= abi::SET_REGS;
    (run.regs.rip, run.regs.rdi, run.regs.rdx) = (CODE as u64, from as u64, to as u64);
    guest.run(run)
}

/// A number of /proc/meminfo, in KiB.
fn meminfo(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = text.lines().find(|l| l.starts_with(name)).expect("a line");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

/// Free memory, and slabs that are in use, in KiB. Pages that processors keep for themselves are free.
fn free() -> (i64, i64) {
    let zones = std::fs::read_to_string("/proc/zoneinfo").expect("/proc");
    let kept = zones
        .lines()
        .filter_map(|l| l.trim().strip_prefix("count:"))
        .map(|n| n.trim().parse::<i64>().expect("a number"));
    (
        meminfo("MemFree") + 4 * kept.sum::<i64>(),
        meminfo("SUnreclaim"),
    )
}

/// The ways in which a process with a guest ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Exit,
    Kill,
    Exec,
    ExitWithThreads,
}

/// A process whose guest has 101 vCPUs and a MiB of memory; it ends, or is killed.
fn once(end: End) {
    let child = fork(|| {
        let guest = Guest::new();
        guest.code(WALK);
        let mut run = guest.vcpu();
        assert_eq!(walk(&guest, &mut run, 0x20_0000, 0x30_0000), abi::EXIT_HALT);
        for _ in 0..100 {
            guest.vcpu();
        }
        let busy = || {
            for _ in 0..2 {
                std::thread::spawn(|| endless());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        match end {
            End::Exit => {}
            End::Kill => endless(),
            End::ExitWithThreads => busy(),
            End::Exec => {
                busy();
                let args = [c"busybox".as_ptr(), c"true".as_ptr(), std::ptr::null()];
                // SAFETY: a path and arguments that end in NULL.
                unsafe { libc::execv(c"/bin/busybox".as_ptr(), args.as_ptr()) };
                panic!("exec");
            }
        }
    });
    let killed = matches!(end, End::Kill);
    if killed {
        std::thread::sleep(Duration::from_millis(20));
        // SAFETY: our own child.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    let expected = if killed { libc::SIGKILL } else { 0 };
    assert_eq!(wait(child), expected, "{end:?}");
}

/// What guests took is given back, however their process ends.
pub fn memory() {
    let ends = [End::Exit, End::Kill, End::Exec, End::ExitWithThreads];
    for end in ends {
        for _ in 0..4 {
            once(end);
        }
    }
    for end in ends {
        std::thread::sleep(Duration::from_millis(300));
        let before = free();
        for _ in 0..20 {
            once(end);
        }
        std::thread::sleep(Duration::from_millis(500));
        let after = free();
        // 20 guests have used 20 * 101 pages for vCPUs (8 MB), 512 bytes of slabs for each of them (1 MB), and 20 MB of memory.
        assert!(
            before.0 - after.0 < 4 << 10,
            "{end:?}: {before:?} {after:?}"
        );
        assert!(after.1 - before.1 < 700, "{end:?}: {before:?} {after:?}");
    }
}

/// The kernel puts pages that a guest uses together in a huge page, which it does only with pages that nobody holds. The guest goes on with the new page.
pub fn unpinned() {
    const HUGE: usize = 2 << 20;
    const MADV_COLLAPSE: i32 = 25;
    let guest = Guest::new();
    guest.code(WALK);
    let mut run = guest.vcpu();
    let at = 2 * HUGE;
    let memory = guest.memory.wrapping_add(at).cast();
    // SAFETY: pages of the test's own.
    let advise = |advice: i32| unsafe { libc::madvise(memory, HUGE, advice) };
    let all = |value: u64| (0..512).all(|page| guest.read(at + page * 4096) == value);
    for round in 0..10 {
        assert_eq!(advise(libc::MADV_DONTNEED), 0);
        assert_eq!(advise(libc::MADV_NOHUGEPAGE), 0);
        for value in 1..4 {
            assert_eq!(walk(&guest, &mut run, at, at + HUGE), abi::EXIT_HALT);
            assert!(all(value), "round {round}: a store of the guest's is lost");
            if value == 1 {
                assert_eq!(advise(libc::MADV_HUGEPAGE), 0);
                let done = advise(MADV_COLLAPSE);
                let error = std::io::Error::last_os_error();
                assert_eq!(done, 0, "round {round}: pages are held: {error}");
            }
        }
    }
}

/// A memory control group of so many bytes.
fn group(limit: &str) -> PathBuf {
    let root = Path::new("/tmp/groups");
    std::fs::create_dir_all(root).expect("a folder");
    let name = c"cgroup2".as_ptr();
    // SAFETY: NUL-terminated strings.
    let done = unsafe { libc::mount(name, c"/tmp/groups".as_ptr(), name, 0, std::ptr::null()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    std::fs::write(root.join("cgroup.subtree_control"), "+memory").expect("control groups");
    let group = root.join("small");
    std::fs::create_dir_all(&group).expect("a group");
    std::fs::write(group.join("memory.max"), limit).expect("a limit");
    group
}

/// Processes that run out of memory, in guests and by requests, are killed, and their group gets all of it back. For the script, as the kernel says so in its log.
pub fn oom() {
    let group = group("24M");
    let number = |name: &str| {
        let text = std::fs::read_to_string(group.join(name)).expect("a file of the group");
        text.trim().parse::<u64>().expect("a number")
    };
    for round in 0..6 {
        let child = fork(|| {
            std::fs::write(group.join("cgroup.procs"), "0").expect("into the group");
            if round % 2 == 0 {
                let guest = Guest::new();
                let size = abi::CHUNK_SIZE as usize;
                map(
                    guest.memory.wrapping_add(16 << 20),
                    size - (16 << 20),
                    RW,
                    libc::MAP_FIXED,
                );
                guest.code(WALK);
                walk(&guest, &mut guest.vcpu(), 0x20_0000, size);
                return;
            }
            let mut devices = Vec::new();
            for _ in 0..100 {
                let device = Device::open().expect("a guest");
                while device.create(&mut Guest::start()).is_ok() {}
                devices.push(device);
            }
        });
        assert_eq!(wait(child), libc::SIGKILL, "round {round}");
        // Some of it waits for a grace period.
        let all_back = || number("memory.current") < 1 << 20;
        let back = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            all_back()
        });
        assert!(
            back,
            "round {round}: {} bytes are gone",
            number("memory.current")
        );
    }
    std::fs::remove_dir(&group).expect("nobody is in the group");
}
