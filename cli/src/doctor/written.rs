//! Sources of written pages: whether each works in this process, and what it costs.

use super::report::Check;
use dunegc::dirty::{self, Kind, Outcome, Range, Tracking, When};
use std::io::{Read, Write};
use std::ptr;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// 16 MiB: enough for a figure, and done in some milliseconds.
const PAGES: usize = 4096;

/// A private mapping with every page present, in small pages.
struct Pages(*mut u8);

impl Pages {
    fn new() -> Option<Self> {
        // SAFETY: a fresh anonymous mapping anywhere, and advice for it.
        let p = unsafe {
            let p = libc::mmap(
                ptr::null_mut(),
                PAGES * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if p != libc::MAP_FAILED {
                libc::madvise(p, PAGES * PAGE, libc::MADV_NOHUGEPAGE);
            }
            p
        };
        (p != libc::MAP_FAILED).then(|| {
            let pages = Pages(p.cast());
            pages.write();
            pages
        })
    }

    fn range(&self) -> Range {
        Range::covering(self.0 as usize, self.0 as usize + PAGES * PAGE)
    }

    /// Writes one byte in every page.
    fn write(&self) {
        for i in 0..PAGES {
            // SAFETY: inside the mapping, which is writable and ours.
            unsafe { self.0.add(i * PAGE).write_volatile(1) };
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; nothing points into it any more.
        unsafe { libc::munmap(self.0.cast(), PAGES * PAGE) };
    }
}

/// What a source costs, the least of several tries.
struct Cost {
    first_write: Duration,
    harvest: Duration,
}

/// Nanoseconds per page.
fn per_page(d: Duration) -> u128 {
    d.as_nanos() / PAGES as u128
}

/// Measures `kind`; `None` if it reports too little or stops working.
fn measure(kind: Kind) -> Option<Cost> {
    let pages = Pages::new()?;
    let mut tracking = Tracking::new(dirty::open(kind).ok()?);
    let mut cost = Cost {
        first_write: Duration::MAX,
        harvest: Duration::MAX,
    };
    for _ in 0..5 {
        tracking.arm(&[pages.range()]).ok()?;
        let start = Instant::now();
        pages.write();
        cost.first_write = cost.first_write.min(start.elapsed());
        let start = Instant::now();
        let outcome = tracking.harvest(When::Running, &mut |_| {});
        cost.harvest = cost.harvest.min(start.elapsed());
        if outcome != Outcome::Pages(PAGES) {
            return None;
        }
        tracking.disarm();
    }
    Some(cost)
}

/// The same in guest mode: in a child process, which is there for that only and ends within a time limit.
fn measure_in_guest(kind: Kind) -> Option<Cost> {
    let (mut from, mut to) = std::io::pipe().ok()?;
    // SAFETY: the child uses no lock that another thread may hold but malloc's, which fork takes care of; it ends without running the parent's destructors.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: a guest that makes no progress ends the child.
        unsafe { libc::alarm(20) };
        let mut measure = || {
            let config = libdune::Config {
                whole: true,
                ..libdune::Config::default()
            };
            libdune::Dune::enter(config).ok()?;
            dirty::offer(&libdune::interface::INTERFACE);
            let cost = measure(kind)?;
            let [a, b] = [cost.first_write, cost.harvest].map(|d| d.as_nanos() as u64);
            to.write_all(&[a.to_ne_bytes(), b.to_ne_bytes()].concat())
                .ok()
        };
        let failed = measure().is_none();
        // SAFETY: ends the child.
        unsafe { libc::_exit(failed.into()) };
    }
    drop(to);
    let mut all = [0; 16];
    let read = from.read_exact(&mut all);
    if child > 0 {
        // SAFETY: waits for our own child; no status is wanted.
        unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    }
    read.ok()?;
    let number = |i: usize| u64::from_ne_bytes(all[i..i + 8].try_into().unwrap_or_default());
    Some(Cost {
        first_write: Duration::from_nanos(number(0)),
        harvest: Duration::from_nanos(number(8)),
    })
}

/// Checks of all sources, best first.
pub fn sources() -> Vec<Check> {
    let named = |kind: Kind| match kind {
        Kind::Dune => Some(("dune", "preferred in guest mode")),
        Kind::DuneWp => Some(("dune-wp", "used only if DUNEGC_DIRTY asks for it")),
        Kind::PagemapScan => Some(("pagemap-scan", "preferred")),
        Kind::SoftDirty => Some(("soft-dirty", "used where pagemap-scan does not work")),
        Kind::Mprotect => Some(("mprotect", "used only if DUNEGC_DIRTY asks for it")),
        Kind::None => None,
    };
    Kind::ALL
        .into_iter()
        .filter_map(|kind| named(kind).map(|(name, note)| check(kind, name, note)))
        .collect()
}

fn check(kind: Kind, name: &'static str, note: &str) -> Check {
    let guest = matches!(kind, Kind::Dune | Kind::DuneWp);
    let refused = if guest {
        libdune::Dune::probe().err().map(|e| e.to_string())
    } else {
        dirty::available(kind).err().map(|e| e.to_string())
    };
    if let Some(e) = refused {
        return Check::ok(name, format!("not available ({e})"), note);
    }
    let cost = if guest {
        measure_in_guest(kind)
    } else {
        measure(kind)
    };
    let value = match cost {
        Some(cost) => format!(
            "works{}: first write to a page {} ns, harvest of a written page {} ns",
            if guest { " in guest mode" } else { "" },
            per_page(cost.first_write),
            per_page(cost.harvest)
        ),
        None => return Check::warn(name, "does not report what was written", note),
    };
    Check::ok(name, value, note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_to_a_verdict() {
        let all = sources();
        assert_eq!(all.len(), 5);
        for check in &all {
            assert!(!check.value.is_empty());
        }
        // mprotect needs nothing from the system.
        assert!(all[4].value.starts_with("works: "), "{}", all[4].value);
        if libdune::Dune::probe().is_ok() {
            for check in &all[..2] {
                let value = &check.value;
                assert!(value.starts_with("works in guest mode: "), "{value}");
            }
        }
    }
}
