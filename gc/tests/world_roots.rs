//! Values in every place where a program can keep a pointer are found by the enumeration of roots.
mod roots_support;
mod support;
use dunegc::roots::{self, Mappings, RootKind, RootRange, RootsConfig};
use dunegc::world;
use roots_support::*;
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use support::*;

#[test]
fn the_control_block_of_every_thread() {
    let _one = alone();
    with_thread(wait, || {
        for m in BOTH {
            let (mut bases, mut n) = ([0; 64], 0);
            let w = world::stop().unwrap();
            for t in w.threads() {
                bases[n] = t.fs_base;
                n += 1;
            }
            let r = roots::enumerate(&w, RootsConfig { mappings: m }, &[], &mut |r: RootRange| {
                for b in &mut bases[..n] {
                    if r.lo <= *b && *b < r.hi {
                        *b = 0;
                    }
                }
            });
            w.resume();
            r.unwrap();
            // The main thread's, the test's and the other thread's at least.
            assert!(
                n >= 3 && bases[..n].iter().all(|b| *b == 0),
                "{m:?}: {:x?}",
                &bases[..n]
            );
        }
    });
}

#[test]
fn a_callee_saved_register_and_a_vector_register_of_another_thread() {
    let _one = alone();
    for vector in [false, true] {
        let secret = Secret::new();
        with_thread(
            |phase| {
                // SAFETY: the registers used are declared; the loop ends when `phase` is 2.
                unsafe {
                    if vector {
                        std::arch::asm!(
                            "xor {v}, {m}", "movq xmm9, {v}", "xor {v}, {v}",
                            "mov qword ptr [{p}], 1", "2:", "pause", "cmp qword ptr [{p}], 2", "jne 2b",
                            v = inout(reg) secret.0 => _, m = in(reg) black_box(MASK), p = in(reg) phase, out("xmm9") _);
                    } else {
                        std::arch::asm!(
                            "xor r12, {m}",
                            "mov qword ptr [{p}], 1", "2:", "pause", "cmp qword ptr [{p}], 2", "jne 2b", "xor r12, r12",
                            m = in(reg) black_box(MASK), p = in(reg) phase, inout("r12") secret.0 => _);
                    }
                }
            },
            || {
                for m in BOTH {
                    let found = find(secret, m, &[]);
                    assert!(
                        kinds(&found).contains(&RootKind::Registers),
                        "vector {vector} {m:?}: {found:x?}"
                    );
                }
            },
        );
        // A value that nobody holds is not found: the search itself leaves none behind.
        assert_eq!(find(Secret::new(), Mappings::All, &[]), []);
    }
}

#[test]
fn the_stack_of_another_thread_from_its_stack_pointer_up() {
    let _one = alone();
    for bounds_known in [false, true] {
        let (live, dead) = (Secret::new(), Secret::new());
        with_thread(
            |phase| {
                own_flags();
                if bounds_known {
                    note_bounds();
                }
                leave_below(dead);
                let mut local = [live.show()];
                black_box(&mut local);
                wait(phase);
                local[0] = 0;
                black_box(&mut local);
            },
            || {
                for m in BOTH {
                    assert!(
                        kinds(&find(live, m, &[])).contains(&RootKind::Stack),
                        "{m:?}"
                    );
                    // Without bounds the whole mapping counts; with them nothing below the stack pointer.
                    assert_eq!(find(dead, m, &[]).is_empty(), bounds_known, "{m:?}");
                }
            },
        );
    }
}

#[test]
fn the_stack_of_an_exempt_thread_is_left_out() {
    let _one = alone();
    for exempt in [false, true] {
        let secret = Secret::new();
        with_thread(
            |phase| {
                if exempt {
                    assert!(world::exempt_self());
                }
                leave_below(secret);
                wait(phase);
                world::unexempt_self();
            },
            || assert_eq!(find(secret, Mappings::All, &[]).is_empty(), exempt),
        );
    }
}

