//! What keeps an object: the shortest way to it from a root, of which the last step is told.
//!
//! Nothing is noted for this when memory is allocated or collected: the world is stopped, and marked object by object in the order of the distance
//! from the roots, until the object is reached. What is found so has no circles: asked for the referrer's referrer and so on, one comes to a root.

use crate::displacements::{are_exact, from_stack, is_valid};
use crate::finalize::{self, is_marked};
use crate::heap::{find, own};
use crate::mark::marker::Marker;
use crate::mark::shared::{Range, Scope, Shared, Work};
use crate::roots::{self, RootKind};
use crate::sys::scratch::{self, ScratchVec};
use crate::world::StoppedWorld;
use crate::{cycle, dirty, hooks, pins};

/// What refers to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Referrer {
    /// Nothing that was found.
    Nobody,
    /// The word at this address, outside of the heap: a data segment, a registered range, a stack.
    Root(usize),
    /// A register, or something that the collector keeps for the program.
    Register,
    /// What a finalizer will be called with.
    Finalizer,
    /// The object that begins at `base`: `offset` bytes behind that is its first word that leads to the object asked for.
    Object {
        /// Its start.
        base: usize,
        /// Bytes from there.
        offset: usize,
    },
}

/// What refers to the object around `addr`: the stacks and registers of threads are looked at last, as who asks has the object's address there. Stops
/// the world for as long as a collection with one marker takes. `None` without memory, or in a collection.
pub fn of(addr: usize) -> Option<Referrer> {
    let target = find::object(addr)?.base;
    cycle::referrer(target).ok()
}

/// Where the search begins.
struct Roots {
    named: ScratchVec<Range>,
    threads: ScratchVec<Range>,
    registers: ScratchVec<Range>,
    words: ScratchVec<usize>,
    finalizers: ScratchVec<usize>,
}

/// With the world stopped and no marks: the referrer of the object that begins at `target`. Leaves marks. `None` without memory.
pub(crate) fn search(
    world: &StoppedWorld,
    shared: &Shared,
    scope: Scope,
    target: usize,
) -> Option<Referrer> {
    let mut r = Roots {
        named: ScratchVec::new(),
        threads: ScratchVec::new(),
        registers: ScratchVec::new(),
        words: ScratchVec::new(),
        finalizers: ScratchVec::new(),
    };
    let mut own = ScratchVec::new();
    let mut ok = true;
    own::for_each(|lo, hi| ok &= own.push((lo, hi)).is_ok());
    scratch::for_each_mapping(|lo, hi| ok &= own.push((lo, hi)).is_ok());
    dirty::page_tables(|lo, hi| ok &= own.push((lo, hi)).is_ok());
    // The registers that this emits lie in this function's frame.
    roots::enumerate(world, roots::chosen(), &own, &mut |m| {
        if m.kind == RootKind::StackObject {
            ok &= r.words.push(from_stack(m.lo)).is_ok();
            return;
        }
        let (lo, hi) = ((m.lo + 7) & !7, m.hi & !7);
        if m.transient {
            for p in (lo..hi).step_by(8) {
                // SAFETY: the range is readable until this closure returns, and aligned.
                let w = unsafe { core::ptr::read_volatile(p as *const usize) };
                ok &= r.words.push(w).is_ok();
            }
        } else if lo < hi {
            let list = match m.kind {
                RootKind::Registers => &mut r.registers,
                RootKind::Stack | RootKind::Tls => &mut r.threads,
                _ => &mut r.named,
            };
            ok &= list.push(Range { lo, hi }).is_ok();
        }
    })
    .ok()?;
    hooks::roots(&mut |lo, hi, _| ok &= r.named.push(Range { lo, hi }).is_ok());
    finalize::each_root(&mut |w| ok &= r.finalizers.push(w).is_ok());
    pins::each(&mut |w| ok &= r.words.push(w).is_ok());
    if !ok {
        return None;
    }
    shared.begin(scope, Work::all(&[]), 1);
    let found = walk(shared, scope, &r, target);
    shared.abandon();
    found.filter(|_| !shared.take_overflow())
}

