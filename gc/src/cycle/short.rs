//! A short collection with the world stopped: it keeps the marks of the last one, and looks from the roots and from what was
//! written since for what is new.

use super::account::Account;
use super::phases::{scope, set_out};
use super::{Cycle, Reason};
use crate::heap::sweep;
use crate::hooks;
use crate::mark::marker::Tally;
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::sys::clock::now_ns;
use crate::trace::{self, Event};

/// New bytes per marker: below, another one costs more than it gives.
const PER_MARKER: usize = 256 << 10;

impl Cycle {
    #[inline(always)]
    pub(super) fn run_short(&mut self) -> Result<(), CollectError> {
        let reason = Reason::Allocation;
        let (begun, cycle) = set_out()?;
        let markers =
            pool::markers(pacer::live()).min(1 + self.generations.expected(true) / PER_MARKER);
        pool::ensure_started(markers - 1);
        let mut account = Account::begin(cycle, reason, begun, sweep::progress(), markers);
        let stop_begin = now_ns();
        let stop = trace::span_at(Event::FinalStop, stop_begin);
        let world = self.stop()?;
        let mark_begin = now_ns();
        self.prepare(true);
        let mut span = trace::span(Event::Harvest);
        let written = self.tracked.harvest_stopped();
        span.set((written.unwrap_or(0) / 4096) as u64);
        drop(span);
        account.harvested(written.unwrap_or(0));
        let marked =
            written.and_then(|_| self.mark(&world, scope(), Some(Tally::default()), markers));
        self.expose();
        account.marked(now_ns() - mark_begin);
        let Some(tally) = marked else {
            rescan::clear_marks();
            self.generations.forget();
            self.resume(world);
            return Err(CollectError::NoMemory);
        };
        self.generations.wrote(written.unwrap_or(0));
        let all = self
            .generations
            .marked(tally.bytes as usize, pacer::since(), true);
        let live = self.begin_sweep(reason, &tally, all, 0, true);
        self.end_stop(world, stop, stop_begin, &mut account);
        hooks::event(hooks::Event::SweepBegin, None);
        pool::sweep(self.spare_core);
        account.end(live, &tally);
        hooks::event(hooks::Event::SweepEnd, None);
        hooks::event(hooks::Event::End, None);
        Ok(())
    }
}