/// Tells the stack bounds of the calling thread.
fn note_bounds() {
    // SAFETY: valid out pointers; the attribute is destroyed after use.
    unsafe {
        let mut attr = std::mem::zeroed();
        assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &mut attr), 0);
        let (mut lo, mut len) = (std::ptr::null_mut(), 0);
        assert_eq!(libc::pthread_attr_getstack(&attr, &mut lo, &mut len), 0);
        libc::pthread_attr_destroy(&mut attr);
        assert!(world::note_stack_bounds(lo as usize, lo as usize + len));
    }
}

/// Writes the value deep below the caller's frame and leaves it there.
#[inline(never)]
fn leave_below(secret: Secret) {
    let mut deep = [0u64; 4096];
    deep[64] = secret.show();
    black_box(&mut deep);
}

#[test]
fn the_callers_own_stack_and_registers() {
    let _one = alone();
    let secret = Secret::new();
    let mut local = [secret.show()];
    black_box(&mut local);
    for m in BOTH {
        assert!(!find(secret, m, &[]).is_empty(), "{m:?}");
    }
    black_box(&mut local);
    local[0] = 0;
    black_box(&mut local);
}

#[test]
fn the_callers_own_registers() {
    struct Look {
        secret: Secret,
        found: Vec<(RootKind, usize)>,
    }
    /// So small that it leaves some of the registers that it must preserve alone.
    extern "C" fn look(l: &mut Look) {
        let w = world::stop().unwrap();
        let Look { secret, found } = l;
        roots::enumerate(
            &w,
            RootsConfig {
                mappings: Mappings::SegmentsOnly,
            },
            &[],
            &mut |r| search(r, *secret, found),
        )
        .unwrap();
    }
    let _one = alone();
    let mut l = Look {
        secret: Secret::new(),
        found: Vec::with_capacity(64),
    };
    // SAFETY: the registers are declared as changed or saved; the call follows the ABI, the stack is aligned by hand.
    unsafe {
        std::arch::asm!(
            "xor r12, {m}", "push rbx", "push rbp", "mov rbp, rsp", "and rsp, -16",
            "mov rbx, r12", "mov r13, r12", "mov r14, r12", "mov r15, r12", "call {look}",
            "mov rsp, rbp", "pop rbp", "pop rbx",
            m = in(reg) black_box(MASK), look = sym look, inout("r12") l.secret.0 => _, in("rdi") &raw mut l,
            lateout("r13") _, lateout("r14") _, lateout("r15") _, clobber_abi("C"));
    }
    assert!(
        kinds(&l.found).contains(&RootKind::Registers),
        "{:x?}",
        l.found
    );
}

#[test]
fn static_and_dynamic_tls() {
    thread_local!(static SLOT: Cell<u64> = const { Cell::new(0) });
    let _one = alone();
    let (stat, dynamic) = (Secret::new(), Secret::new());
    let lib = Library::build(
        "tls",
        "__thread long slot; void set(long v) { slot = v; } long get(void) { return slot; }",
    );
    let (set, get) = (lib.function("set"), lib.function("get"));
    with_thread(
        |phase| {
            SLOT.set(stat.show());
            set(dynamic.show());
            scrub();
            wait(phase);
            assert_eq!(get(0) as u64 ^ MASK, dynamic.0);
            SLOT.set(0);
            set(0);
        },
        || {
            for m in BOTH {
                assert!(!find(stat, m, &[]).is_empty(), "static {m:?}");
            }
            // A dynamic block belongs to the program's malloc: a mapping here, an object of the heap (reached from the
            // thread's vector) where malloc is the collector's.
            assert!(!find(dynamic, Mappings::All, &[]).is_empty());
        },
    );
}

/// A shared library compiled for a test.
struct Library(*mut libc::c_void);