/// The objects that the search has come to, by their distance.
struct Way<'a> {
    marker: Marker<'a>,
    objects: ScratchVec<usize>,
    /// How many of them were looked through.
    done: usize,
    full: bool,
    target: usize,
}

fn walk(shared: &Shared, scope: Scope, r: &Roots, target: usize) -> Option<Referrer> {
    let mut way = Way {
        marker: Marker::new(shared, 0, true)?,
        objects: ScratchVec::new(),
        done: 0,
        full: false,
        target,
    };
    let found = way.all(scope, r);
    // What it has not looked through is nobody's business any more.
    way.marker.take_grey(&mut |_| {});
    (!way.full).then_some(found.unwrap_or(Referrer::Nobody))
}

impl Way<'_> {
    fn all(&mut self, scope: Scope, r: &Roots) -> Option<Referrer> {
        let mut found = None;
        for m in r.named.iter() {
            if self.range(m.lo, m.hi) {
                return Some(Referrer::Root(self.place(m.lo, m.hi)?));
            }
        }
        find::each_of(scope.explicit, &mut |s| {
            if found.is_none() && self.range(s.base, s.base + s.size) {
                found = self.in_object(s.base, s.size);
            }
        });
        found = found.or_else(|| self.follow());
        if found.is_some() {
            return found;
        }
        for (words, what) in [
            (&r.finalizers, Referrer::Finalizer),
            (&r.words, Referrer::Register),
        ] {
            let at = words.as_ptr() as usize;
            if self.range(at, at + words.len() * 8) {
                return Some(what);
            }
        }
        for m in r.threads.iter() {
            if self.range(m.lo, m.hi) {
                return Some(Referrer::Root(self.place(m.lo, m.hi)?));
            }
        }
        for m in r.registers.iter() {
            if self.range(m.lo, m.hi) {
                return Some(Referrer::Register);
            }
        }
        self.follow()
    }

    /// Looks through a range; true if it refers to the object that is looked for.
    fn range(&mut self, lo: usize, hi: usize) -> bool {
        self.marker.range(lo, hi);
        self.took_target()
    }

    /// Lists what was found; true if that is the object that is looked for.
    fn took_target(&mut self) -> bool {
        let (objects, full) = (&mut self.objects, &mut self.full);
        self.marker
            .take_grey(&mut |o| *full |= objects.push(o).is_err());
        is_marked(self.target)
    }

    /// Looks through the objects that were found, and what they refer to.
    fn follow(&mut self) -> Option<Referrer> {
        while let Some(&base) = self.objects.get(self.done) {
            self.done += 1;
            let Some(s) = find::slot(base) else { continue };
            self.marker.object(&s);
            if self.took_target() {
                return self.in_object(s.base, s.size);
            }
        }
        None
    }

    fn in_object(&self, base: usize, size: usize) -> Option<Referrer> {
        let at = self.place(base, base + size).unwrap_or(base);
        Some(Referrer::Object {
            base,
            offset: at - base,
        })
    }

    /// The first word in `[lo, hi)` that leads to the object that is looked for.
    fn place(&self, lo: usize, hi: usize) -> Option<usize> {
        (lo..hi).step_by(8).find(|&p| {
            // SAFETY: objects of the heap and roots are readable while the world is stopped; the ends are aligned.
            let w = unsafe { core::ptr::read_volatile(p as *const usize) };
            find::slot(w)
                .is_some_and(|s| s.base == self.target && (!are_exact() || is_valid(w - s.base)))
        })
    }
}

/// An address in the heap, by a number: any of them, allocated or not. `None` while there is no heap.
pub fn some_address(number: usize) -> Option<usize> {
    use crate::heap::layout::{BLOCK, base, limit};
    let n = limit().saturating_sub(BLOCK);
    (n != 0).then(|| base() + BLOCK + number % n)
}

/// As [`some_address`], in an object that the last collection reached or that is younger. `None` if none was come by.
pub fn some_object_address(number: usize) -> Option<usize> {
    const TRIES: usize = 1000;
    (0..TRIES).find_map(|i| {
        let step = 0x9e37_79b9_7f4a_7c15usize.wrapping_mul(i);
        some_address(number.wrapping_add(step)).filter(|&a| find::object(a).is_some())
    })
}
