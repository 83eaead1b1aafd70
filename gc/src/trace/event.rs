//! What can be traced: one table of events, from which the names in the trace file and the USDT probes are made.
//!
//! To add an event, add a row; `docs/tracing.md` lists them all (a test compares).

use super::probe::probe;

/// One thing to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Begin(Event),
    End(Event),
    Point(Point),
    Counter(Counter),
}

macro_rules! events {
    (
        spans { $($(#[$span_doc:meta])* $span:ident = $span_name:literal, $span_argument:literal;)* }
        points { $($(#[$point_doc:meta])* $point:ident = $point_name:literal, $point_argument:literal;)* }
        counters { $($(#[$counter_doc:meta])* $counter:ident = $counter_name:literal, $counter_argument:literal;)* }
    ) => {
        /// What lasts: it begins and ends in the same thread, properly nested.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$span_doc])* $span,)* }

        impl Event {
            const ALL: &'static [Event] = &[$(Event::$span,)*];

            /// The event with this number.
            pub(super) fn from_index(i: u8) -> Option<Event> {
                Self::ALL.get(usize::from(i)).copied()
            }
        }

        /// What happens at one moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point { $($(#[$point_doc])* $point,)* }

        /// A figure that is reported whenever it changes noticeably.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$counter_doc])* $counter,)* }

        impl What {
            /// Its name, and that of the argument.
            pub fn names(self) -> (&'static str, &'static str) {
                match self {
                    $(What::Begin(Event::$span) => ($span_name, ""),)*
                    $(What::End(Event::$span) => ($span_name, $span_argument),)*
                    $(What::Point(Point::$point) => ($point_name, $point_argument),)*
                    $(What::Counter(Counter::$counter) => ($counter_name, $counter_argument),)*
                }
            }

            /// Passes through the probe of this event: one `nop`, each at one place of the library.
            #[inline(always)]
            pub fn probe(self, argument: u64) {
                match self {
                    $(What::Begin(Event::$span) => probe!($span_name, "__begin"),)*
                    $(What::End(Event::$span) => probe!($span_name, "__end", argument),)*
                    $(What::Point(Point::$point) => probe!($point_name, "", argument),)*
                    $(What::Counter(Counter::$counter) => probe!($counter_name, "", argument),)*
                }
            }

            /// Every event, spans with both ends.
            #[cfg(test)]
            pub const ALL: &'static [What] = &[
                $(What::Begin(Event::$span), What::End(Event::$span),)*
                $(What::Point(Point::$point),)*
                $(What::Counter(Counter::$counter),)*
            ];
        }
    };
}

events! {
    spans {
        /// A collection, from the decision to its last phase. Ends with the bytes reachable.
        Cycle = "cycle", "live_bytes";
        /// The dirty source begins to watch. Ends with the pages watched.
        Arm = "arm", "pages";
        /// Roots are found, or a thread's are copied. Ends with their bytes.
        Roots = "roots", "bytes";
        /// Marking while the program runs. Ends with the bytes marked.
        MarkConcurrent = "mark_concurrent", "bytes";
        /// Pages written since the last harvest are collected. Ends with their number.
        Harvest = "harvest", "pages";
        /// Objects on written pages are marked again while the program runs. Ends with the bytes marked.
        Remark = "remark", "bytes";
        /// The world stops: from the first signal to the last thread resumed. Ends with the threads that stood.
        FinalStop = "stop", "threads";
        /// Marking with the world stopped. Ends with the bytes marked.
        FinalMark = "mark", "bytes";
        /// A thread sweeps. Ends with the bytes it freed, 0 if it does not know.
        Sweep = "sweep", "bytes";
        /// Storage goes back to the system. Ends with its bytes.
        Release = "release", "bytes";
        /// An allocating thread helps to mark. Ends with the bytes it marked.
        Assist = "assist", "bytes";
        /// An allocation waits for the collector. Ends with the bytes asked for, 0 if it does not know.
        Stall = "stall", "bytes";
    }
    points {
        /// The process was forked; in the parent. The argument counts its forks.
        Fork = "fork", "number";
        /// A collection was given up.
        GivenUp = "given_up", "reason";
    }
    counters {
        /// Bytes in collected objects: before a collection, and what is reachable after it.
        Collected = "collected", "bytes";
        /// Bytes of the blocks in use.
        Heap = "heap", "bytes";
        /// Bytes of free blocks that have storage.
        Free = "free", "bytes";
    }
}
