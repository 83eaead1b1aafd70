//! What the threads' registers say about memory, before the mappings are looked at.
use super::classify::{Class, classify};
use super::ranges::RangeSet;
use super::{ObjectEnd, RootKind, RootRange, object_end};
use crate::sys::map_query;
use crate::sys::proc_maps::{self, Mapping};
use crate::sys::raw::{Errno, getpid};
use crate::sys::scratch::{self, ScratchVec};
use crate::world::{StoppedThread, for_each_exempt_stack};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The highest address of the main thread's stack; 0: not known yet. It stays.
static MAIN_STACK: AtomicUsize = AtomicUsize::new(0);

/// The ABI lets leaf functions use this much below the stack pointer.
const RED_ZONE: usize = 128;

/// A readable mapping.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub start: usize,
    pub end: usize,
    pub class: Class,
    /// Part of a loaded object's data: a private writable file mapping, or memory that directly follows a file mapping and belongs to it.
    pub segment: bool,
    /// Made by the kernel as the main thread's stack.
    pub main_stack: bool,
}

/// Address sets that the walk over the mappings consults.
pub(super) struct Plan {
    /// Not to be scanned: the collector's memory and what the program excluded.
    pub excluded: RangeSet,
    /// Stacks in use, from the stack pointer up.
    pub stacks: RangeSet,
    /// Stacks whose stack pointer is not known: the thread runs on another one.
    pub wholes: RangeSet,
    /// All of the above, the unused parts of stacks, and registered ranges: not scanned as part of their mapping.
    pub holes: RangeSet,
    /// Addresses whose whole mapping counts: stack pointers without bounds, thread pointers. Sorted.
    pub points: ScratchVec<(usize, RootKind)>,
    /// The lowest address in use of the main thread's stack, if it is on its own stack and its bounds are not known; else 0.
    pub main_low: usize,
    /// The readable mappings. All are listed before the first is handed out: whoever collects ranges may map memory for
    /// them, which must not become a root, least of all as it may move.
    pub mappings: ScratchVec<Entry>,
}

impl Plan {
    pub const fn new() -> Self {
        Plan {
            excluded: RangeSet::new(),
            stacks: RangeSet::new(),
            wholes: RangeSet::new(),
            holes: RangeSet::new(),
            points: ScratchVec::new(),
            main_low: 0,
            mappings: ScratchVec::new(),
        }
    }

    /// Starts over. `exclude` is the collector's, `excluded` the program's.
    pub fn begin(&mut self, exclude: &[(usize, usize)], excluded: &RangeSet) -> Result<(), Errno> {
        for set in [
            &mut self.excluded,
            &mut self.stacks,
            &mut self.wholes,
            &mut self.holes,
        ] {
            set.clear();
        }
        self.points.clear();
        self.main_low = 0;
        for (lo, hi) in exclude.iter().chain(excluded.as_slice()) {
            self.excluded.add(*lo, *hi)?;
        }
        for (lo, hi) in self.excluded.as_slice() {
            self.holes.add(*lo, *hi)?;
        }
        let mut result = Ok(());
        for_each_exempt_stack(|lo, hi| result = result.and(self.holes.add(lo, hi)));
        result
    }

    /// Lists the mappings; if only `segments` and what is `registered` count, where possible no others. `Err(Ok(e))`: the kernel's list cannot be read;
    /// `Err(Err(e))`: no memory.
    pub fn list(
        &mut self,
        segments: bool,
        registered: &RangeSet,
    ) -> Result<(), Result<Errno, Errno>> {
        if segments
            && let Some(end) = object_end()
            && self.list_writable(end)?
            && self.covers(registered)
        {
            return Ok(());
        }
        self.mappings.clear();
        let mut full = Ok(());
        let mut sorter = Sorter(0);
        proc_maps::for_each(|m| sorter.take(m, &mut |e| full = full.and(self.mappings.push(e))))
            .map_err(Ok)?;
        full.map_err(Err)
    }

