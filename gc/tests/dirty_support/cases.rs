//! The conformance suite: what every source must report. Each case is generic in the source.

use super::*;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// A store of a byte, of eight bytes, and one that straddles two pages.
pub fn stores<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    m.write(3);
    // SAFETY: inside the mapping.
    unsafe {
        m.at(10).add(4088).cast::<u64>().write_volatile(1);
        m.at(20).add(PAGE - 3).cast::<u64>().write_unaligned(!0);
    }
    running(&mut t, &m).assert_has([3, 10, 20, 21]);
    m.write(3);
    m.write(63);
    last(&mut t, &m).assert_has([3, 63]);
}

/// What is reported is not reported again, and what was not written is not reported: what makes a source useful.
pub fn clean_pages_stay_clean<S: Tested>() {
    if S::PIECE == 0 {
        return;
    }
    let m = Memory::filled(256);
    let mut t = armed::<S>(&m);
    let only = |w: Written, want: &[usize]| {
        let Written::Pages(got) = w else {
            panic!("{w:?}")
        };
        let pieces: BTreeSet<usize> = got.iter().map(|p| p / S::PIECE).collect();
        let want: BTreeSet<usize> = want.iter().map(|p| p / S::PIECE).collect();
        assert_eq!(pieces, want);
        assert!(got.len() <= want.len() * S::PIECE);
    };
    only(running(&mut t, &m), &[]);
    m.write(17);
    m.write(200);
    only(running(&mut t, &m), &[17, 200]);
    only(running(&mut t, &m), &[]);
    m.write(17);
    only(harvest(&mut t, &m, When::Stopped { keep: true }), &[17]);
    only(harvest(&mut t, &m, When::Stopped { keep: true }), &[]);
    m.write(100);
    only(last(&mut t, &m), &[100]);
    only(last(&mut t, &m), &[100]);
    t.disarm();
    m.write(1);
    t.arm(&[m.range()]).unwrap();
    only(running(&mut t, &m), &[]);
    m.write(1);
    only(running(&mut t, &m), &[1]);
}

/// `rep movsb` and `rep stosq` over several pages.
pub fn string_instructions<S: Tested>() {
    let m = Memory::filled(64);
    let source = vec![7u8; 3 * PAGE];
    let mut t = armed::<S>(&m);
    // SAFETY: source and destination are valid for the lengths; the registers are declared as changed.
    unsafe {
        std::arch::asm!("rep movsb", inout("rcx") source.len() => _, inout("rsi") source.as_ptr() => _,
            inout("rdi") m.at(5).add(100) => _, options(nostack));
        std::arch::asm!("rep stosq", inout("rcx") 2 * PAGE / 8 => _, in("rax") 9u64,
            inout("rdi") m.at(40) => _, options(nostack));
    }
    running(&mut t, &m).assert_has([5, 6, 7, 8, 40, 41]);
}

/// Atomic read-modify-write; a compare-exchange that fails writes too, as far as the processor is concerned, and need not be reported.
pub fn atomics<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    // SAFETY: aligned words inside the mapping.
    unsafe {
        (*m.at(1).cast::<AtomicU64>()).fetch_add(1, SeqCst);
        (*m.at(20).cast::<AtomicU64>()).swap(5, SeqCst);
        let word = &*m.at(40).add(16).cast::<AtomicU64>();
        word.compare_exchange(word.load(SeqCst), 77, SeqCst, SeqCst)
            .unwrap();
    }
    running(&mut t, &m).assert_has([1, 20, 40]);
}

/// Vector stores up to what this processor has, and stores past the caches.
pub fn wide_stores<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    let mut want = vec![1, 2];
    // SAFETY: aligned addresses inside the mapping; the instructions are used only where the processor has them.
    unsafe {
        std::arch::asm!("movaps [{0}], xmm0", "movntdq [{1}], xmm0", "sfence",
            in(reg) m.at(1), in(reg) m.at(2), options(nostack));
        if is_x86_feature_detected!("avx") {
            std::arch::asm!("vmovups [{0}], ymm0", "vmovntps [{1}], ymm0", "sfence",
                in(reg) m.at(20).add(PAGE - 16), in(reg) m.at(23), options(nostack));
            want.extend([20, 21, 23]);
        }
        if is_x86_feature_detected!("avx512f") {
            std::arch::asm!("vmovups [{0}], zmm0", "vmovntps [{1}], zmm0", "sfence",
                in(reg) m.at(40).add(PAGE - 32), in(reg) m.at(43), options(nostack));
            want.extend([40, 41, 43]);
        } else {
            eprintln!("no AVX-512 in this processor: its stores are not tried");
        }
    }
    running(&mut t, &m).assert_has(want);
}

