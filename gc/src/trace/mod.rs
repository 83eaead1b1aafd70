//! What the collector does, as it happens: a trace file (`DUNEGC_TRACE`), USDT probes, and a line per collection
//! (`DUNEGC_LOG=gc`). `docs/tracing.md` tells how to use them.
//!
//! *You must:* end each [`Event`] in the thread that began it, the innermost first; begin [`Event::FinalStop`] only in the
//! thread that stops the world, and end it after the resume.
//! *We guarantee:* reporting an event allocates nothing, takes no lock, waits for no other thread and leaves `errno` alone, so
//! it may be done with the world stopped, in a critical section and in a signal handler. Between begin and end of
//! [`Event::FinalStop`] the events of its thread are kept in memory and written after its end. If nobody listens, an event costs
//! one load and a branch.

mod event;
mod held;
mod log;
mod output;
mod probe;
mod record;
mod unended;

pub use event::{Counter, Event, Point};
pub use log::{CycleSummary, cycle_done};

use crate::sys::clock::now_ns;
use crate::sys::out::Text;
use crate::sys::raw::gettid;
use core::sync::atomic::Ordering::Relaxed;
use event::What;
use probe::LISTENERS;
use record::Record;

/// Stands for the time of the call.
const NOW: u64 = 0;

/// A tracer or a trace file listens.
#[inline(always)]
fn is_on() -> bool {
    LISTENERS.load(Relaxed) != 0
}

/// `event` begins.
#[inline(always)]
pub fn begin(event: Event) {
    begin_at(event, NOW);
}

/// `event` began at `ns` of the monotonic clock, not long ago.
#[inline(always)]
pub fn begin_at(event: Event, ns: u64) {
    if is_on() {
        emit(What::Begin(event), 0, ns);
    }
}

/// `event` ends; `argument` is what its documentation says.
#[inline(always)]
pub fn end(event: Event, argument: u64) {
    end_at(event, argument, NOW);
}

/// `event` ended at `ns` of the monotonic clock, not long ago.
#[inline(always)]
pub fn end_at(event: Event, argument: u64, ns: u64) {
    if is_on() {
        emit(What::End(event), argument, ns);
    }
}

/// Something happens at this moment.
#[inline(always)]
pub fn instant(point: Point, argument: u64) {
    if is_on() {
        emit(What::Point(point), argument, NOW);
    }
}

/// A figure has this value now.
#[inline(always)]
pub fn counter(counter: Counter, value: u64) {
    if is_on() {
        emit(What::Counter(counter), value, NOW);
    }
}

/// Begins `event`, and ends it when dropped.
#[inline(always)]
#[must_use = "the event ends when this is dropped"]
pub fn span(event: Event) -> Span {
    span_at(event, NOW)
}

/// As [`span`], begun at `ns` of the monotonic clock.
#[inline(always)]
#[must_use = "the event ends when this is dropped"]
pub fn span_at(event: Event, ns: u64) -> Span {
    begin_at(event, ns);
    Span {
        event,
        argument: 0,
        ns: NOW,
    }
}

/// An event under way; see [`span`].
pub struct Span {
    event: Event,
    argument: u64,
    ns: u64,
}

impl Span {
    /// Sets the argument with which it will end.
    #[inline(always)]
    pub fn set(&mut self, argument: u64) {
        self.argument = argument;
    }

    /// Ends it with `argument`.
    #[inline(always)]
    pub fn end(mut self, argument: u64) {
        self.argument = argument;
    }

    /// Ends it with `argument` at `ns` of the monotonic clock.
    #[inline(always)]
    pub fn end_at(mut self, argument: u64, ns: u64) {
        (self.argument, self.ns) = (argument, ns);
    }
}

impl Drop for Span {
    #[inline(always)]
    fn drop(&mut self) {
        end_at(self.event, self.argument, self.ns);
    }
}

/// The only place of every probe.
#[cold]
#[inline(never)]
fn emit(what: What, argument: u64, ns: u64) {
    what.probe(argument);
    if !output::is_open() {
        return;
    }
    let record = Record {
        what,
        argument,
        ns: if ns == NOW { now_ns() } else { ns },
        tid: gettid(),
    };
    output::busy(|| {
        let wanted = match what {
            What::Begin(event) => unended::begin(record.tid, event as u8),
            What::End(event) => unended::end(record.tid, event as u8),
            What::Point(_) | What::Counter(_) => true,
        };
        if !wanted {
            return;
        }
        if what == What::Begin(Event::FinalStop) {
            held::begin(record.tid);
        }
        if !held::keep(&record, write) {
            write(&[record]);
        }
        if what == What::End(Event::FinalStop) {
            held::end(record.tid, write);
        }
    });
}

fn write(records: &[Record]) {
    let pid = output::pid();
    let mut lines = Text::<2048>::new();
    for r in records {
        let line = r.line(pid);
        if lines.room() < line.as_bytes().len() {
            output::write(lines.as_bytes());
            lines = Text::new();
        }
        lines.push(line.as_bytes());
    }
    output::write(lines.as_bytes());
}

/// Opens the trace file if the configuration names one. At the start of the heap, and before each collection: the
/// configuration may come later than the first allocation.
#[inline]
pub fn start() {
    output::start();
}

/// In a forked child, which gets a file of its own. The only thread calls it.
pub fn after_fork_child() {
    held::after_fork_child();
    unended::after_fork_child();
    output::after_fork_child();
}

/// In the parent, after a fork.
pub fn after_fork_parent() {
    use core::sync::atomic::AtomicU64;
    static FORKS: AtomicU64 = AtomicU64::new(0);
    instant(Point::Fork, FORKS.fetch_add(1, Relaxed) + 1);
}

/// Ends the trace file at the end of the process, and in it what is under way. Later calls do nothing.
pub fn finish() {
    output::finish(unended::close, || {
        unended::end_all(&mut |tid, event| {
            if let Some(event) = Event::from_index(event) {
                write(&[Record {
                    what: What::End(event),
                    argument: 0,
                    ns: now_ns(),
                    tid,
                }]);
            }
        });
    });
}
