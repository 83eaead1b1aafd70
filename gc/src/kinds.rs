//! Kinds whose objects are scanned by a descriptor, and the procedures that mark objects for the program.
//!
//! A descriptor is a word; its two lowest bits say how it is read (the encoding is the one that programs of the Boehm collector
//! make with its macros):
//!
//! - 0: the number of bytes, from the object's start, in which every word may be a reference.
//! - 1: a bitmap; the highest bit stands for the object's first word.
//! - 2: a procedure finds the references: its number in the next six bits, its argument above them.
//! - 3: the descriptor lies in the object, as many bytes from its start as the word says without its two lowest bits; or, if that is
//!   negative, in memory that the object's first word leads to.

use crate::cycle;
use crate::heap::block::Block;
use crate::heap::find::Slot;
use crate::heap::layout;
use crate::kind::{BUILT_IN, KINDS, Kind};
use crate::mark::marker::Marker;
use crate::sys::scratch::ScratchVec;
use core::ffi::c_void;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// How a descriptor is read.
const TAGS: usize = 3;
/// A length.
pub const LENGTH: usize = 0;
/// A bitmap.
pub const BITMAP: usize = 1;
/// A procedure.
pub const BY_PROCEDURE: usize = 2;
/// A descriptor in the object.
pub const PER_OBJECT: usize = 3;
/// Subtracted from the distance of descriptors that the object's first word leads to.
const INDIRECT_BIAS: isize = 0x10;
/// Bits of a procedure's number.
const NUMBER_BITS: u32 = 6;
/// Most procedures.
pub const PROCEDURES: usize = 1 << NUMBER_BITS;
/// Numbers below are not given out by [`new_procedure`]: the program chooses one of them itself.
pub const RESERVED: usize = 8;
/// Number of the procedure of long bitmaps; its argument is an index in the table of [`crate::typed`].
pub const LONG_BITMAP: usize = PROCEDURES - 1;
/// Number of the procedure of arrays, whose description is the object's last words.
pub const ARRAY: usize = PROCEDURES - 2;

/// A program's procedure: object, the marker (twice: where other collectors have the top and the end of a stack), argument. Returns
/// the marker.
pub type Procedure =
    unsafe extern "C" fn(*mut usize, *mut c_void, *mut c_void, usize) -> *mut c_void;

static COUNT: AtomicUsize = AtomicUsize::new(BUILT_IN);
static DESCRIPTORS: [AtomicUsize; KINDS] = [const { AtomicUsize::new(0) }; KINDS];
/// Kinds whose descriptor is a length that grows with the object.
static GROWING: AtomicU32 = AtomicU32::new(0);
static ZEROED: AtomicU32 = AtomicU32::new(0);
static PROCEDURE_COUNT: AtomicUsize = AtomicUsize::new(RESERVED);
/// The program has procedures.
static ANY_PROCEDURE: AtomicBool = AtomicBool::new(false);
/// The program runs beside the markers: its procedures do not.
static PUT_OFF: AtomicBool = AtomicBool::new(false);
/// Kinds whose objects are marked by a procedure of the program, all of them or, as far as is known, some.
static BY_PROGRAM: AtomicU32 = AtomicU32::new(0);
/// Where [`ask`] collects what a procedure finds.
static ASKED: AtomicPtr<ScratchVec<usize>> = AtomicPtr::new(core::ptr::null_mut());
static PROCEDURE: [AtomicUsize; PROCEDURES] = [const { AtomicUsize::new(0) }; PROCEDURES];

/// Number of kinds that exist; those above have no objects.
#[inline]
pub fn count() -> usize {
    COUNT.load(Acquire)
}

/// Objects are handed out zeroed.
#[inline]
pub fn is_zeroed(kind: Kind) -> bool {
    ZEROED.load(Relaxed) >> kind.bit() & 1 != 0
}

/// Some procedure of the program exists: it may look at anything, so it runs with the world stopped only.
#[inline]
pub fn has_procedures() -> bool {
    ANY_PROCEDURE.load(Acquire)
}

