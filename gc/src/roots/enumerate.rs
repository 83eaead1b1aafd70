//! The enumeration: threads first, then one walk over the mappings.
use super::classify::Class;
use super::plan::{Entry, Plan};
use super::ranges::RangeSet;
use super::read::{COPY, Reader, swap_in_use};
use super::registered::{Tables, tables};
use super::{Mappings, RootKind, RootRange, RootsConfig};
use crate::sys::pagemap::Pagemap;
use crate::sys::raw::Errno;
use crate::sys::scratch;
use crate::world::StoppedWorld;
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// Why the roots could not be found. No object may be reclaimed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootsError {
    /// /proc/self/maps cannot be read or parsed; errno.
    NoMaps(i32),
    /// No memory for a table; errno.
    Memory(i32),
}

impl core::fmt::Display for RootsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RootsError::NoMaps(e) => write!(
                f,
                "roots: /proc/self/maps cannot be read (errno {e}); nothing is collected"
            ),
            RootsError::Memory(e) => write!(
                f,
                "roots: no memory for a table (errno {e}); nothing is collected"
            ),
        }
    }
}

/// Hands every root range to `emit`: of every thread but the exempt ones, of the process, and the registered ones. Ranges
/// may overlap. `exclude` lists (first address, address behind) of the collector's own memory: exact ranges, because the
/// kernel joins neighbouring mappings into one. Stacks and registered ranges count even inside.
///
/// Ranges other than transient ones stay readable and unchanged until the world is resumed. Of the calling thread's stack they hold what
/// was in use when the world was stopped.
pub fn enumerate(
    world: &StoppedWorld,
    cfg: RootsConfig,
    exclude: &[(usize, usize)],
    emit: &mut dyn FnMut(RootRange),
) -> Result<(), RootsError> {
    let memory = |e: Errno| RootsError::Memory(e.0);
    // SAFETY: a StoppedWorld exists, so this thread holds the world lock; `add` and its kin wait for it.
    let Tables {
        roots,
        excluded,
        plan,
    } = unsafe { tables() };
    plan.begin(exclude, excluded).map_err(memory)?;
    for t in world.threads() {
        plan.thread(t, emit).map_err(memory)?;
    }
    crate::dirty::beware_of_filters();
    plan.list(cfg.mappings != Mappings::All, roots)
        .map_err(|e| e.map_or_else(memory, |e| RootsError::NoMaps(e.0)))?;
    plan.finish(roots).map_err(memory)?;
    let reader = Reader {
        pagemap: Pagemap::open().ok(),
        copy: copy_buffer().map_err(memory)?,
        swap_in_use: swap_in_use(),
        emit,
    };
    let mut walk = Walk {
        plan,
        roots,
        reader,
        segments_only: cfg.mappings != Mappings::All,
        no_segments: cfg.mappings == Mappings::RegisteredOnly,
    };
    plan.mappings.iter().for_each(|m| walk.mapping(m));
    Ok(())
}

/// A buffer that lives for ever, mapped on first use.
fn copy_buffer() -> Result<usize, Errno> {
    static BUFFER: AtomicUsize = AtomicUsize::new(0);
    if BUFFER.load(Acquire) == 0 {
        BUFFER.store(scratch::map(COPY)? as usize, Release);
    }
    Ok(BUFFER.load(Acquire))
}

struct Walk<'a> {
    plan: &'a Plan,
    roots: &'a RangeSet,
    reader: Reader<'a>,
    segments_only: bool,
    no_segments: bool,
}

impl Walk<'_> {
    fn mapping(&mut self, m: &Entry) {
        self.explicit(m);
        let (plan, reader) = (self.plan, &mut self.reader);
        let point = plan.point_in(m.start, m.end);
        if m.class == Class::Skip
            || self.segments_only
                && (!m.segment || self.no_segments)
                && !m.main_stack
                && point.is_none()
        {
            return;
        }
        let mut lo = m.start;
        if m.main_stack && m.start <= plan.main_low && plan.main_low <= m.end {
            // The kernel made it for the main thread alone: what lies below the stack pointer is unused.
            lo = lo.max(plan.main_low);
        }
        let kind = point.unwrap_or(if m.segment {
            RootKind::Data
        } else {
            RootKind::Mapping
        });
        plan.holes
            .gaps(lo, m.end, |a, b| reader.range(a, b, m.class, kind));
    }

    /// Stacks and registered ranges within a mapping.
    fn explicit(&mut self, m: &Entry) {
        let reader = &mut self.reader;
        within(&self.plan.stacks, m, |a, b| {
            reader.direct(a, b, RootKind::Stack)
        });
        within(&self.plan.wholes, m, |a, b| {
            reader.range(a, b, m.class, RootKind::Stack)
        });
        within(self.roots, m, |a, b| match m.class {
            // Readable, though not writable: the program says that it matters.
            Class::Skip => reader.direct(a, b, RootKind::Registered),
            _ => reader.range(a, b, m.class, RootKind::Registered),
        });
    }
}

/// Calls `f` for the parts of `set` that lie in `m`.
fn within(set: &RangeSet, m: &Entry, mut f: impl FnMut(usize, usize)) {
    let set = set.as_slice();
    let from = set.partition_point(|r| r.1 <= m.start);
    for (lo, hi) in &set[from..] {
        if *lo >= m.end {
            break;
        }
        f((*lo).max(m.start), (*hi).min(m.end));
    }
}
