//! The model: which objects exist, what is in them, and what keeps them alive.

use core::ffi::c_void;
use std::collections::BTreeMap;

use crate::calls::{self, Kind};
use crate::finalizers::Finalizer;
use crate::links::Link;
use crate::memory;

/// An object's number in the model; never used twice.
pub type Id = usize;

/// The program's claim on an object.
#[derive(Debug)]
pub struct Object {
    /// Its address, inverted.
    hidden: usize,
    /// What was asked for.
    pub size: usize,
    /// What `GC_size` said.
    pub usable: usize,
    /// What it is.
    pub kind: Kind,
    /// What its content is made from.
    pub seed: usize,
    /// Words that are not pattern but pointers: the object and the place in it.
    pub edges: BTreeMap<usize, (Id, usize)>,
    /// Pins not undone.
    pub pins: usize,
    /// Its finalizer, if it has not run.
    pub finalizer: Option<Finalizer>,
    /// No root reaches it: only its own or another object's finalizer keeps it.
    pub lost: bool,
}

/// Everything that the program knows.
#[derive(Default)]
pub struct Model {
    /// Objects that must be intact.
    pub objects: BTreeMap<Id, Object>,
    /// What each root word points to.
    pub roots: [Option<Id>; memory::ROOTS],
    /// Pairs of root words that are registered.
    pub registered: [bool; memory::REGISTERED / 2],
    /// Links that were registered, by whether and where.
    pub links: Vec<Link>,
    /// Calls of `GC_disable` not undone.
    pub disabled: usize,
    next: Id,
}