/// The program runs beside the markers from here on, or does not any more. Objects that are marked by its procedures are left then: until the world is
/// stopped, what they refer to is not marked by them.
pub(crate) fn put_off(beside: bool) {
    PUT_OFF.store(beside, SeqCst);
}

/// The kinds as bits, with objects that were left or may have been.
pub(crate) fn by_program() -> u32 {
    BY_PROGRAM.load(Relaxed)
}

/// With the world stopped and no marker at work: adds to `words` what the program's procedure finds in the object, if it is marked by one, as far
/// as there is memory.
pub(crate) fn ask(s: &Slot, words: &mut ScratchVec<usize>) {
    let mut d = DESCRIPTORS[s.info.kind().index()].load(Relaxed);
    if d & TAGS == PER_OBJECT {
        d = per_object(s.base, s.size, d).unwrap_or(0);
    }
    let Some(f) = of_program(d >> 2).filter(|_| d & TAGS == BY_PROCEDURE) else {
        return;
    };
    let collector = core::ptr::from_mut(words);
    ASKED.store(collector, Relaxed);
    let marker = collector.cast::<c_void>();
    // SAFETY: the program's function, registered for this. It passes the marker on to `reference`, which leaves it alone now.
    unsafe { f(s.base as *mut usize, marker, marker, d >> 2 >> NUMBER_BITS) };
    ASKED.store(core::ptr::null_mut(), Relaxed);
}

/// The program's procedure that a descriptor without its tag names.
fn of_program(rest: usize) -> Option<Procedure> {
    let number = rest & (PROCEDURES - 1);
    let f = PROCEDURE[number].load(Relaxed);
    // SAFETY: null, which is None, or a function of this type, stored below.
    unsafe { core::mem::transmute::<usize, Option<Procedure>>(f) }
}

/// Sets one of the [`RESERVED`] procedures. False for another number.
pub fn set_procedure(number: usize, f: Procedure) -> bool {
    if number >= RESERVED {
        return false;
    }
    let set = || {
        PROCEDURE[number].store(f as usize, Relaxed);
        ANY_PROCEDURE.store(true, Release);
    };
    cycle::exclusively(set).is_some()
}

/// Makes a kind. With `growing`, the size of the object is added to the descriptor, which then is a length. `None` when there are
/// [`KINDS`] already.
pub fn new(descriptor: usize, growing: bool, zeroed: bool) -> Option<Kind> {
    let made = cycle::exclusively(|| {
        let i = COUNT.load(Relaxed);
        if i == KINDS {
            return None;
        }
        DESCRIPTORS[i].store(descriptor, Relaxed);
        let number = descriptor >> 2 & (PROCEDURES - 1);
        let own = [LONG_BITMAP, ARRAY].contains(&number);
        if !growing && descriptor & TAGS == BY_PROCEDURE && !own {
            BY_PROGRAM.fetch_or(1 << i, Relaxed);
        }
        GROWING.fetch_or(u32::from(growing) << i, Relaxed);
        ZEROED.fetch_or(u32::from(zeroed) << i, Relaxed);
        COUNT.store(i + 1, Release);
        Some(Kind::from_index(i))
    });
    made.flatten()
}

/// Registers a procedure; its number. `None` when there are too many already.
pub fn new_procedure(f: Procedure) -> Option<usize> {
    let number = cycle::exclusively(|| {
        let i = PROCEDURE_COUNT.load(Relaxed);
        if i == ARRAY {
            return None;
        }
        PROCEDURE[i].store(f as usize, Relaxed);
        ANY_PROCEDURE.store(true, Release);
        PROCEDURE_COUNT.store(i + 1, Release);
        Some(i)
    });
    number.flatten()
}

/// A descriptor that calls procedure `number` with `argument`.
pub const fn procedure_descriptor(number: usize, argument: usize) -> usize {
    ((argument << NUMBER_BITS | number) << 2) | BY_PROCEDURE
}

