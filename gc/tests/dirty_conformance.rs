//! One suite for every source of written pages that works here, and for one that lies as far as it may.

mod dirty_support;

use dirty_support::*;
use dunegc::dirty::*;

/// All cases for one source.
macro_rules! conformance {
    ($($name:ident: $source:ty),* $(,)?) => { $(
        mod $name {
            use super::*;
            conformance!(@ $source: stores clean_pages_stay_clean string_instructions atomics wide_stores signal_handler
                kernel_writes given_back untouched_memory added_range neighbours_in_any_order replaced_mapping
                replaced_mapping_in_a_stop unmapped huge_pages fork data_segment not_armed);

            #[test]
            fn ten_thousand_rounds_with_one_writer() {
                run(<$source>::NAME, model::one_writer::<$source>);
            }

            #[test]
            fn ten_thousand_rounds_with_four_writers() {
                run(<$source>::NAME, model::four_writers::<$source>);
            }
        }
    )* };
    (@ $source:ty: $($case:ident)*) => { $(
        #[test]
        fn $case() {
            run(<$source>::NAME, cases::$case::<$source>);
        }
    )* };
}

conformance! {
    dune: Dune,
    dune_wp: DuneWp,
    pagemap_scan: PagemapScan,
    soft_dirty: SoftDirty,
    mprotect: Mprotect,
    liar_over_dune: Liar<Dune>,
    liar_over_dune_wp: Liar<DuneWp>,
    liar_over_pagemap_scan: Liar<PagemapScan>,
    liar_over_soft_dirty: Liar<SoftDirty>,
    liar_over_mprotect: Liar<Mprotect>,
}

/// Runs a case if the source works here.
fn run(name: &str, case: fn()) {
    let _alone = alone();
    let kind = Kind::ALL.into_iter().find(|k| name.ends_with(k.name()));
    if matches!(kind, Some(Kind::Dune | Kind::DuneWp)) {
        enter_guest_mode();
    }
    match available(kind.expect("a source")) {
        Ok(()) => case(),
        Err(e) if must_work(name) => panic!("{name}: {e}"),
        Err(e) => eprintln!("skipped: {name} does not work here: {e}"),
    }
}

#[test]
fn auto_takes_the_first_that_works() {
    let _alone = alone();
    let works = |k: &Kind| *k != Kind::Mprotect && available(*k).is_ok();
    let first = Kind::ALL
        .into_iter()
        .find(works)
        .expect("none always works");
    assert_eq!(choose(dunegc::config::Dirty::Auto), first);
    if let Ok(required) = std::env::var("DUNEGC_TEST_DIRTY") {
        assert_eq!(first.name(), required);
    }
}

impl Tested for PagemapScan {
    const NAME: &'static str = "pagemap-scan";
    const PIECE: usize = 1;
    const KERNEL_WRITES: bool = true;
    fn make() -> Self {
        PagemapScan::open().unwrap()
    }
}

impl Tested for SoftDirty {
    const NAME: &'static str = "soft-dirty";
    // Reports again what it has reported.
    const PIECE: usize = 0;
    const KERNEL_WRITES: bool = true;
    fn make() -> Self {
        SoftDirty::open().unwrap()
    }
}

impl Tested for Mprotect {
    const NAME: &'static str = "mprotect";
    const PIECE: usize = 16;
    const KERNEL_WRITES: bool = false;
    fn make() -> Self {
        Mprotect::open().unwrap()
    }
}

impl<S: Tested> Tested for Liar<S> {
    const NAME: &'static str = S::NAME;
    const PIECE: usize = 0;
    const KERNEL_WRITES: bool = S::KERNEL_WRITES;
    const ROUNDS: [usize; 2] = [S::ROUNDS[1]; 2];
    fn make() -> Self {
        Liar(S::make(), Random(0x1234_5678))
    }
}

/// `none` promises nothing, and says so.
#[test]
fn none_is_everything() {
    let m = Memory::filled(4);
    let mut t = Tracking::new(Chosen::None);
    assert_eq!(t.arm(&[m.range()]), Err(NoSource::Never));
    assert!(matches!(running(&mut t, &m), Written::Everything));
    assert!(matches!(last(&mut t, &m), Written::Everything));
}

