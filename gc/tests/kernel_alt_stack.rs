//! An alternate signal stack that only the kernel knows keeps its block, of every thread.
use dunegc::roots::{self, RootKind, RootsConfig};
use dunegc::world::{self, CriticalFlags, WorldConfig};
use std::sync::mpsc;

thread_local! {
    static FLAGS: CriticalFlags = const { CriticalFlags::new() };
}

const SIZE: usize = 1 << 16;

/// Gives the thread an alternate stack in a mapping of its own; where it is.
fn alternate_stack() -> usize {
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, prot, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    let stack = libc::stack_t {
        ss_sp: at,
        ss_flags: 0,
        ss_size: SIZE,
    };
    // SAFETY: the mapping is never unmapped.
    let result = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    at as usize
}

#[test]
fn of_every_thread() {
    let flags = || FLAGS.with(|f| f as *const _);
    world::init(WorldConfig {
        critical_flags: Some(flags),
        ..WorldConfig::default()
    })
    .unwrap();
    let (tell, told) = mpsc::channel();
    let (_stay, stayed) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        tell.send(alternate_stack()).unwrap();
        let _ = stayed.recv();
    });
    let stacks = [alternate_stack(), told.recv().unwrap()];
    // As if the heap were there.
    let heap = stacks.map(|at| (at, at + SIZE));
    let mut found = [false; 2];
    let stopped = world::stop().unwrap();
    let result = roots::enumerate(&stopped, RootsConfig::default(), &heap, &mut |r| {
        for (found, at) in found.iter_mut().zip(stacks) {
            *found |= r.kind == RootKind::StackObject && r.lo == at;
        }
    });
    stopped.resume();
    result.unwrap();
    assert_eq!(found, [true, true]);
}
