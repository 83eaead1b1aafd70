//! `dune-shared PATH`: loads the library as a shared object, as a program does that was not linked with it. That takes it into guest mode.

use libdune::interface::Interface;
use std::ffi::{CStr, CString};

/// Whether the thread is in guest mode, by what only its run loop does: its own signal is blocked in system calls.
fn kernel_blocks_kick() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let line = status.lines().find(|l| l.starts_with("SigBlk:"));
    let set = line.and_then(|l| u64::from_str_radix(l[7..].trim(), 16).ok());
    set.expect("a set") >> (libc::SIGSTKFLT - 1) & 1 != 0
}

fn main() {
    let path = std::env::args().nth(1).expect("the library's path");
    let path = CString::new(path).expect("a path");
    println!("before: {}", kernel_blocks_kick());
    // SAFETY: the library may be loaded at any time, and stays.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    // SAFETY: a text of the loader's, if there is no library.
    let why = || unsafe { CStr::from_ptr(libc::dlerror()) };
    assert!(!library.is_null(), "{:?}", why());
    println!("after: {}", kernel_blocks_kick());
    // SAFETY: the name of a constant that the library has.
    let interface = unsafe { libc::dlsym(library, c"dune_interface".as_ptr()) };
    assert!(!interface.is_null(), "{:?}", why());
    // SAFETY: the constant is a reference to the interface, of this program's version.
    let interface: &Interface = unsafe { *interface.cast::<&Interface>() };
    println!(
        "version {}, inside: {}",
        interface.version,
        (interface.inside)()
    );
    let threads: Vec<_> = (0..3u64)
        .map(|i| std::thread::spawn(move || (kernel_blocks_kick(), i * i)))
        .collect();
    for thread in threads {
        println!("thread: {:?}", thread.join().expect("the thread ends"));
    }
    // SAFETY: the library stays although nobody needs it any more.
    unsafe { libc::dlclose(library) };
    println!("still there: {}", kernel_blocks_kick());
}
