//! What a dirty source costs, as a table: `cargo test --release -p dunegc --test dirty_cost -- --ignored --nocapture`.

mod dirty_support;

use dirty_support::*;
use dunegc::config::Dirty;
use dunegc::dirty::{self, Kind, Range, Tracking, When};
use std::time::{Duration, Instant};

const PAGES: usize = 65_536;
const TRIES: usize = 7;

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// Kilobytes in huge pages around an address.
fn huge_kilobytes(m: &Memory) -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut inside, mut sum) = (false, 0);
    for line in text.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some((lo, hi)) = first.split_once('-') {
            let hex = |s| usize::from_str_radix(s, 16).unwrap();
            inside = hex(lo) < m.start + m.pages * PAGE && m.start < hex(hi);
        } else if inside && first == "AnonHugePages:" {
            sum += line
                .split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap();
        }
    }
    sum
}

fn memory(huge: bool) -> Memory {
    let m = Memory::new(PAGES);
    if huge {
        m.advise(0, PAGES, libc::MADV_HUGEPAGE);
    }
    (0..PAGES).for_each(|i| m.write(i));
    m
}

fn table(kind: Kind, huge: bool) {
    println!("{kind}, {PAGES} pages, huge pages: {huge}; microseconds, median of {TRIES}");
    let rows = [0, 1, 10, 50, 100].map(|percent| {
        let (mut arm, mut write, mut run, mut last) = (vec![], vec![], vec![], vec![]);
        let mut written = 0;
        let (mut before, mut after) = (0, 0);
        for _ in 0..TRIES {
            let m = memory(huge);
            let mut t = Tracking::new(dirty::open(kind).unwrap());
            arm.push(timed(|| t.arm(&[m.range()]).unwrap()));
            before = huge_kilobytes(&m);
            let mut random = Random(4711);
            let chosen: Vec<usize> = (0..PAGES).filter(|_| random.below(100) < percent).collect();
            written = chosen.len().max(1);
            write.push(timed(|| chosen.iter().for_each(|&p| m.write(p))));
            after = huge_kilobytes(&m);
            last.push(timed(|| {
                let _ = t.harvest(When::Stopped { keep: false }, &mut |_| {});
            }));
            run.push(timed(|| {
                let _ = t.harvest(When::Running, &mut |_| {});
            }));
            t.disarm();
        }
        let us = |all| median(all).as_nanos() as f64 / 1e3;
        let first = us(write) / written as f64;
        format!(
            "{percent:>3} %: arm {:>7.1}, first write {first:>6.2}, harvest running {:>7.1}, last {:>7.1}; AnonHugePages {} -> {} MB",
            us(arm), us(run), us(last), before >> 10, after >> 10
        )
    });
    rows.iter().for_each(|r| println!("  {r}"));
}

#[test]
#[ignore = "prints figures"]
fn costs() {
    let _alone = alone();
    for kind in [Kind::PagemapScan, Kind::SoftDirty, Kind::Mprotect] {
        match dirty::available(kind) {
            Ok(()) => [false, true].into_iter().for_each(|huge| table(kind, huge)),
            Err(e) => println!("{kind}: not available: {e}"),
        }
    }
    if dirty::choose(Dirty::PagemapScan) == Kind::PagemapScan {
        again();
        hints();
        growth();
        segments();
    }
}

/// Arming a heap that was armed before, and is mostly protected still.
fn again() {
    let m = memory(false);
    dirty::arm(&[m.range()]).unwrap();
    dirty::disarm();
    let t = timed(|| dirty::arm(&[m.range()]).unwrap());
    println!("arming again, nothing written: {t:?}");
    let t = timed(|| {
        dirty::expect_writes(m.range());
    });
    println!("expect_writes of all pages: {t:?}");
    let t = timed(|| (0..PAGES).for_each(|i| m.write(i)));
    println!("writing all of them: {t:?}");
}

/// First writes to blocks of 64 KiB with and without the hint.
fn hints() {
    let m = memory(false);
    for hint in [false, true] {
        dirty::arm(&[m.range()]).unwrap();
        let t = timed(|| {
            for block in 0..PAGES / 16 {
                if hint {
                    dirty::expect_writes(m.part(block * 16, block * 16 + 16));
                }
                (0..16).for_each(|i| m.write(block * 16 + i));
            }
        });
        println!(
            "16 first writes, hint {hint}: {:?}",
            t / (PAGES as u32 / 16)
        );
        dirty::disarm();
    }
}

/// Fresh memory that is touched while tracked.
fn growth() {
    let m = Memory::new(PAGES);
    m.advise(0, PAGES, libc::MADV_HUGEPAGE);
    dirty::arm(&[m.range()]).unwrap();
    (0..PAGES).for_each(|i| m.write(i));
    println!(
        "touched for the first time while armed: {} MB in huge pages",
        huge_kilobytes(&m) >> 10
    );
    dirty::disarm();
}

/// The last harvest over many small ranges, as data segments are.
fn segments() {
    let all: Vec<Memory> = (0..100).map(|_| Memory::filled(8)).collect();
    let ranges: Vec<Range> = all.iter().map(Memory::range).collect();
    let arm = median(
        (0..TRIES)
            .map(|_| timed(|| dirty::arm(&ranges).unwrap()))
            .collect(),
    );
    let harvest = |when| {
        let once = || {
            timed(|| {
                assert_ne!(
                    dirty::harvest(when, &mut |_| {}),
                    dirty::Outcome::Everything
                )
            })
        };
        median((0..TRIES).map(|_| once()).collect())
    };
    println!(
        "100 ranges of 8 pages: arm {arm:?}, harvest running {:?}, last {:?}",
        harvest(When::Running),
        harvest(When::Stopped { keep: false })
    );
}