/// Several threads share a last harvest.
#[test]
fn readers_report_what_the_last_harvest_would() {
    run(PagemapScan::NAME, || {
        let m = Memory::filled(1024);
        assert_eq!(
            choose(dunegc::config::Dirty::PagemapScan),
            Kind::PagemapScan
        );
        assert!(reader(|_| {}).is_none(), "nothing is armed");
        arm(&[m.range()]).unwrap();
        let want: Vec<usize> = (0..1024).step_by(7).collect();
        want.iter().for_each(|&p| m.write(p));
        let mut ranges = Vec::new();
        let reader = reader(|r| ranges.extend_from_slice(r)).unwrap();
        assert_eq!(ranges, [m.range()]);
        let part = |i: usize| {
            let mut got = Vec::new();
            let n = reader.written(m.part(i * 256, i * 256 + 256), &mut |r| {
                got.push((r.start - m.start) / PAGE);
            });
            assert_eq!(n, Ok(got.len()));
            got
        };
        let got: Vec<usize> = std::thread::scope(|s| {
            let all: Vec<_> = (0..4).map(|i| s.spawn(move || part(i))).collect();
            all.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(got, want);
        let last = When::Stopped { keep: false };
        let outcome = dunegc::dirty::harvest(last, &mut |_| {});
        assert_eq!(outcome, Outcome::Pages(want.len()));
        disarm();
        assert!(dunegc::dirty::reader(|_| {}).is_none());
    });
}

/// Somebody else clears the soft-dirty bits between two harvests.
#[test]
fn soft_dirty_bits_cleared_by_the_program() {
    run(SoftDirty::NAME, || {
        let m = Memory::filled(16);
        let mut t = armed::<SoftDirty>(&m);
        m.write(3);
        std::fs::write("/proc/self/clear_refs", "4").unwrap();
        assert!(matches!(running(&mut t, &m), Written::Everything));
        m.write(4);
        running(&mut t, &m).assert_has([4]);
        let Written::Pages(pages) = last(&mut t, &m) else {
            panic!("everything again")
        };
        assert_eq!(pages, [4].into());
    });
}

/// Broken on purpose: the suite must notice.
mod negative_control {
    use super::*;

    /// Leaves out the last range that it should report.
    struct Forgetful(PagemapScan);
    /// Reads first and protects afterwards: what is written in between is lost.
    struct TwoSteps(PagemapScan);

    macro_rules! source {
        ($type:ty, $name:literal, $harvest:expr) => {
            impl Source for $type {
                fn arm(&mut self, ranges: &[Range]) -> Result<(), NoSource> {
                    self.0.arm(ranges)
                }
                fn track(&mut self, range: Range) -> Result<(), Failure> {
                    self.0.track(range)
                }
                fn harvest(
                    &mut self,
                    ranges: &[Range],
                    when: When,
                    sink: &mut dyn FnMut(Range),
                ) -> Result<Outcome, Failure> {
                    let f: fn(
                        &mut PagemapScan,
                        &[Range],
                        When,
                        &mut dyn FnMut(Range),
                    ) -> Result<Outcome, Failure> = $harvest;
                    f(&mut self.0, ranges, when, sink)
                }
                fn disarm(&mut self, ranges: &[Range]) {
                    self.0.disarm(ranges);
                }
            }
            impl Tested for $type {
                const NAME: &'static str = $name;
                const PIECE: usize = 1;
                const KERNEL_WRITES: bool = true;
                fn make() -> Self {
                    Self(PagemapScan::make())
                }
            }
        };
    }

    source!(Forgetful, "forgetful", |inner, ranges, when, sink| {
        let mut found = Vec::new();
        let outcome = inner.harvest(ranges, when, &mut |r| found.push(r))?;
        let Some(last) = found.pop() else {
            return Ok(outcome);
        };
        found.into_iter().for_each(sink);
        let Outcome::Pages(n) = outcome else {
            return Ok(outcome);
        };
        Ok(Outcome::Pages(n - last.pages()))
    });

    source!(TwoSteps, "two steps", |inner, ranges, when, sink| {
        let outcome = inner.harvest(ranges, When::Stopped { keep: false }, sink)?;
        if when.goes_on() {
            std::thread::yield_now();
            let _ = inner.harvest(ranges, when, &mut |_| {})?;
        }
        Ok(outcome)
    });

    fn fails(case: fn()) {
        let _alone = alone();
        if available(Kind::PagemapScan).is_err() {
            assert!(!must_work("pagemap-scan"));
            eprintln!("skipped: pagemap-scan does not work here");
            return;
        }
        assert!(
            std::panic::catch_unwind(case).is_err(),
            "the break was not noticed"
        );
    }

    #[test]
    fn a_forgotten_page_fails_every_case() {
        for case in [
            cases::stores::<Forgetful>,
            cases::clean_pages_stay_clean::<Forgetful>,
            cases::string_instructions::<Forgetful>,
            cases::atomics::<Forgetful>,
            cases::wide_stores::<Forgetful>,
            cases::signal_handler::<Forgetful>,
            cases::kernel_writes::<Forgetful>,
            cases::given_back::<Forgetful>,
            cases::untouched_memory::<Forgetful>,
            cases::added_range::<Forgetful>,
            cases::neighbours_in_any_order::<Forgetful>,
            cases::replaced_mapping::<Forgetful>,
            cases::replaced_mapping_in_a_stop::<Forgetful>,
            cases::unmapped::<Forgetful>,
            cases::huge_pages::<Forgetful>,
            cases::data_segment::<Forgetful>,
        ] {
            fails(case);
        }
    }

    #[test]
    fn a_gap_between_reading_and_protecting_fails_the_model() {
        fails(model::four_writers::<TwoSteps>);
    }
}
