//! The main thread has exited and other threads go on: `/proc/self` then shows a process without memory and descriptors.
use std::time::{Duration, Instant};
mod kernel_support;
use kernel_support::{alone, in_child, pass};
use std::io::Write;

#[test]
fn everything_is_still_found() {
    let _alone = alone();
    let status = in_child(|| {
        std::thread::spawn(|| {
            let r = std::panic::catch_unwind(check);
            // SAFETY: ends the child.
            unsafe { libc::_exit(if r.is_ok() { 7 } else { 99 }) }
        });
        // SAFETY: ends this thread alone, which is the main thread of the child, without unwinding it.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    assert_eq!(status, 7);
}

fn check() {
    let begin = Instant::now();
    while !std::fs::read("/proc/self/maps").unwrap().is_empty() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "the main thread did not exit"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut mappings, here) = (0, 0u8);
    let mut stack = false;
    dunegc::sys::proc_maps::for_each(|m| {
        mappings += 1;
        stack |= (m.start..m.end).contains(&(&raw const here as usize));
    })
    .unwrap();
    assert!(mappings > 10 && stack, "{mappings} mappings");
    dunegc::sys::pagemap::Pagemap::open().map(drop).unwrap();

    let (_r, mut w) = std::io::pipe().unwrap();
    w.write_all(&0x5a5a_1111_2222_3333_usize.to_ne_bytes())
        .unwrap();
    let (found, words) = pass();
    assert!(!found.uncertain(), "{}", found.unseen);
    assert!(words.contains(&0x5a5a_1111_2222_3333));
}
