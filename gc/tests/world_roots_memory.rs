//! Roots in memory that is no stack: mappings, files, registered ranges, rings.
mod roots_support;
mod support;
use dunegc::roots::{self, Mappings, RootKind, RootsConfig};
use dunegc::world;
use roots_support::*;
use support::*;

fn mmap(len: usize, prot: i32, flags: i32, fd: i32) -> usize {
    // SAFETY: a fresh mapping.
    let p = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
    assert_ne!(p, libc::MAP_FAILED);
    p as usize
}

fn put(at: usize, v: u64) {
    // SAFETY: the tests pass addresses in their own writable memory.
    unsafe { (at as *mut u64).write_volatile(v) };
}

/// A function of its own, so that no register of the caller's holds the value afterwards.
#[inline(never)]
fn plant(at: usize, secret: Secret) {
    put(at, secret.show());
}

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn resident() -> usize {
    let t = std::fs::read_to_string("/proc/self/statm").unwrap();
    t.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn anonymous_memory_without_touching_what_the_program_did_not() {
    let _one = alone();
    let len = 4 << 30;
    let lo = mmap(len, RW, ANON | libc::MAP_NORESERVE, -1);
    let secret = Secret::new();
    plant(lo + (3 << 30) + 8, secret);
    scrub();
    let found = find(secret, Mappings::All, &[]);
    assert_eq!(found, [(RootKind::Mapping, lo + (3 << 30) + 8)]);
    let mut bytes = 0;
    each_range(Mappings::All, &mut |r| {
        bytes += r.hi.min(lo + len).saturating_sub(r.lo.max(lo))
    });
    assert!(
        (4096..=2 << 20).contains(&bytes),
        "{bytes} bytes instead of one page, normal or huge"
    );
    assert_eq!(find(secret, Mappings::SegmentsOnly, &[]), []);
    // Write-protected memory still counts, unreadable memory cannot.
    // SAFETY: our own mapping.
    unsafe {
        libc::mprotect(lo as *mut _, len, libc::PROT_READ);
        assert_eq!(find(secret, Mappings::All, &[]).len(), 1);
        libc::mprotect(lo as *mut _, len, libc::PROT_NONE);
        assert_eq!(find(secret, Mappings::All, &[]), []);
        libc::munmap(lo as *mut _, len);
    }
}

#[test]
fn shared_memory_and_a_file_cut_short() {
    let _one = alone();
    let len = 64 << 20;
    let (anon, file, cut) = (Secret::new(), Secret::new(), Secret::new());
    let shared = mmap(len, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1);
    // SAFETY: a valid name.
    let fd = unsafe { libc::memfd_create(c"roots".as_ptr(), 0) };
    // SAFETY: a valid descriptor.
    assert_eq!(unsafe { libc::ftruncate(fd, len as i64) }, 0);
    let mapped = mmap(len, RW, libc::MAP_SHARED, fd);
    put(shared + (40 << 20), anon.show());
    put(mapped + 24, file.show());
    put(mapped + (40 << 20), cut.show());
    scrub();
    let before = resident();
    assert_eq!(kinds(&find(anon, Mappings::All, &[])), [RootKind::Mapping]);
    assert_eq!(kinds(&find(file, Mappings::All, &[])), [RootKind::Mapping]);
    assert_eq!(kinds(&find(cut, Mappings::All, &[])), [RootKind::Mapping]);
    assert!(resident() < before + (8 << 20));
    // Another process may cut the file at any time: only copies are handed out.
    let mut direct = 0;
    each_range(Mappings::All, &mut |r| {
        direct += usize::from(!r.transient && r.lo < mapped + len && mapped < r.hi)
    });
    assert_eq!(direct, 0);
    // Reading behind the end raises SIGBUS: that must not happen.
    // SAFETY: a valid descriptor.
    assert_eq!(unsafe { libc::ftruncate(fd, 4096) }, 0);
    assert_eq!(find(cut, Mappings::All, &[]), []);
    assert_eq!(find(file, Mappings::All, &[]).len(), 1);
    // SAFETY: our own mappings.
    unsafe {
        libc::munmap(shared as *mut _, len);
        libc::munmap(mapped as *mut _, len);
        libc::close(fd);
    }
}

#[test]
fn registered_and_excluded_ranges() {
    let _one = alone();
    let lo = mmap(1 << 20, RW, ANON, -1);
    let (at, secret) = (lo + 0x8008, Secret::new());
    plant(at, secret);
    scrub();
    roots::add(lo, lo + (1 << 20)).unwrap();
    for m in BOTH {
        assert_eq!(find(secret, m, &[]), [(RootKind::Registered, at)], "{m:?}");
        // Registered ranges count even in the collector's own memory.
        assert_eq!(
            find(secret, m, &[(lo, lo + (1 << 20))]),
            [(RootKind::Registered, at)],
            "{m:?}"
        );
    }
    roots::remove(at - 8, at + 8).unwrap();
    assert_eq!(find(secret, Mappings::SegmentsOnly, &[]), []);
    assert_eq!(find(secret, Mappings::All, &[]), [(RootKind::Mapping, at)]);
    assert_eq!(
        find(secret, Mappings::All, &[(at & !4095, (at & !4095) + 4096)]),
        []
    );
    assert_eq!(
        find(secret, Mappings::All, &[(lo, at), (at + 8, at + 16)]),
        [(RootKind::Mapping, at)]
    );
    roots::exclude(at, at + 8).unwrap();
    assert_eq!(find(secret, Mappings::All, &[]), []);
    roots::include(at, at + 8).unwrap();
    assert_eq!(find(secret, Mappings::All, &[]), [(RootKind::Mapping, at)]);
    roots::remove(lo, lo + (1 << 20)).unwrap();
    // A registered range that is not mapped any more is passed over.
    roots::add(lo, lo + (1 << 20)).unwrap();
    // SAFETY: our own mapping.
    unsafe { libc::munmap(lo as *mut _, 1 << 20) };
    assert_eq!(find(secret, Mappings::SegmentsOnly, &[]), []);
    roots::remove(lo, lo + (1 << 20)).unwrap();
}

#[test]
fn requests_in_an_io_uring() {
    let _one = alone();
    let mut params = [0u32; 30];
    // SAFETY: params is as large as struct io_uring_params (120 bytes).
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) } as i32;
    if fd < 0 {
        eprintln!(
            "skipped: no io_uring here: {}",
            std::io::Error::last_os_error()
        );
        return;
    }
    const IORING_OFF_SQES: i64 = 0x1000_0000;
    // SAFETY: maps the submission entries (4 * 64 bytes) of the ring.
    let sqes = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            RW,
            libc::MAP_SHARED,
            fd,
            IORING_OFF_SQES,
        )
    };
    assert_ne!(sqes, libc::MAP_FAILED);
    let secret = Secret::new();
    plant(sqes as usize + 64 + 32, secret); // user_data of the second entry
    scrub();
    assert_eq!(
        kinds(&find(secret, Mappings::All, &[])),
        [RootKind::Mapping]
    );
    // SAFETY: our own mapping and descriptor.
    unsafe {
        libc::munmap(sqes, 4096);
        libc::close(fd);
    }
}

