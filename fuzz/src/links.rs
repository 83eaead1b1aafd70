//! Disappearing links: a word with an inverted address, cleared when the object becomes unreachable.

use crate::calls;
use crate::memory;
use crate::model::{Id, Model};

const SUCCESS: i32 = 0;
const DUPLICATE: i32 = 1;
const NOT_FOUND: i32 = 4;

/// Where a link lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Outside the heap.
    Word(usize),
    /// In word `.1` of an object.
    Inside(Id, usize),
}

/// A link that was registered.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Where it lies.
    pub place: Place,
    /// Its object, if it still exists.
    pub target: Option<Id>,
    /// What was written to it.
    hidden: usize,
    /// The object was unreachable at some time: the link may have been cleared.
    may_be_clear: bool,
}

impl Link {
    /// It lies in word `i` of object `id`.
    pub fn is_in(&self, id: Id, i: usize) -> bool {
        self.place == Place::Inside(id, i)
    }
}

impl Model {
    fn word(&self, place: Place) -> *mut usize {
        match place {
            Place::Word(i) => memory::link(i),
            Place::Inside(id, i) => (self.objects[&id].address() as *mut usize).wrapping_add(i),
        }
    }

    /// What stands in a link.
    pub fn link_value(&self, l: &Link) -> Option<usize> {
        // SAFETY: a static word, or a word of an object that exists: links in others are forgotten with them.
        let value = unsafe { self.word(l.place).read() };
        (value != 0).then_some(value)
    }

    /// A link is as it was written, or cleared if its object was unreachable.
    pub fn check_link(&self, l: &Link) {
        match self.link_value(l) {
            Some(value) => assert_eq!(value, l.hidden, "{l:?}"),
            None => assert!(
                l.may_be_clear,
                "{l:?} is clear although its object was always reachable"
            ),
        }
    }

    /// Registers a link to `to`.
    pub fn set_link(&mut self, place: Place, to: Id) {
        let known = self.links.iter().position(|l| l.place == place);
        let registered = known.is_some_and(|at| {
            let old = self.links.swap_remove(at);
            self.link_value(&old).is_some()
        });
        if let Place::Inside(id, i) = place
            && self.objects[&id].edges.contains_key(&i)
        {
            self.remove_edge(id, i);
        }
        let (word, o) = (self.word(place), &self.objects[&to]);
        // SAFETY: as in `link_value`.
        unsafe { word.write(o.hidden()) };
        let want = if registered { DUPLICATE } else { SUCCESS };
        assert_eq!(
            calls::GC_general_register_disappearing_link(word, o.pointer()),
            want,
            "{place:?} to {o:?}"
        );
        let hidden = o.hidden();
        self.links.push(Link {
            place,
            target: Some(to),
            hidden,
            may_be_clear: false,
        });
    }

    /// Unregisters a link and overwrites it.
    pub fn drop_link(&mut self, at: usize) {
        let l = self.links.swap_remove(at);
        self.check_link(&l);
        let word = self.word(l.place);
        let registered = self.link_value(&l).is_some();
        assert_eq!(
            calls::GC_unregister_disappearing_link(word),
            registered.into(),
            "{l:?}"
        );
        match l.place {
            // SAFETY: a static word.
            Place::Word(_) => unsafe { word.write(0) },
            Place::Inside(id, i) => self.objects[&id].reset(i),
        }
    }

    /// Moves a link to a word outside the heap.
    pub fn move_link(&mut self, at: usize, to: usize) {
        let place = Place::Word(to);
        if self.links.iter().any(|l| l.place == place) {
            return;
        }
        let l = self.links[at];
        // The call finds the object by what stands in the link, which has to be an object then.
        if l.target.is_none() {
            return self.drop_link(at);
        }
        self.check_link(&l);
        let (from, word) = (self.word(l.place), self.word(place));
        let value = self.link_value(&l);
        // SAFETY: a static word.
        unsafe { word.write(value.unwrap_or(0)) };
        let want = if value.is_some() { SUCCESS } else { NOT_FOUND };
        assert_eq!(
            calls::GC_move_disappearing_link(from, word),
            want,
            "{l:?} to {place:?}"
        );
        match l.place {
            // SAFETY: a static word.
            Place::Word(_) => unsafe { from.write(0) },
            Place::Inside(id, i) => self.objects[&id].reset(i),
        }
        self.links[at].place = place;
    }

    fn drop_links(&mut self, which: impl Fn(&Link) -> bool) {
        while let Some(at) = self.links.iter().position(&which) {
            self.drop_link(at);
        }
    }

    /// Unregisters the links to `id`.
    pub fn drop_links_to(&mut self, id: Id) {
        self.drop_links(|l| l.target == Some(id));
    }

    /// Unregisters the links that lie in `id`.
    pub fn drop_links_in(&mut self, id: Id) {
        self.drop_links(|l| matches!(l.place, Place::Inside(holder, _) if holder == id));
    }

    /// Unregisters the link in word `i` of `id`, if there is one.
    pub fn drop_link_in(&mut self, id: Id, i: usize) {
        self.drop_links(|l| l.is_in(id, i));
    }

    /// Objects are lost or gone, and links with them.
    pub fn settle_links(&mut self, gone: &[Id]) {
        let objects = &self.objects;
        self.links.retain_mut(|l| {
            if let Some(to) = l.target {
                let o = objects.get(&to);
                l.may_be_clear |= o.is_none_or(|o| o.lost);
                l.target = o.map(|_| to);
            }
            !matches!(l.place, Place::Inside(id, _) if gone.contains(&id))
        });
    }
}