fn pattern(seed: usize, word: usize) -> usize {
    // Never an address: the top bit is set.
    (seed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63
}

impl Object {
    /// Where it is.
    pub fn address(&self) -> usize {
        !self.hidden
    }

    /// As C wants it.
    pub fn pointer(&self) -> *mut c_void {
        self.address() as *mut c_void
    }

    /// The address, inverted.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Whole words of it.
    pub fn words(&self) -> usize {
        self.size / 8
    }

    /// Writes the pattern of word `i`.
    pub fn reset(&self, i: usize) {
        self.write(i, pattern(self.seed, i));
    }

    /// Writes word `i`.
    pub fn write(&self, i: usize, value: usize) {
        assert!(i < self.words());
        // SAFETY: the word lies in the object, which the model claims to exist.
        unsafe { (self.address() as *mut usize).add(i).write(value) };
    }

    /// Reads word `i`.
    pub fn read(&self, i: usize) -> usize {
        assert!(i < self.words());
        // SAFETY: as in `write`.
        unsafe { (self.address() as *const usize).add(i).read() }
    }

    fn tail(&self) -> &[u8] {
        let from = self.words() * 8;
        // SAFETY: the bytes behind the last whole word, in the object.
        unsafe {
            core::slice::from_raw_parts((self.address() + from) as *const u8, self.size - from)
        }
    }

    /// Fills all with the pattern.
    pub fn fill(&self) {
        (0..self.words()).for_each(|i| self.reset(i));
        let from = self.words() * 8;
        // SAFETY: as in `write`.
        unsafe {
            let p = self.pointer().cast::<u8>().add(from);
            p.write_bytes(self.seed as u8, self.size - from);
        }
    }

    /// What the library says about it is right, from its first, middle and last byte.
    pub fn check_place(&self) {
        let (base, usable) = (self.address(), self.usable);
        assert!(usable >= self.size.max(1), "{self:?} is too small");
        for at in [0, usable / 2, usable - 1] {
            let p = (base + at) as *mut c_void;
            assert_eq!(
                calls::GC_base(p) as usize,
                base,
                "GC_base of byte {at} of {self:?}"
            );
            assert_eq!(
                calls::dunegc_base(p) as usize,
                base,
                "dunegc_base of byte {at} of {self:?}"
            );
            assert_eq!(calls::GC_is_heap_ptr(p), 1, "byte {at} of {self:?}");
        }
        let p = self.pointer();
        assert_eq!(calls::GC_size(p), usable, "GC_size of {self:?}");
        assert_eq!(calls::dunegc_size(p), usable, "dunegc_size of {self:?}");
        assert_eq!(
            calls::malloc_usable_size(p),
            usable,
            "malloc_usable_size of {self:?}"
        );
    }
}

impl Model {
    /// Enters an object that was just allocated, and checks what was promised for it.
    pub fn enter(
        &mut self,
        p: *mut c_void,
        size: usize,
        kind: Kind,
        align: usize,
        zeroed: bool,
    ) -> Id {
        let id = self.next;
        self.next += 1;
        let object = Object {
            hidden: !(p as usize),
            size,
            usable: calls::GC_size(p),
            kind,
            seed: id << 8 | id & 0xff,
            edges: BTreeMap::new(),
            pins: 0,
            finalizer: None,
            lost: false,
        };
        object.check_place();
        assert_eq!(
            p as usize % align.max(16),
            0,
            "{object:?} is not at a multiple of {align}"
        );
        if zeroed {
            // SAFETY: the object is at least that long, and new.
            let bytes = unsafe { core::slice::from_raw_parts(p.cast::<u8>(), size) };
            assert!(bytes.iter().all(|&b| b == 0), "{object:?} is not zero");
        }
        self.check_free(&object);
        object.fill();
        self.objects.insert(id, object);
        id
    }

    /// No object that must be there lies in the memory of a new one, and no link leads to what was there before.
    fn check_free(&self, new: &Object) {
        let (lo, hi) = (new.address(), new.address() + new.usable);
        for (id, o) in &self.objects {
            let apart = o.address() + o.usable <= lo || hi <= o.address();
            assert!(apart, "the new {new:?} lies in object {id}: {o:?}");
        }
        for l in &self.links {
            let dangling = l.target.is_none() && self.link_value(l) == Some(new.hidden());
            assert!(
                !dangling,
                "{l:?} was not cleared, and its object's memory is used again"
            );
        }
    }

    /// An object that the program can use, chosen by `n`.
    pub fn choose(&self, n: usize) -> Option<Id> {
        let usable = self.objects.iter().filter(|(_, o)| !o.lost);
        let count = usable.clone().count();
        (count > 0).then(|| {
            *usable
                .clone()
                .nth(n % count)
                .expect("less than the count")
                .0
        })
    }

    /// The content of object `id` is what was written.
    pub fn check(&self, id: Id) {
        let o = &self.objects[&id];
        o.check_place();
        for i in 0..o.words() {
            let want = match o.edges.get(&i) {
                Some((to, delta)) => self.objects[to].address() + delta,
                None => match self.links.iter().find(|l| l.is_in(id, i)) {
                    Some(l) => {
                        self.check_link(l);
                        continue;
                    }
                    None => pattern(o.seed, i),
                },
            };
            assert_eq!(o.read(i), want, "word {i} of object {id}: {o:?}");
        }
        assert!(
            o.tail().iter().all(|&b| b == o.seed as u8),
            "last bytes of object {id}: {o:?}"
        );
    }

    /// Everything that must be intact is.
    pub fn check_all(&self) {
        self.objects.keys().for_each(|&id| self.check(id));
        self.links.iter().for_each(|l| self.check_link(l));
    }

    /// Writes a pointer to byte `delta` of `to` into word `i` of `from`.
    pub fn set_edge(&mut self, from: Id, i: usize, to: Id, delta: usize) {
        self.drop_link_in(from, i);
        let value = self.objects[&to].address() + delta;
        let o = self.objects.get_mut(&from).expect("chosen");
        o.edges.insert(i, (to, delta));
        o.write(i, value);
    }

    /// Overwrites a pointer.
    pub fn remove_edge(&mut self, from: Id, i: usize) {
        let o = self.objects.get_mut(&from).expect("chosen");
        o.edges.remove(&i);
        o.reset(i);
    }

    /// Points root word `i` into `to`, or nowhere.
    pub fn set_root(&mut self, i: usize, to: Option<(Id, usize)>) {
        self.roots[i] = to.map(|(id, _)| id);
        memory::set_root(
            i,
            to.map_or(0, |(id, delta)| self.objects[&id].address() + delta),
        );
    }

    /// Everything that leads to `id` is taken back, as a program must before it frees an object or resizes it.
    pub fn detach(&mut self, id: Id) {
        for i in 0..self.roots.len() {
            if self.roots[i] == Some(id) {
                self.set_root(i, None);
            }
        }
        let pointing: Vec<_> = self
            .objects
            .iter()
            .flat_map(|(&from, o)| o.edges.iter().map(move |(&i, &(to, _))| (from, i, to)))
            .filter(|&(_, _, to)| to == id)
            .collect();
        pointing
            .into_iter()
            .for_each(|(from, i, _)| self.remove_edge(from, i));
        self.drop_links_to(id);
        self.drop_links_in(id);
        self.drop_finalizer(id);
        self.forget_data(id);
        while self.objects[&id].pins > 0 {
            self.unpin(id);
        }
    }

    /// Undoes a pin.
    pub fn unpin(&mut self, id: Id) {
        let o = self.objects.get_mut(&id).expect("chosen");
        let want = if o.pins > 0 { 0 } else { -1 };
        assert_eq!(calls::dunegc_unpin(o.pointer()), want, "unpin of {o:?}");
        o.pins = o.pins.saturating_sub(1);
    }

    /// A resized object: its place and size.
    pub fn moved(&mut self, id: Id, p: *mut c_void, size: usize) {
        let o = self.objects.get_mut(&id).expect("chosen");
        o.hidden = !(p as usize);
        o.size = size;
        o.usable = calls::GC_size(p);
        o.check_place();
    }

    /// The set that `from` reaches, itself included.
    pub fn reach(&self, from: impl IntoIterator<Item = Id>) -> Vec<Id> {
        let mut seen = Vec::new();
        let mut work: Vec<Id> = from.into_iter().collect();
        while let Some(id) = work.pop() {
            if !seen.contains(&id) {
                seen.push(id);
                work.extend(self.objects[&id].edges.values().map(|&(to, _)| to));
            }
        }
        seen
    }

    fn is_root(&self, id: Id, o: &Object) -> bool {
        let counts = |i: usize| i < memory::STATIC || self.registered[(i - memory::STATIC) / 2];
        !o.kind.is_collected()
            || o.pins > 0
            || self
                .roots
                .iter()
                .enumerate()
                .any(|(i, &to)| to == Some(id) && counts(i))
            || self
                .objects
                .values()
                .any(|o| o.finalizer.as_ref().is_some_and(|f| f.data == Some(id)))
    }

    /// After a change: objects that nothing reaches are lost, and forgotten unless a finalizer keeps them.
    pub fn settle(&mut self) {
        let roots: Vec<Id> = self
            .objects
            .iter()
            .filter(|&(&id, o)| self.is_root(id, o))
            .map(|(&id, _)| id)
            .collect();
        let live = self.reach(roots);
        for (id, o) in &mut self.objects {
            o.lost = !live.contains(id);
        }
        let finalizable: Vec<Id> = self
            .objects
            .iter()
            .filter(|(_, o)| o.lost && o.finalizer.is_some())
            .map(|(&id, _)| id)
            .collect();
        let kept = self.reach(finalizable);
        let gone: Vec<Id> = self
            .objects
            .keys()
            .copied()
            .filter(|id| !live.contains(id) && !kept.contains(id))
            .collect();
        for id in &gone {
            self.objects.remove(id);
        }
        for i in 0..self.roots.len() {
            if self.roots[i].is_some_and(|to| gone.contains(&to)) {
                self.set_root(i, None);
            }
        }
        self.settle_links(&gone);
    }
}
