//! The program's signal actions.

use super::{NEVER_BLOCKED, bit, shim};
use crate::lock::Lock;
use crate::sys;
use core::sync::atomic::{AtomicU64, Ordering::*, fence};

/// `struct sigaction` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Address of the handler; 0: the default, 1: ignored.
    pub handler: u64,
    /// SA_*.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// What is blocked while it runs.
    pub mask: u64,
}

/// Flags that mean the same to the kernel whoever handles the signal.
const KERNELS: u64 =
    (libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT | libc::SA_ONSTACK) as u64 | 0x800;
const RESTORER: u64 = 0x0400_0000;
const SIGINFO: u64 = libc::SA_SIGINFO as u64;

impl Action {
    /// A function of the program's runs.
    pub fn is_handler(&self) -> bool {
        self.handler > 1
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: i32) -> bool {
        self.flags & flag as u32 as u64 != 0
    }

    /// What is blocked while the handler of `signal` runs on top of `mask`.
    pub fn blocks(&self, signal: i32, mask: u64) -> u64 {
        let own = if self.has(libc::SA_NODEFER) {
            0
        } else {
            bit(signal)
        };
        (mask | self.mask | own) & !NEVER_BLOCKED
    }

    /// The same, handled by the shim.
    fn shimmed(&self) -> Action {
        Action {
            handler: shim::address(),
            flags: self.flags & KERNELS | RESTORER | SIGINFO,
            restorer: shim::restorer(),
            mask: !0,
        }
    }
}

/// One signal's action, readable from the shim while it is changed elsewhere.
struct Slot {
    /// Odd while it is changed.
    version: AtomicU64,
    words: [AtomicU64; 4],
}

const ZERO: AtomicU64 = AtomicU64::new(0);
const SLOT: Slot = Slot {
    version: ZERO,
    words: [ZERO; 4],
};

static ACTIONS: [Slot; 64] = [SLOT; 64];
/// Taken with every signal blocked, so that no shim waits for a change that it has interrupted.
static CHANGING: Lock<()> = Lock::new(());

fn slot(signal: i32) -> &'static Slot {
    &ACTIONS[(signal - 1) as usize & 63]
}

/// The program's action for a signal that the shim handles.
pub fn get(signal: i32) -> Action {
    let slot = slot(signal);
    loop {
        let version = slot.version.load(Acquire);
        let [handler, flags, restorer, mask] = [0, 1, 2, 3].map(|i| slot.words[i].load(Relaxed));
        fence(Acquire);
        if version & 1 == 0 && slot.version.load(Relaxed) == version {
            return Action {
                handler,
                flags,
                restorer,
                mask,
            };
        }
        core::hint::spin_loop();
    }
}

fn put(signal: i32, action: Action) {
    let slot = slot(signal);
    slot.version.fetch_add(1, Relaxed);
    fence(Release);
    let words = [action.handler, action.flags, action.restorer, action.mask];
    for (word, value) in slot.words.iter().zip(words) {
        word.store(value, Relaxed);
    }
    slot.version.fetch_add(1, Release);
}

/// The kernel's rt_sigaction; negative: an error number.
fn native(signal: i32, new: Option<&Action>, old: &mut Action) -> i64 {
    let new = new.map_or(0, |a| core::ptr::from_ref(a) as u64);
    let args = [signal as u64, new, core::ptr::from_mut(old) as u64, 8, 0, 0];
    // SAFETY: both structures are the kernel's; the program's own request, or its action behind the shim.
    unsafe { sys::call(libc::SYS_rt_sigaction as u64, args) }
}

/// What rt_sigaction does for the program: changes the action if there is a new one, and returns the old one; negative: an error number.
pub fn change(signal: i32, new: Option<&Action>) -> Result<Action, i64> {
    let mask = sys::block(libc::SIG_SETMASK, !0);
    let guard = CHANGING.lock();
    let mut old = Action::default();
    let known = get(signal);
    let result = match new {
        Some(new) if new.is_handler() => {
            let shimmed = new.shimmed();
            let mut result = native(signal, None, &mut old);
            if result == 0 {
                // The shim may run from the moment on at which the kernel knows it.
                put(signal, *new);
                let mut before = Action::default();
                result = native(signal, Some(&shimmed), &mut before);
            }
            if result < 0 {
                put(signal, known);
            }
            result
        }
        new => native(signal, new, &mut old),
    };
    drop(guard);
    sys::block(libc::SIG_SETMASK, mask);
    if result < 0 {
        return Err(result);
    }
    Ok(if old.handler == shim::address() {
        known
    } else {
        old
    })
}

/// Puts the shim before every handler that the process has.
pub fn adopt() {
    for signal in (1..=64).filter(|s| NEVER_BLOCKED & bit(*s) == 0) {
        let mut old = Action::default();
        let known = native(signal, None, &mut old) == 0;
        if known && old.is_handler() && old.handler != shim::address() {
            let _ = change(signal, Some(&old));
        }
    }
}

/// Has the kernel run nothing when a kick arrives outside of the guest.
pub fn handle_kick(signal: i32) {
    let action = Action {
        handler: 2,
        flags: libc::SA_RESTART as u64,
        ..Action::default()
    }
    .shimmed();
    let mut old = Action::default();
    native(signal, Some(&action), &mut old);
}

/// In a forked child, which is native: gives the kernel the program's handlers.
pub fn give_back() {
    CHANGING.free_in_child();
    // What another thread was about to change at the fork stays in between.
    for slot in &ACTIONS {
        let odd = slot.version.load(Relaxed) & 1;
        slot.version.fetch_add(odd, Release);
    }
    for signal in (1..=64).filter(|s| NEVER_BLOCKED & bit(*s) == 0) {
        let action = get(signal);
        let mut old = Action::default();
        if action.is_handler()
            && native(signal, None, &mut old) == 0
            && old.handler == shim::address()
        {
            native(signal, Some(&action), &mut old);
        }
    }
}

/// A handler that runs once only is gone (SA_RESETHAND).
pub fn reset(signal: i32) {
    let _ = change(signal, Some(&Action::default()));
}
