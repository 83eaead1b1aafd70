//! What an engine must show before it is used.

use crate::error::Error;

/// Pages that the test uses.
pub const PAGES: usize = 64;

/// A guest under test. All pages count as clean at first.
pub trait Subject {
    /// Whether registers of every vector component survive an exit.
    fn keeps_vectors(&mut self) -> bool;
    /// Takes the rights of a page away, stores there, and gives them back in the handler: the address that the handler saw.
    fn fault(&mut self, page: usize) -> Option<usize>;
    /// Stores to a page.
    fn store(&mut self, page: usize);
    /// Reads and clears the page's dirty bit.
    fn take_dirty(&mut self, page: usize) -> bool;
    /// Flushes what was taken.
    fn flush(&mut self);
    /// Whether the time-stamp counter goes on as outside.
    fn keeps_time(&mut self) -> bool;
    /// Ticks for the same computation: inside and outside.
    fn speed(&mut self) -> (u64, u64);
}

/// Slowest computation that is accepted, in hundredths of the time outside.
const SLOWEST: u64 = 200;

/// Runs all tests; the time of a computation inside in hundredths of that outside.
///
/// # Errors
/// The first test that fails.
pub fn check(subject: &mut impl Subject) -> Result<u64, Error> {
    let need = |good: bool, what| {
        if good {
            Ok(())
        } else {
            Err(Error::SelfTest(what))
        }
    };
    need(
        subject.keeps_vectors(),
        "vector registers do not survive an exit",
    )?;
    for page in [0, PAGES - 1] {
        need(
            subject.fault(page) == Some(page),
            "a page fault does not reach its handler with its address",
        )?;
        subject.take_dirty(page);
    }
    subject.flush();
    for round in 0..8 {
        // Different pages each round, some of them the same as before.
        let written = |page: usize| page.is_multiple_of(round + 1);
        (0..PAGES)
            .filter(|p| written(*p))
            .for_each(|p| subject.store(p));
        for page in 0..PAGES {
            let dirty = subject.take_dirty(page);
            need(
                dirty || !written(page),
                "a write does not set the dirty bit again",
            )?;
            need(
                !dirty || written(page),
                "a dirty bit is set without a write",
            )?;
        }
        subject.flush();
    }
    need(
        subject.keeps_time(),
        "the time-stamp counter is another one",
    )?;
    let (inside, outside) = subject.speed();
    let hundredths = inside * 100 / outside.max(1);
    need(
        hundredths <= SLOWEST,
        "code runs at less than half its speed",
    )?;
    Ok(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::pte::{Entry, Rights, Value};

    /// A simulated CPU with a TLB that remembers D, as real ones do.
    struct Simulated {
        entries: Vec<Entry>,
        tlb: [bool; PAGES],
        trouble: Trouble,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Trouble {
        None,
        Vectors,
        NoFault,
        WrongAddress,
        FlushDoesNothing,
        DirtySticks,
        Time,
        Slow,
    }

    impl Simulated {
        fn new(trouble: Trouble) -> Simulated {
            let entry = |i| Entry::new(Value::page(i as u64 * 4096, Rights::RW));
            Simulated {
                entries: (0..PAGES).map(entry).collect(),
                tlb: [false; PAGES],
                trouble,
            }
        }
    }

    impl Subject for Simulated {
        fn keeps_vectors(&mut self) -> bool {
            self.trouble != Trouble::Vectors
        }

        fn fault(&mut self, page: usize) -> Option<usize> {
            self.store(page);
            match self.trouble {
                Trouble::NoFault => None,
                Trouble::WrongAddress => Some(0),
                _ => Some(page),
            }
        }

        fn store(&mut self, page: usize) {
            if !self.tlb[page] {
                self.entries[page].touch(true);
                self.tlb[page] = true;
            }
        }

        fn take_dirty(&mut self, page: usize) -> bool {
            if self.trouble == Trouble::DirtySticks {
                return self.entries[page].load().dirty();
            }
            self.entries[page].take_dirty()
        }

        fn flush(&mut self) {
            if self.trouble != Trouble::FlushDoesNothing {
                self.tlb = [false; PAGES];
            }
        }

        fn keeps_time(&mut self) -> bool {
            self.trouble != Trouble::Time
        }

        fn speed(&mut self) -> (u64, u64) {
            (
                if self.trouble == Trouble::Slow {
                    500
                } else {
                    105
                },
                100,
            )
        }
    }

    #[test]
    fn a_good_engine_passes() {
        assert_eq!(check(&mut Simulated::new(Trouble::None)), Ok(105));
    }

    #[test]
    fn each_trouble_is_named() {
        let said = |trouble| match check(&mut Simulated::new(trouble)) {
            Err(Error::SelfTest(what)) => what,
            other => panic!("{other:?}"),
        };
        assert!(said(Trouble::Vectors).contains("vector"));
        assert!(said(Trouble::NoFault).contains("page fault"));
        assert!(said(Trouble::WrongAddress).contains("page fault"));
        assert!(said(Trouble::FlushDoesNothing).contains("again"));
        assert!(said(Trouble::DirtySticks).contains("without"));
        assert!(said(Trouble::Time).contains("time"));
        assert!(said(Trouble::Slow).contains("speed"));
    }
}