    /// Lists the writable mappings: all segments and stacks are among them. Which memory without a file is part of a segment `object_end` says. False if
    /// that cannot be done.
    fn list_writable(&mut self, object_end: ObjectEnd) -> Result<bool, Result<Errno, Errno>> {
        self.mappings.clear();
        let stack = MAIN_STACK.load(Relaxed);
        if stack == 0 {
            return Ok(false);
        }
        let mut full = Ok(());
        let named = |m: &Mapping<'_>| m.inode != 0 && object_end(m.start).is_none();
        let add = |m: &Mapping<'_>| {
            if !m.read {
                return;
            }
            let follows = m.inode == 0 && object_end(m.start).is_some();
            let first = self.mappings.len();
            entries(m, follows, &mut |e| {
                full = full.and(self.mappings.push(e));
            });
            if (m.start..m.end).contains(&stack)
                && let Some(e) = self.mappings.get_mut(first)
            {
                e.main_stack = true;
            }
        };
        let listed = map_query::for_each_writable(named, add).map_err(Ok)?;
        full.map_err(Err)?;
        Ok(listed)
    }

    /// The mappings cover `set`, as far as that is mapped at all.
    fn covers(&self, set: &RangeSet) -> bool {
        set.as_slice().iter().all(|&(lo, hi)| {
            let mut at = lo;
            let from = self.mappings.partition_point(|m| m.end <= lo);
            for m in &self.mappings[from..] {
                if at >= hi || m.start > at {
                    break;
                }
                at = m.end;
            }
            at >= hi
        })
    }

    /// Takes a thread in: emits its registers, notes its stacks.
    pub fn thread(
        &mut self,
        t: &StoppedThread,
        emit: &mut dyn FnMut(RootRange),
    ) -> Result<(), Errno> {
        let mut registers = |(lo, hi): (usize, usize)| {
            if lo < hi {
                emit(RootRange {
                    lo,
                    hi,
                    kind: RootKind::Registers,
                    transient: false,
                });
            }
        };
        registers(t.registers);
        registers(t.vectors);
        let sp = t.sp;
        // What the caller called since is the collector's, which holds no pointers of the program's but leaves many.
        let unused = if t.is_caller { 0 } else { RED_ZONE };
        let low = sp.saturating_sub(unused);
        let (lo, hi) = t.stack;
        let main = t.tid == getpid();
        // The main thread's bounds follow its resource limit, not its mapping; that one is found by its name.
        let known = lo < hi && lo != 0 && !main;
        let on_stack = !t.on_alt_stack && known && lo <= sp && sp <= hi;
        if on_stack {
            self.stacks.add(low.max(lo), hi)?;
            self.holes.add(lo, hi)?;
        } else if known {
            self.wholes.add(lo, hi)?;
        }
        if t.on_alt_stack {
            self.stacks.add(low.max(t.alt_stack.0), t.alt_stack.1)?;
        } else if !on_stack {
            // A stack that nobody told about; possibly a coroutine's.
            if main {
                self.main_low = low;
            }
            self.point(sp, RootKind::Stack, emit)?;
        }
        if t.stack_end != 0 {
            // It may be on its way there: the program no longer counts that stack among those that wait.
            self.point(t.stack_end - 8, RootKind::Stack, emit)?;
        }
        if t.alt_stack.0 != 0 && self.excluded.contains(t.alt_stack.0) {
            // Programs allocate an alternate signal stack, hand it over and forget where it is: the kernel alone knows.
            let lo = t.alt_stack.0;
            emit(RootRange {
                lo,
                hi: lo + 1,
                kind: RootKind::StackObject,
                transient: false,
            });
        }
        if t.fs_base != 0 && !(on_stack && low <= t.fs_base && t.fs_base < hi) {
            self.point(t.fs_base, RootKind::Tls, emit)?;
        }
        Ok(())
    }

    fn point(
        &mut self,
        addr: usize,
        kind: RootKind,
        emit: &mut dyn FnMut(RootRange),
    ) -> Result<(), Errno> {
        if self.excluded.contains(addr) {
            emit(RootRange {
                lo: addr,
                hi: addr + 1,
                kind: RootKind::StackObject,
                transient: false,
            });
        }
        let at = self.points.partition_point(|p| p.0 < addr);
        self.points.insert(at, (addr, kind))
    }

    /// Threads and mappings are in: completes the holes.
    pub fn finish(&mut self, registered: &RangeSet) -> Result<(), Errno> {
        for set in [&self.stacks, &self.wholes, registered] {
            for (lo, hi) in set.as_slice() {
                self.holes.add(*lo, *hi)?;
            }
        }
        // Growing moves the table itself to where the list may show it: it is noted at its new place on the next round.
        for _ in 0..2 {
            let mut result = Ok(());
            scratch::for_each_mapping(|lo, hi| result = result.and(self.holes.add(lo, hi)));
            result?;
        }
        Ok(())
    }

    /// The sort of the first point in `lo..hi`.
    pub fn point_in(&self, lo: usize, hi: usize) -> Option<RootKind> {
        let i = self.points.partition_point(|p| p.0 < lo);
        self.points.get(i).filter(|p| p.0 < hi).map(|p| p.1)
    }
}

/// Makes entries of the readable ones among mappings that come in ascending order. Holds the end of the last loaded object's.
struct Sorter(usize);

impl Sorter {
    fn take(&mut self, m: &Mapping<'_>, f: &mut impl FnMut(Entry)) {
        // The heap of brk can follow the program's own data.
        let follows = m.inode == 0 && m.start == self.0 && m.path != b"[heap]";
        if follows || m.inode != 0 && !m.shared {
            self.0 = m.end;
        }
        if m.read {
            entries(m, follows, f);
        }
    }
}

/// `addr` lies in a data segment of a loaded object.
pub fn is_in_segment(addr: usize) -> bool {
    let (mut found, mut sorter) = (false, Sorter(0));
    let mut take = |e: Entry| found |= e.segment && (e.start..e.end).contains(&addr);
    // The text: nobody has looked whether a seccomp filter would kill for more.
    let read = proc_maps::for_each(|m| sorter.take(m, &mut take));
    read.is_ok() && found
}

/// A mapping's entry; two if a data segment ends within it.
fn entries(m: &Mapping<'_>, follows: bool, f: &mut impl FnMut(Entry)) {
    let class = classify(m);
    let mut all = Entry {
        start: m.start,
        end: m.end,
        class,
        segment: class == Class::Data,
        main_stack: m.path == b"[stack]",
    };
    if all.main_stack {
        MAIN_STACK.store(m.end - 1, Relaxed);
    }
    if follows && class == Class::Private && m.write {
        let end = object_end().map_or(m.end, |end| end(m.start).map_or(m.start, page_up));
        if m.start < end {
            let end = end.min(m.end);
            f(Entry {
                end,
                segment: true,
                ..all
            });
            all.start = end;
        }
    }
    if all.start < all.end {
        f(all);
    }
}

/// The end of the page with the last byte before `addr`.
fn page_up(addr: usize) -> usize {
    addr.next_multiple_of(4096)
}