impl Library {
    fn build(name: &str, source: &str) -> Library {
        let dir = std::env::temp_dir().join(format!("dunegc-roots-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (c, so) = (
            dir.join(format!("{name}.c")),
            dir.join(format!("{name}.so")),
        );
        std::fs::write(&c, source).unwrap();
        let ok = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&so)
            .arg(&c)
            .status();
        assert!(
            ok.expect("a C compiler (cc) is needed for this test")
                .success()
        );
        let path = std::ffi::CString::new(so.to_str().unwrap()).unwrap();
        // SAFETY: our own library, without constructors.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        std::fs::remove_dir_all(&dir).unwrap();
        Library(handle)
    }

    fn symbol(&self, name: &str) -> *mut libc::c_void {
        let name = std::ffi::CString::new(name).unwrap();
        // SAFETY: a valid handle and string.
        let p = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!p.is_null());
        p
    }

    fn function(&self, name: &str) -> extern "C" fn(u64) -> i64 {
        // SAFETY: the libraries' functions take at most one integer and return none or one.
        unsafe { std::mem::transmute(self.symbol(name)) }
    }
}

#[test]
fn data_and_bss_of_a_loaded_library_until_it_is_unloaded() {
    let _one = alone();
    let lib = Library::build("data", "long data[600] = {1}; long bss[70000];");
    let (data, bss) = (Secret::new(), Secret::new());
    // SAFETY: both arrays are larger than the index.
    unsafe {
        lib.symbol("data")
            .cast::<u64>()
            .add(577)
            .write_volatile(data.show());
        lib.symbol("bss")
            .cast::<u64>()
            .add(65_432)
            .write_volatile(bss.show());
    }
    scrub();
    for m in BOTH {
        assert!(
            kinds(&find(data, m, &[])).contains(&RootKind::Data),
            "data {m:?}"
        );
        assert!(
            kinds(&find(bss, m, &[])).contains(&RootKind::Data),
            "bss {m:?}"
        );
    }
    // SAFETY: nothing of the library is used afterwards.
    assert_eq!(unsafe { libc::dlclose(lib.0) }, 0);
    assert!(!kinds(&find(data, Mappings::All, &[])).contains(&RootKind::Data));
}

struct RawHold {
    secret: Secret,
    phase: AtomicUsize,
}

extern "C" fn raw_hold(arg: *mut libc::c_void) -> i32 {
    // SAFETY: the test passes a `RawHold` that outlives the thread.
    let hold = unsafe { &*arg.cast::<RawHold>() };
    let mut local = [hold.secret.show()];
    black_box(&mut local);
    wait(&hold.phase);
    local[0] = 0;
    black_box(&mut local);
    0
}

#[test]
fn the_stack_of_a_thread_that_libc_does_not_know_also_in_excluded_memory() {
    let _one = alone();
    for excluded in [false, true] {
        let hold = RawHold {
            secret: Secret::new(),
            phase: AtomicUsize::new(0),
        };
        let tid = raw_thread(raw_hold, (&raw const hold).cast());
        until("raw thread runs", || hold.phase.load(Acquire) == 1);
        let w = world::stop().unwrap();
        let sp = w.threads().iter().find(|t| t.tid == tid).unwrap().sp;
        w.resume();
        let around = (sp & !0xffff, (sp & !0xffff) + 0x40000);
        for m in BOTH {
            if excluded {
                // The collector marks the object that contains the stack pointer.
                let mut told = false;
                let w = world::stop().unwrap();
                let r = roots::enumerate(
                    &w,
                    RootsConfig { mappings: m },
                    &[around],
                    &mut |r: RootRange| {
                        told |=
                            r.kind == RootKind::StackObject && around.0 <= r.lo && r.lo < around.1;
                    },
                );
                w.resume();
                r.unwrap();
                assert!(told, "{m:?}");
            } else {
                assert!(!find(hold.secret, m, &[]).is_empty(), "{m:?}");
            }
        }
        hold.phase.store(2, Release);
        until("raw thread ends", || !exists(tid));
    }
}

