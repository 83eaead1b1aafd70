//! Unread bytes of pipes and FIFOs are found, and stay where they are.
use std::fs::{File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
mod kernel_support;
use kernel_support::{alone, owned, pass};

fn word(i: usize) -> usize {
    0x5a5a_c0de_0000_0000 + i
}

fn flags(fd: &impl AsRawFd) -> i32 {
    // SAFETY: no memory involved.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
}

fn pipe_with(flags: i32) -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let result = unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) };
    assert_eq!(result, 0);
    (owned(ends[0]).into(), owned(ends[1]).into())
}

#[test]
fn found_at_any_offset_and_not_taken() {
    let _alone = alone();
    for extra in [0, libc::O_NONBLOCK] {
        let (mut r, mut w) = pipe_with(extra);
        let before = (flags(&r), flags(&w));
        let mut sent = Vec::new();
        for i in 0..9 {
            sent.extend(word(i).to_ne_bytes());
            sent.push(7); // the next one is at an odd address
        }
        w.write_all(&sent).unwrap();
        for _ in 0..2 {
            let (found, words) = pass();
            assert!(!found.uncertain(), "{}", found.unseen);
            assert!((0..9).all(|i| words.contains(&word(i))));
        }
        assert_eq!((flags(&r), flags(&w)), before);
        let mut got = vec![0; sent.len()];
        r.read_exact(&mut got).unwrap();
        assert_eq!(got, sent);
        drop(w);
        assert_eq!(
            r.read(&mut got).unwrap(),
            0,
            "something was left in the pipe"
        );
        assert!(!pass().1.contains(&word(0)));
    }
}

#[test]
fn a_full_pipe_of_any_size() {
    let _alone = alone();
    for size in [4096, 65536, 1 << 20] {
        let (mut r, mut w) = pipe_with(libc::O_NONBLOCK);
        // SAFETY: no memory involved.
        let result = unsafe { libc::fcntl(w.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        assert_eq!(result, size);
        let sent: Vec<u8> = (0..size as usize / 8)
            .flat_map(|i| word(i).to_ne_bytes())
            .collect();
        w.write_all(&sent).unwrap();
        let (found, words) = pass();
        assert!(!found.uncertain(), "{}", found.unseen);
        assert!(
            (0..size as usize / 8).all(|i| words.contains(&word(i))),
            "{size}"
        );
        assert_eq!(
            w.write(b"x").unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "room was made"
        );
        let mut got = vec![0; sent.len()];
        r.read_exact(&mut got).unwrap();
        assert!(got == sent);
    }
}

#[test]
fn packets_stay_packets() {
    let _alone = alone();
    let (mut r, mut w) = pipe_with(libc::O_DIRECT | libc::O_NONBLOCK);
    for i in 0..5 {
        w.write_all(&word(i).to_ne_bytes()).unwrap();
        w.write_all(&[i as u8; 4096]).unwrap();
    }
    let (found, words) = pass();
    assert!(
        !found.uncertain() && (0..5).all(|i| words.contains(&word(i))),
        "{}",
        found.unseen
    );
    let mut got = [0; 8192];
    for i in 0..5 {
        assert_eq!(r.read(&mut got).unwrap(), 8);
        assert_eq!(got[..8], word(i).to_ne_bytes());
        assert_eq!(r.read(&mut got).unwrap(), 4096);
    }
}

#[test]
fn later_writes_do_not_merge_into_the_copy() {
    let _alone = alone();
    let (mut r, mut w) = pipe_with(0);
    let mut sent = Vec::new();
    for i in 0..1000 {
        sent.extend(word(i).to_ne_bytes());
        w.write_all(&word(i).to_ne_bytes()).unwrap();
        if i % 100 == 0 {
            assert!(pass().1.contains(&word(i)));
        }
    }
    let mut got = vec![0; sent.len()];
    r.read_exact(&mut got).unwrap();
    assert!(got == sent);
}

#[test]
fn fifos_and_ends_that_only_write() {
    let _alone = alone();
    let path = std::env::temp_dir().join(format!("dunegc-fifo-{}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path is valid.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    (&both).write_all(&word(1).to_ne_bytes()).unwrap();
    assert!(pass().1.contains(&word(1)));

    // Only a write end is left, held open over the moment without readers: writes fail as long as nobody reads.
    let mut w = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    drop(both);
    let (found, words) = pass();
    assert!(!found.uncertain() && !words.contains(&word(1)));
    assert_eq!(
        w.write(b"x").unwrap_err().kind(),
        std::io::ErrorKind::BrokenPipe
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_blocked_writer_stays_blocked() {
    let _alone = alone();
    let (mut r, mut w) = pipe().unwrap();
    w.write_all(&vec![1; 65536]).unwrap();
    let writer = std::thread::spawn(move || w.write_all(&word(3).to_ne_bytes()).unwrap());
    for _ in 0..20 {
        pass();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(!writer.is_finished());
    let mut got = vec![0; 65536 + 8];
    r.read_exact(&mut got).unwrap();
    assert!(got[..65536].iter().all(|b| *b == 1) && got[65536..] == word(3).to_ne_bytes());
    writer.join().unwrap();
}

#[test]
fn the_rest_of_the_descriptors_is_left_alone() {
    let _alone = alone();
    let path = std::env::temp_dir().join(format!("dunegc-file-{}", std::process::id()));
    let mut f = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    f.write_all(&[1; 80]).unwrap();
    let zero = File::open("/dev/zero").unwrap();
    let path_only = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open("/")
        .unwrap();
    // SAFETY: makes descriptors.
    let event: OwnedFd = owned(unsafe { libc::eventfd(5, 0) });
    let status = std::fs::metadata(&path).unwrap();
    assert!(!pass().0.uncertain());
    use std::io::Seek;
    use std::os::unix::fs::MetadataExt;
    assert_eq!(f.stream_position().unwrap(), 80);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (after.atime_nsec(), after.ctime_nsec()),
        (status.atime_nsec(), status.ctime_nsec())
    );
    let mut count = [0u8; 8];
    File::from(event).read_exact(&mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 5);
    drop((zero, path_only));
    std::fs::remove_file(path).unwrap();
}
