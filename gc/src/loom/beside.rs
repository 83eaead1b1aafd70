//! A collection beside the running program: what the program stores while a marker reads, what harvests report of it, and
//! which objects the sweep spares. With rules left out one by one, to see that the model notices what each is for.
//!
//! An object has one word and a page of its own. A store and its report are one step: a store that finds its page protected is held up in
//! the kernel until the page counts as written, and a harvest returns only when no processor uses the old protection any more. The program
//! is a list of steps; how many of them come before each stop is tried in every combination, so that a stop is a join.

use super::slot::{self, BORN, REACHED};
use crate::sync::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use loom::sync::Arc;
use loom::thread;
use std::vec::Vec;

/// Objects by number; 0 is the null pointer. The first two are referred to by constant roots, each by one.
const LEFT: usize = 1;
const RIGHT: usize = 2;
/// What the program moves. At first only the left object refers to it.
const MOVED: usize = 3;
/// A free slot in the cache of the program's thread, which it may use.
const SLOT: usize = 4;

/// The page was written since it was last protected.
const WRITTEN: usize = 1 << 8;

struct Object {
    mark: AtomicU8,
    /// The object it refers to, and [`WRITTEN`].
    word: AtomicUsize,
}

/// One step of the program, with the heap and two registers. No step reads the heap: loom looks for other orders only against the last access to a
/// word, which would be the program's own.
type Step = fn(&World, &mut [usize; 2]);

struct World {
    objects: [Object; 5],
    rules: Rules,
}

/// What the protocol consists of; each can be left out.
#[derive(Clone, Copy)]
struct Rules {
    /// What was written is asked for once more in the last stop.
    last_harvest: bool,
    /// Pages are protected again before what they hold is read.
    protect_first: bool,
    /// Objects handed out during the mark phase are marked.
    born: bool,
    /// The last stop traces none of them.
    bounded: bool,
    /// They too are scanned where they were written.
    scan_born: bool,
    /// What was written during a collection is scanned by the next one that keeps its marks.
    aged: bool,
}

const ALL: Rules = Rules {
    last_harvest: true,
    protect_first: true,
    born: true,
    bounded: true,
    scan_born: true,
    aged: true,
};

impl World {
    fn new(rules: Rules) -> World {
        let object = |refers_to| Object {
            mark: AtomicU8::new(0),
            word: AtomicUsize::new(refers_to | WRITTEN),
        };
        World {
            objects: [object(0), object(MOVED), object(0), object(0), object(0)],
            rules,
        }
    }

    fn load(&self, object: usize) -> usize {
        self.objects[object].word.load(Relaxed) & !WRITTEN
    }

    fn store(&self, object: usize, value: usize) {
        self.objects[object].word.swap(value | WRITTEN, Relaxed);
    }

    /// Marks `object` and all that it leads to.
    fn reach(&self, object: usize) {
        let mut object = object;
        while object != 0 && slot::reach(&self.objects[object].mark, || false) {
            object = self.load(object);
        }
    }

    /// Scans the marked ones of the objects that were written.
    fn rescan(&self, written: &[usize]) {
        for &i in written {
            let mark = self.objects[i].mark.load(Relaxed);
            if mark == REACHED || mark == BORN && self.rules.scan_born {
                self.reach(self.load(i));
            }
        }
    }

    /// Which pages were written since they were last protected; they are protected again.
    fn harvest(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for i in 1..self.objects.len() {
            let keep = if self.rules.protect_first {
                !WRITTEN
            } else {
                !0
            };
            if self.objects[i].word.fetch_and(keep, Relaxed) & WRITTEN != 0 {
                found.push(i);
            }
        }
        found
    }

    /// Where [`Rules::protect_first`] is left out.
    fn protect_late(&self, pages: &[usize]) {
        if !self.rules.protect_first {
            for &i in pages {
                self.objects[i].word.fetch_and(!WRITTEN, Relaxed);
            }
        }
    }

    /// A collection of everything, with the program at `steps`, the middle ones of which it does meanwhile. The pages that were written
    /// during it.
    fn collect(
        world: &Arc<World>,
        registers: &mut [usize; 2],
        before: &[Step],
        meanwhile: &'static [Step],
    ) -> Vec<usize> {
        world.protect_late(&world.harvest());
        before.iter().for_each(|step| step(world, registers));
        // The first stop.
        let roots = *registers;
        let cached = !roots.contains(&SLOT) && world.load(LEFT) != SLOT;
        if world.rules.born && cached {
            slot::hand_out(&world.objects[SLOT].mark, true);
        }
        let program = {
            let (world, mut registers) = (world.clone(), roots);
            thread::spawn(move || {
                meanwhile
                    .iter()
                    .for_each(|step| step(&world, &mut registers));
                registers
            })
        };
        for root in [LEFT, RIGHT, roots[0], roots[1]] {
            world.reach(root);
        }
        let mut aging = world.harvest();
        world.rescan(&aging);
        world.protect_late(&aging);
        // The last stop.
        *registers = program.join().unwrap();
        let was_marked = world.objects[SLOT].mark.load(Relaxed) != 0;
        if world.rules.last_harvest {
            let written = world.harvest();
            world.rescan(&written);
            aging.extend(written);
        }
        world.finish(registers);
        let is_marked = world.objects[SLOT].mark.load(Relaxed) != 0;
        assert!(
            !world.rules.bounded || !cached || was_marked || !is_marked,
            "the last stop traces what was allocated meanwhile"
        );
        world.sweep();
        aging
    }