#[test]
fn enumerating_a_thousand_mappings_takes_milliseconds_at_most() {
    let _one = alone();
    let sizes = [("as it is", 0usize), ("1000 mappings more", 1000)];
    for (what, n) in sizes {
        let maps: Vec<usize> = (0..n)
            .map(|i| {
                mmap(
                    8192,
                    if i % 2 == 0 {
                        RW
                    } else {
                        libc::PROT_READ | libc::PROT_EXEC
                    },
                    ANON,
                    -1,
                )
            })
            .collect();
        maps.iter().step_by(2).for_each(|m| put(*m, 1));
        let mut times = Vec::with_capacity(200);
        let (mut ranges, mut bytes) = (0usize, 0usize);
        for _ in 0..200 {
            let w = world::stop().unwrap();
            let t = std::time::Instant::now();
            (ranges, bytes) = (0, 0);
            roots::enumerate(&w, RootsConfig::default(), &[], &mut |r| {
                ranges += 1;
                bytes += r.hi - r.lo;
            })
            .unwrap();
            let e = t.elapsed();
            w.resume();
            times.push(e);
        }
        times.sort_unstable();
        eprintln!(
            "{what}: {ranges} ranges, {bytes} bytes, median {:?}",
            times[100]
        );
        assert!(ranges >= n / 2 && times[0] < std::time::Duration::from_millis(20));
        maps.iter().for_each(|m| {
            // SAFETY: our own mapping.
            unsafe { libc::munmap(*m as *mut _, 8192) };
        });
    }
}