/// Marks what the object of `size` bytes at `base`, of a described kind, refers to.
pub(crate) fn scan(m: &mut Marker, kind: Kind, base: usize, size: usize) {
    if crate::typed::is_typed(kind) {
        return crate::typed::scan(m, base, size);
    }
    let i = kind.index();
    let descriptor = DESCRIPTORS[i].load(Relaxed);
    if GROWING.load(Relaxed) >> i & 1 != 0 {
        scan_part(m, base, size, descriptor.wrapping_add(size));
    } else {
        scan_part(m, base, size, descriptor);
    }
}

/// Marks what the `size` bytes at `base` refer to as `descriptor` says.
pub(crate) fn scan_part(m: &mut Marker, base: usize, size: usize, descriptor: usize) {
    match descriptor & TAGS {
        LENGTH => m.range(base, base + descriptor.min(size) & !7),
        BITMAP => bitmap(m, base, size, descriptor & !TAGS),
        PER_OBJECT => {
            if let Some(d) = per_object(base, size, descriptor) {
                scan_part(m, base, size, d);
            }
        }
        _ => procedure(m, base, size, descriptor >> 2),
    }
}

/// Bits from the highest on; those of words behind the object do not count.
fn bitmap(m: &mut Marker, base: usize, size: usize, bits: usize) {
    let inside = match size / 8 {
        words @ 0..64 => !(usize::MAX >> words),
        _ => usize::MAX,
    };
    m.chosen(base, bits & inside);
}

/// The descriptor that lies in the object, or where its first word leads to. `None` if the object is still empty, and if one
/// such descriptor leads to another.
fn per_object(base: usize, size: usize, descriptor: usize) -> Option<usize> {
    let distance = (descriptor & !TAGS) as isize;
    let at = if distance >= 0 {
        if distance as usize + 8 > size {
            return None;
        }
        base + distance as usize
    } else {
        // SAFETY: every object has a first word.
        let first = unsafe { (base as *const usize).read_volatile() };
        // Beside the program all objects of a block may have been freed since its kind was looked up, and the block be one of another kind.
        fence(Acquire);
        let kind = Block::at(base - layout::base()).info().kind();
        if first == 0 || !kind.is_described() {
            return None;
        }
        first.wrapping_add_signed(-distance - INDIRECT_BIAS)
    };
    // SAFETY: in the object, or, as the program says, in what its first word leads to.
    let d = unsafe { (at as *const usize).read_volatile() };
    (d & TAGS != PER_OBJECT).then_some(d)
}

fn procedure(m: &mut Marker, base: usize, size: usize, rest: usize) {
    let (number, argument) = (rest & (PROCEDURES - 1), rest >> NUMBER_BITS);
    match number {
        LONG_BITMAP => crate::typed::scan_long(m, base, size, argument),
        ARRAY => crate::typed::scan_array(m, base, size),
        _ => {
            let Some(f) = of_program(rest) else {
                return m.range(base, base + size);
            };
            if PUT_OFF.load(Relaxed) {
                let kind = Block::at(base - layout::base()).info().kind();
                BY_PROGRAM.fetch_or(1 << kind.bit(), Relaxed);
                return;
            }
            let marker = core::ptr::from_mut(m).cast::<c_void>();
            // SAFETY: the program's function, registered for this; the marker is not used by anybody else until it returns.
            unsafe { f(base as *mut usize, marker, marker, argument) };
        }
    }
}

/// Called by a procedure: `word` is a reference that it found.
///
/// # Safety
/// `marker` is what the procedure that is running was called with.
pub unsafe fn reference(marker: *mut c_void, word: usize) {
    // SAFETY: null, or the list of `ask`, which runs on this thread and does not touch it meanwhile: no marker runs then.
    if let Some(words) = unsafe { ASKED.load(Relaxed).as_mut() } {
        let _ = words.push(word);
        return;
    }
    // SAFETY: by the contract it is the `Marker` of `procedure`, on whose stack it lives; its lifetime does not matter here.
    unsafe { (*marker.cast::<Marker<'static>>()).word(word) }
}