    /// A collection in one stop that keeps the marks of the last one, during which `aged` was written.
    fn collect_short(&self, registers: &[usize; 2], aged: &[usize]) {
        let written = self.harvest();
        self.rescan(&written);
        if self.rules.aged {
            self.rescan(aged);
        }
        self.finish(registers);
        self.sweep();
    }

    /// The end of marking, in the last stop: all roots. Then everything reachable is marked.
    fn finish(&self, registers: &[usize; 2]) {
        let roots = [LEFT, RIGHT, registers[0], registers[1]];
        roots.iter().for_each(|&root| self.reach(root));
        for root in roots {
            let mut object = root;
            while object != 0 {
                let mark = self.objects[object].mark.load(Relaxed);
                assert_ne!(mark, 0, "object {object} is lost");
                object = self.load(object);
            }
        }
    }

    /// The sweep takes the marks of the newborn back.
    fn sweep(&self) {
        for object in &self.objects {
            if object.mark.load(Relaxed) == BORN {
                object.mark.store(0, Relaxed);
            }
        }
    }
}

/// Moves the only reference from the left object to the right one, which it writes twice.
const TRANSFER: &[Step] = &[
    |_, r| r[0] = MOVED,
    |w, _| w.store(RIGHT, 0),
    |w, _| w.store(LEFT, 0),
    |w, r| w.store(RIGHT, r[0]),
    |_, r| r[0] = 0,
];

/// Puts a new object, in a slot of the cache, between the left one and what that refers to.
const INSERT: &[Step] = &[
    |_, r| r[0] = MOVED,
    |w, _| w.store(LEFT, 0),
    |_, r| r[1] = SLOT,
    |w, r| w.store(SLOT, r[0]),
    |w, r| w.store(LEFT, r[1]),
    |_, r| *r = [0, 0],
];

/// The program does `steps` while a collection runs, before it, and between it and a generational one.
fn check(rules: Rules, steps: &'static [Step]) {
    for first in 0..=steps.len() {
        for last in first..=steps.len() {
            for next in last..=steps.len() {
                loom::model(move || {
                    let world = Arc::new(World::new(rules));
                    let mut registers = [0, 0];
                    let aged = World::collect(
                        &world,
                        &mut registers,
                        &steps[..first],
                        &steps[first..last],
                    );
                    steps[last..next]
                        .iter()
                        .for_each(|step| step(&world, &mut registers));
                    world.collect_short(&registers, &aged);
                });
            }
        }
    }
}

#[test]
fn loom_a_moved_reference_is_found() {
    check(ALL, TRANSFER);
}

#[test]
fn loom_what_a_new_object_refers_to_is_found() {
    check(ALL, INSERT);
}

#[test]
#[should_panic(expected = "object 3 is lost")]
fn loom_without_a_last_harvest_a_moved_object_is_lost() {
    let rules = Rules {
        last_harvest: false,
        ..ALL
    };
    check(rules, TRANSFER);
}

#[test]
#[should_panic(expected = "object 3 is lost")]
fn loom_without_a_last_harvest_what_a_new_object_refers_to_is_lost() {
    let rules = Rules {
        last_harvest: false,
        ..ALL
    };
    check(rules, INSERT);
}

#[test]
#[should_panic(expected = "object 3 is lost")]
fn loom_what_is_read_before_it_is_protected_is_lost() {
    let rules = Rules {
        protect_first: false,
        ..ALL
    };
    check(rules, TRANSFER);
}

#[test]
#[should_panic(expected = "object 3 is lost")]
fn loom_what_only_an_unscanned_new_object_refers_to_is_lost() {
    let rules = Rules {
        scan_born: false,
        ..ALL
    };
    check(rules, INSERT);
}

/// Born marks are not for finding: an object without one is found from roots or from what was written. They keep it out of the last stop.
#[test]
#[should_panic(expected = "the last stop traces what was allocated meanwhile")]
fn loom_without_born_marks_the_last_stop_traces_new_objects() {
    let rules = Rules { born: false, ..ALL };
    check(rules, INSERT);
}

/// As long as objects are not born marked, and the last stop may trace them.
#[test]
fn loom_without_born_marks_new_objects_are_found() {
    let rules = Rules {
        born: false,
        bounded: false,
        ..ALL
    };
    check(rules, INSERT);
    check(rules, TRANSFER);
}

#[test]
#[should_panic(expected = "is lost")]
fn loom_without_aged_pages_what_was_born_is_lost_to_the_next_generation() {
    let rules = Rules { aged: false, ..ALL };
    check(rules, INSERT);
}