/// A store from a signal handler.
pub fn signal_handler<S: Tested>() {
    static AT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: i32) {
        // SAFETY: the page that the test put there, mapped while signals are raised.
        unsafe { (AT.load(SeqCst) as *mut u8).write_volatile(42) };
    }
    let m = Memory::filled(64);
    // SAFETY: the handler only stores.
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as usize) };
    let mut t = armed::<S>(&m);
    AT.store(m.at(33) as usize, SeqCst);
    // SAFETY: raises a signal whose handler is above.
    unsafe { libc::raise(libc::SIGUSR1) };
    running(&mut t, &m).assert_has([33]);
}

/// The kernel writes on behalf of a system call: `read` from a pipe, into two pages at once.
pub fn kernel_writes<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    let mut fds = [0; 2];
    let pointer = m.at(0) as usize;
    // A source that protects must be told before.
    let call = (!S::KERNEL_WRITES).then(|| dunegc::dirty::announce(m.part(9, 11)));
    // SAFETY: makes a pipe.
    unsafe { assert_eq!(libc::pipe(fds.as_mut_ptr()), 0) };
    // The second time while a harvest has come in between.
    for _ in 0..2 {
        // SAFETY: a pipe of our own; the buffer straddles two pages of the mapping.
        unsafe {
            for _ in 0..2 {
                assert_eq!(libc::write(fds[1], (&raw const pointer).cast(), 8), 8);
            }
            assert_eq!(libc::read(fds[0], m.at(9).add(PAGE - 8).cast(), 16), 16);
            assert_eq!(m.at(10).cast::<usize>().read(), pointer);
        }
        running(&mut t, &m).assert_has([9, 10]);
    }
    drop(call);
    // SAFETY: the pipe of above.
    unsafe {
        libc::close(fds[0]);
        libc::close(fds[1]);
    }
    let _ = running(&mut t, &m);
    m.write(10);
    last(&mut t, &m).assert_has([10]);
}

/// Pages given back to the system and touched again, by MADV_DONTNEED and MADV_FREE.
pub fn given_back<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    m.advise(4, 8, libc::MADV_DONTNEED);
    m.advise(30, 34, libc::MADV_FREE);
    m.write(5);
    m.write(31);
    running(&mut t, &m).assert_has([5, 31]);
    m.advise(4, 8, libc::MADV_DONTNEED);
    let _ = running(&mut t, &m);
    m.write(6);
    m.write(31);
    last(&mut t, &m).assert_has([6, 31]);
}

/// Pages that were not present when armed.
pub fn untouched_memory<S: Tested>() {
    let m = Memory::new(4096);
    let mut t = armed::<S>(&m);
    m.write(7);
    m.write(3000);
    running(&mut t, &m).assert_has([7, 3000]);
    m.write(8);
    m.write(7);
    last(&mut t, &m).assert_has([7, 8]);
}

/// A range added while armed: written before and after its pages exist.
pub fn added_range<S: Tested>() {
    let m = Memory::new(64);
    let grown = Memory::new(64);
    let mut t = armed::<S>(&m);
    t.track(grown.range());
    grown.write(9);
    running(&mut t, &grown).assert_has([9]);
    grown.write(9);
    grown.write(10);
    m.write(1);
    let w = running(&mut t, &grown);
    w.assert_has([9, 10]);
    m.write(1);
    last(&mut t, &m).assert_has([1]);
}

/// The program replaces a part by a new mapping.
pub fn replaced_mapping<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    m.remap(16, 32);
    m.write(20);
    running(&mut t, &m).assert_has([20]);
    m.write(20);
    m.write(21);
    m.write(50);
    running(&mut t, &m).assert_has([20, 21, 50]);
    m.remap(16, 32);
    m.write(30);
    last(&mut t, &m).assert_has([30]);
}

/// The same with the world stopped, and tracked on behind that.
pub fn replaced_mapping_in_a_stop<S: Tested>() {
    let stopped = When::Stopped { keep: true };
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    m.write(3);
    m.remap(16, 32);
    m.write(20);
    m.write(50);
    harvest(&mut t, &m, stopped).assert_has([3, 20, 50]);
    m.write(3);
    m.write(20);
    m.write(21);
    harvest(&mut t, &m, stopped).assert_has([3, 20, 21]);
    m.write(22);
    m.remap(40, 64);
    m.write(63);
    m.write(39);
    harvest(&mut t, &m, stopped).assert_has([22, 39, 63]);
    m.write(22);
    m.write(63);
    last(&mut t, &m).assert_has([22, 63]);
}

