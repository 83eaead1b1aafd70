//! The configuration in force: published once through an atomic pointer, never changed in place.
//!
//! Each configuration lives in a slot of its own, with the text it refers to, so that readers need no lock and
//! references stay good for ever.

use super::options::Arena;
use super::{Config, ConfigError, OPTIONS, env};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

struct Slot {
    config: UnsafeCell<MaybeUninit<Config>>,
    text: UnsafeCell<[u8; Arena::SIZE]>,
}

// SAFETY: a slot is written only by the thread that took its number from NEXT, before it publishes a pointer to it.
unsafe impl Sync for Slot {}

const SLOTS: usize = 8;
static SLOT: [Slot; SLOTS] = [const {
    Slot {
        config: UnsafeCell::new(MaybeUninit::zeroed()),
        text: UnsafeCell::new([0; Arena::SIZE]),
    }
}; SLOTS];
/// The first slot that nobody has taken.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static CURRENT: AtomicPtr<Config> = AtomicPtr::new(ptr::null_mut());
static SEALED: AtomicBool = AtomicBool::new(false);

/// The configuration in force; reads the environment if nobody has yet.
#[inline]
pub fn get() -> &'static Config {
    let p = CURRENT.load(Ordering::Acquire);
    if p.is_null() {
        return first();
    }
    // SAFETY: published pointers point into SLOT, are never null, and their target is never written again.
    unsafe { &*p }
}

#[cold]
#[inline(never)]
fn first() -> &'static Config {
    init_from_env();
    // SAFETY: as in `get`; `init_from_env` returns only when a configuration is published.
    unsafe { &*CURRENT.load(Ordering::Acquire) }
}

/// Puts the environment's settings in force, with a line on stderr for each that is refused. Does nothing if a
/// configuration is in force. Threads that race here agree on one result; none waits for another as
/// long as no more than eight race.
pub fn init_from_env() {
    if !CURRENT.load(Ordering::Acquire).is_null() {
        return;
    }
    let Some(slot) = take() else {
        // All places are taken by threads that are reading the environment just now.
        while CURRENT.load(Ordering::Acquire).is_null() {
            core::hint::spin_loop();
        }
        return;
    };
    let secure = env::secure();
    // SAFETY: called before the first allocation of the process is done; a program that changes its environment in
    // another thread at this moment breaks the rule that setenv(3) states for every reader.
    let variables = unsafe { env::process() };
    // SAFETY: `take` gave this slot to us alone.
    let (config, text) = unsafe { (&mut *slot.config.get(), &mut *slot.text.get()) };
    let mut problems = false;
    let config = config.write(env::parse(
        variables.clone(),
        secure,
        &mut Arena::Room(text),
        &mut |_| problems = true,
    ));
    if CURRENT
        .compare_exchange(ptr::null_mut(), config, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
    {
        // Only now, so that one of the racing threads speaks.
        if problems {
            report(variables, secure);
        }
    }
}

/// Says what is wrong with the variables.
#[cold]
#[inline(never)]
fn report(variables: env::Variables, secure: bool) {
    env::parse(variables, secure, &mut Arena::CheckOnly, &mut |problem| {
        crate::message!("{problem}")
    });
}

/// Gives a slot to the caller.
fn take() -> Option<&'static Slot> {
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
        (n < SLOTS).then_some(n + 1)
    })
    .ok()
    .map(|n| &SLOT[n])
}

/// See [`Config::install`]; the configuration has been checked.
pub(super) fn install(config: Config) -> Result<(), ConfigError> {
    if SEALED.load(Ordering::Acquire) {
        let current = get();
        if let Some(o) = OPTIONS
            .iter()
            .find(|o| !o.late && !(o.same)(current, &config))
        {
            return Err(ConfigError::new(
                o.name,
                o.value(&config),
                "the value it has: a collection has taken place",
            ));
        }
    }
    let Some(slot) = take() else {
        return Err(ConfigError::new(
            "Config::install",
            "",
            "at most 8 configurations in one process",
        ));
    };
    // SAFETY: `take` gave this slot to us alone.
    let p = unsafe { (*slot.config.get()).write(config) };
    CURRENT.store(p, Ordering::Release);
    Ok(())
}

/// From here on [`Config::install`] refuses changes of options that are built into threads, handlers and tables.
/// The collector calls it when it first needs them.
pub fn seal() {
    SEALED.store(true, Ordering::Release);
}
