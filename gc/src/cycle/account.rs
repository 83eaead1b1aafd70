//! The account of one collection, for statistics, trace and log.

use super::Reason;
use crate::heap::{layout, runs};
use crate::mark::marker::Tally;
use crate::pacer;
use crate::stats::{self, CycleRecord};
use crate::sys::clock::now_ns;
use crate::trace::{self, Counter, CycleSummary, Span};

/// What is counted while a collection runs.
pub(super) struct Account {
    span: Span,
    begun: u64,
    reclaimed: u64,
    record: CycleRecord,
    summary: CycleSummary,
}

impl Account {
    /// A collection begins, and `span` with it; the last one's sweep freed `reclaimed` bytes in `sweep_ns`.
    pub fn begin(
        span: Span,
        reason: Reason,
        begun: u64,
        (reclaimed, sweep_ns): (u64, u64),
        markers: usize,
    ) -> Self {
        let before_bytes = (pacer::live() + pacer::since()) as u64;
        trace::counter(Counter::Collected, before_bytes);
        stats::record_sweep(sweep_ns);
        Account {
            span,
            begun,
            reclaimed,
            record: CycleRecord::default(),
            summary: CycleSummary {
                why: reason.name(),
                before_bytes,
                markers: markers as u32,
                ..CycleSummary::default()
            },
        }
    }

    /// The world was stopped from `from` to `to`; until every thread stood it took `stopping` ns.
    pub fn stopped(&mut self, from: u64, to: u64, stopping: u64) {
        let ns = to - from;
        stats::record_pause(ns);
        self.record.stop_ns += stopping;
        let s = &mut self.summary;
        s.stops += 1;
        s.stop_ns += ns;
        s.stop_max_ns = s.stop_max_ns.max(ns);
    }

    /// Written pages were asked for: so many bytes.
    pub fn harvested(&mut self, bytes: usize) {
        self.summary.harvests += 1;
        self.summary.dirty_pages += (bytes / 4096) as u64;
    }

    /// Marking took `ns`.
    pub fn marked(&mut self, ns: u64) {
        self.record.mark_ns += ns;
    }

    /// It is over.
    pub fn end(mut self, live: usize, tally: &Tally) {
        stats::record_cycle(CycleRecord {
            live_bytes: live as u64,
            reclaimed_bytes: self.reclaimed,
            roots_bytes: tally.roots,
            objects_marked: tally.objects,
            ..self.record
        });
        self.span.set(live as u64);
        let heap = runs::figures();
        trace::cycle_done(&CycleSummary {
            number: stats::collections(),
            duration_ns: now_ns() - self.begun,
            marked_bytes: live as u64,
            marked_objects: tally.objects,
            heap_bytes: (heap.in_use * layout::BLOCK) as u64,
            free_bytes: (heap.dirty * layout::BLOCK) as u64,
            ..self.summary
        });
    }
}
