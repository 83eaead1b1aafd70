//! What every source has in common: the list of ranges, and `Everything` after a failure.

use super::failure::Failure;
use super::ranges::{Range, Ranges};
use core::fmt;

/// When a harvest is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The program runs: reported pages are tracked on.
    Running,
    /// The world is stopped.
    Stopped {
        /// What is reported is tracked on behind this harvest. Otherwise later harvests report it too, until one that tracks on.
        keep: bool,
    },
}

impl When {
    /// Reported pages must be protected again.
    pub fn goes_on(self) -> bool {
        self != When::Stopped { keep: false }
    }
}

/// What a harvest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// So many pages were reported, and no other page of the tracked ranges was written.
    Pages(usize),
    /// Any page may have been written. What was reported is part of it.
    Everything,
}

/// Why nothing is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSource {
    /// The source is [`Kind::None`](super::Kind::None).
    Never,
    /// It stopped working.
    Failed(Failure),
}

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSource::Never => f.write_str("no source of written pages"),
            NoSource::Failed(failure) => failure.fmt(f),
        }
    }
}

/// One way to learn of written pages. The seam's contract (see the module) holds for each; [`Tracking`] keeps the list of
/// ranges, and turns an error into [`Outcome::Everything`].
pub trait Source {
    /// All pages of `ranges` are clean from the return on.
    ///
    /// # Errors
    /// The source does not work (any more).
    fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource>;

    /// The same for one more range while armed.
    ///
    /// # Errors
    /// The source does not work any more.
    fn track(&mut self, range: Range) -> Result<(), Failure>;

    /// Reports to `sink` what was written in `ranges`, which are those armed and tracked.
    ///
    /// # Errors
    /// The source does not work any more; any page may have been written.
    fn harvest(
        &mut self,
        ranges: &[Range],
        when: When,
        sink: &mut dyn FnMut(Range),
    ) -> Result<Outcome, Failure>;

    /// The cycle is over.
    fn disarm(&mut self, ranges: &[Range]);
}

/// A source and what it tracks.
pub struct Tracking<S> {
    source: S,
    ranges: Ranges,
    armed: bool,
    /// Until the next arm any page may have been written.
    lost: bool,
    failure: Option<Failure>,
}

impl<S> Tracking<S> {
    /// Nothing armed.
    pub const fn new(source: S) -> Self {
        Tracking {
            source,
            ranges: Ranges::new(),
            armed: false,
            lost: false,
            failure: None,
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The source, to be tampered with by tests.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Another source; what was armed is lost.
    pub fn replace(&mut self, source: S) {
        self.source = source;
        self.lost = true;
    }

    /// Something is armed and nothing was lost since.
    pub fn is_armed(&self) -> bool {
        self.armed && !self.lost
    }

    /// What is armed and tracked.
    pub fn ranges(&self) -> &[Range] {
        self.ranges.as_slice()
    }

    /// Why the last calls failed, once.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }
}

impl<S: Source> Tracking<S> {
    /// See [`arm`](super::arm).
    ///
    /// # Errors
    /// The source is none, or does not work any more.
    pub fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
        self.disarm();
        self.ranges.clear();
        for &r in ranges {
            let pushed = self.ranges.push(r);
            pushed.map_err(|e| NoSource::Failed(Failure::Call("list of ranges", e)))?;
        }
        self.source.arm(self.ranges.as_slice())?;
        self.lost = false;
        self.armed = true;
        Ok(())
    }

    /// See [`track`](super::track).
    pub fn track(&mut self, range: Range) {
        if !self.armed || self.lost || range.is_empty() {
            return;
        }
        let pushed = self.ranges.push(range);
        let tracked = pushed
            .map_err(|e| Failure::Call("list of ranges", e))
            .and_then(|()| self.source.track(range));
        if let Err(failure) = tracked {
            self.lose(failure);
        }
    }

    /// See [`harvest`](super::harvest).
    pub fn harvest(&mut self, when: When, sink: &mut dyn FnMut(Range)) -> Outcome {
        if !self.armed || self.lost {
            return Outcome::Everything;
        }
        match self.source.harvest(self.ranges.as_slice(), when, sink) {
            Ok(outcome) => outcome,
            Err(failure) => {
                self.lose(failure);
                Outcome::Everything
            }
        }
    }

    /// See [`disarm`](super::disarm).
    pub fn disarm(&mut self) {
        if self.armed {
            self.source.disarm(self.ranges.as_slice());
        }
        self.armed = false;
    }

    fn lose(&mut self, failure: Failure) {
        self.lost = true;
        self.failure = Some(failure);
    }
}