/// More pages than one call reports, next to ranges that were added before and after; in every sort of harvest.
pub fn neighbours_in_any_order<S: Tested>() {
    let m = Memory::filled(2048);
    let mut t = Tracking::new(S::make());
    t.arm(&[m.part(512, 640), m.part(1024, 1040)]).unwrap();
    for (from, to) in [(640, 1024), (2000, 2048), (0, 512), (1040, 1900)] {
        t.track(m.part(from, to));
    }
    let tracked = || (0..1900).chain(2000..2048);
    let stopped = When::Stopped { keep: true };
    for when in [When::Running, stopped, When::Running, stopped, stopped] {
        let want: Vec<usize> = tracked().filter(|p| p % 3 == 0).collect();
        want.iter().for_each(|&p| m.write(p));
        harvest(&mut t, &m, when).assert_has(want);
        let want = [0, 511, 512, 639, 640, 1023, 1024, 1040, 1899, 2000, 2047];
        want.iter().for_each(|&p| m.write(p));
        harvest(&mut t, &m, when).assert_has(want);
    }
    tracked().for_each(|p| m.write(p));
    last(&mut t, &m).assert_has(tracked());
}

/// A part disappears for good. In a child, where no other thread can map anything into the hole.
pub fn unmapped<S: Tested>() {
    in_child(|| {
        let m = Memory::filled(64);
        let mut t = armed::<S>(&m);
        let hole = m.part(16, 32);
        // SAFETY: a part of our own mapping, which is not used any more.
        unsafe { libc::munmap(hole.start as *mut _, hole.len()) };
        m.write(40);
        running(&mut t, &m).assert_has([40]);
        m.write(3);
        last(&mut t, &m).assert_has([3]);
        t.disarm();
        t.arm(&[m.range()]).unwrap();
        m.write(60);
        last(&mut t, &m).assert_has([60]);
    });
}

/// Memory in huge pages, where the system has them.
pub fn huge_pages<S: Tested>() {
    let m = Memory::new(4 * HUGE / PAGE);
    m.advise(0, m.pages, libc::MADV_HUGEPAGE);
    (0..m.pages).for_each(|i| m.write(i));
    let mut t = armed::<S>(&m);
    m.write(5);
    m.write(700);
    running(&mut t, &m).assert_has([5, 700]);
    m.write(6);
    m.write(2000);
    running(&mut t, &m).assert_has([6, 2000]);
    // A huge page that appears while armed.
    m.advise(512, 1024, libc::MADV_DONTNEED);
    m.write(600);
    m.write(700);
    last(&mut t, &m).assert_has([600, 700]);
}

/// In a child the source is sound: what it tracked before the fork is reported whole, and it can be armed again. The parent
/// goes on.
pub fn fork<S: Tested>() {
    let m = Memory::filled(64);
    let mut t = armed::<S>(&m);
    m.write(2);
    in_child(|| {
        m.write(5);
        running(&mut t, &m).assert_has([2, 5]);
        t.arm(&[m.range()]).unwrap();
        m.write(7);
        running(&mut t, &m).assert_has([7]);
        m.write(8);
        last(&mut t, &m).assert_has([8]);
    });
    m.write(3);
    running(&mut t, &m).assert_has([2, 3]);
    m.write(4);
    last(&mut t, &m).assert_has([4]);
}

/// A writable private mapping of a file, as the data segment of a program is.
pub fn data_segment<S: Tested>() {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let m = Memory::new(16);
    // SAFETY: replaces our own mapping by a private one of a file that is longer.
    let p = unsafe {
        libc::mmap(
            m.start as *mut _,
            16 * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_eq!(p as usize, m.start);
    m.write(1);
    // SAFETY: inside the mapping.
    unsafe { m.at(2).read_volatile() };
    let mut t = armed::<S>(&m);
    m.write(1);
    m.write(2);
    m.write(3);
    running(&mut t, &m).assert_has([1, 2, 3]);
    m.write(2);
    m.write(9);
    last(&mut t, &m).assert_has([2, 9]);
}

/// Nothing is promised without arming.
pub fn not_armed<S: Tested>() {
    let m = Memory::filled(4);
    let mut t = Tracking::new(S::make());
    assert!(matches!(running(&mut t, &m), Written::Everything));
    t.track(m.range());
    t.arm(&[m.range()]).unwrap();
    t.disarm();
    assert!(matches!(running(&mut t, &m), Written::Everything));
    t.disarm();
}