#[test]
fn both_stacks_of_a_thread_in_a_signal_handler() {
    static HOLD: AtomicUsize = AtomicUsize::new(0);
    static ON_ALT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn handler(_: i32) {
        let mut local = [ON_ALT.load(SeqCst) ^ black_box(MASK)];
        black_box(&mut local);
        wait(&HOLD);
        local[0] = 0;
        black_box(&mut local);
    }
    let _one = alone();
    for bounds_known in [false, true] {
        HOLD.store(0, SeqCst);
        let (normal, alt) = (Secret::new(), Secret::new());
        ON_ALT.store(alt.0, SeqCst);
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                own_flags();
                if bounds_known {
                    note_bounds();
                }
                let (lo, hi) = raw_stack();
                let mut local = [normal.show()];
                black_box(&mut local);
                // SAFETY: the stack is mapped for ever and given back before the thread ends.
                unsafe {
                    let st = libc::stack_t {
                        ss_sp: lo as *mut _,
                        ss_flags: 0,
                        ss_size: hi - lo,
                    };
                    libc::sigaltstack(&st, std::ptr::null_mut());
                    let mut sa: libc::sigaction = std::mem::zeroed();
                    sa.sa_sigaction = handler as *const () as usize;
                    sa.sa_flags = libc::SA_ONSTACK;
                    libc::sigaction(libc::SIGUSR2, &sa, std::ptr::null_mut());
                    libc::raise(libc::SIGUSR2);
                    let off = libc::stack_t {
                        ss_sp: std::ptr::null_mut(),
                        ss_flags: libc::SS_DISABLE,
                        ss_size: 0,
                    };
                    libc::sigaltstack(&off, std::ptr::null_mut());
                }
                local[0] = 0;
                black_box(&mut local);
                done.store(true, SeqCst);
            });
            until("in handler", || HOLD.load(Acquire) == 1);
            let found: Vec<_> = BOTH
                .iter()
                .map(|m| (find(normal, *m, &[]).len(), find(alt, *m, &[]).len()))
                .collect();
            HOLD.store(2, Release);
            assert!(
                found.iter().all(|f| f.0 > 0 && f.1 > 0),
                "bounds known: {bounds_known}: {found:?}"
            );
        });
        assert!(done.load(SeqCst));
    }
}

#[test]
fn a_coroutine_and_the_stack_it_left() {
    static HOLD: AtomicUsize = AtomicUsize::new(0);
    static SECRET: AtomicU64 = AtomicU64::new(0);
    extern "C" fn coroutine() {
        let mut local = [SECRET.load(SeqCst) ^ black_box(MASK)];
        black_box(&mut local);
        wait(&HOLD);
        local[0] = 0;
        black_box(&mut local);
    }
    let _one = alone();
    let (left, inside) = (Secret::new(), Secret::new());
    SECRET.store(inside.0, SeqCst);
    std::thread::scope(|s| {
        s.spawn(|| {
            own_flags();
            note_bounds();
            let (lo, hi) = raw_stack();
            let mut local = [left.show()];
            black_box(&mut local);
            // SAFETY: the usual sequence; the coroutine returns to `back` through uc_link.
            unsafe {
                let (mut back, mut ctx): (libc::ucontext_t, libc::ucontext_t) =
                    (std::mem::zeroed(), std::mem::zeroed());
                libc::getcontext(&mut ctx);
                ctx.uc_stack.ss_sp = lo as *mut _;
                ctx.uc_stack.ss_size = hi - lo;
                ctx.uc_link = &mut back;
                libc::makecontext(&mut ctx, coroutine, 0);
                libc::swapcontext(&mut back, &ctx);
            }
            local[0] = 0;
            black_box(&mut local);
        });
        until("in the coroutine", || HOLD.load(Acquire) == 1);
        let found: Vec<_> = BOTH
            .iter()
            .map(|m| (find(left, *m, &[]).len(), find(inside, *m, &[]).len()))
            .collect();
        HOLD.store(2, Release);
        assert!(found.iter().all(|f| f.0 > 0 && f.1 > 0), "{found:?}");
    });
}
