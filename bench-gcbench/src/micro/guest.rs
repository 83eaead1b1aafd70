//! In guest mode, with the process's own page tables.

use super::{PAGE, PAGES, Row, least, now, pages, sources, write};
use anyhow::Result;
use libdune::arch::pte::Rights;
use libdune::trap::{self, Trap, Verdict};
use libdune::{Config, Dune};
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// The handler protects another page.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static START: AtomicUsize = AtomicUsize::new(0);

fn faulted(trap: &mut Trap) -> Verdict {
    let Some(dune) = Dune::get() else {
        return Verdict::Pass;
    };
    let page = trap.address as usize & !(PAGE - 1);
    if NEXT.load(Relaxed) != 0 {
        protect(dune, super::other(START.load(Relaxed), page), PAGE);
    }
    match dune.protect(page, PAGE, Rights::RW) {
        Ok(_) => Verdict::Resume,
        Err(_) => Verdict::Pass,
    }
}

fn skip(trap: &mut Trap) -> Verdict {
    trap.frame.rip += 2;
    Verdict::Resume
}

fn protect(dune: Dune, at: usize, len: usize) {
    let flush = dune.protect(at, len, Rights::R);
    let done = flush.and_then(|flush| dune.flush(flush));
    assert!(done.is_ok(), "protect");
}

/// All figures.
pub fn all() -> Result<Vec<Row>> {
    let config = Config {
        whole: true,
        ..Config::default()
    };
    let dune = Dune::enter(config).map_err(|e| anyhow::anyhow!("{e}"))?;
    dunegc::dirty::offer(&libdune::interface::INTERFACE);
    let mut rows = Vec::new();
    // Ticks and exits of one of `n` operations in each of the rounds.
    let mut row = |name, n: usize, f: &mut dyn FnMut() -> f64| {
        f();
        let before = dune.stats().exits();
        let ticks = f();
        let exits = (dune.stats().exits() - before) as f64 / (super::ROUNDS * n) as f64;
        rows.push(Row {
            name,
            ticks,
            exits: Some(exits),
        });
    };
    row(
        "system call (getppid)",
        super::CALLS,
        &mut super::system_calls,
    );
    row("first touch of a new page", PAGES, &mut || {
        super::first_touches()
    });
    let error = |e| anyhow::anyhow!("{e}");
    dune.on_exception(trap::DIVIDE, Some(skip)).map_err(error)?;
    let trap_name = "trap (division by zero, handled)";
    row(trap_name, super::CALLS, &mut super::traps);
    dune.on_exception(trap::PAGE_FAULT, Some(faulted))
        .map_err(error)?;
    let at = pages(PAGES);
    START.store(at, Relaxed);
    NEXT.store(1, Relaxed);
    protect(dune, at, PAGE);
    row("Appel 1: prot1 + trap + unprot, a page", PAGES, &mut || {
        least(PAGES, || super::chase(at))
    });
    NEXT.store(0, Relaxed);
    (0..PAGES).for_each(|i| write(at + i * PAGE));
    row("Appel 2: protN + trap + unprot, a page", PAGES, &mut || {
        least(PAGES, || {
            let start = now();
            protect(dune, at, PAGES * PAGE);
            (0..PAGES).for_each(|i| write(at + i * PAGE));
            now() - start
        })
    });
    dune.on_exception(trap::PAGE_FAULT, None).map_err(error)?;
    use dunegc::dirty::Kind;
    for (kind, first, harvests) in [
        (
            Kind::Dune,
            "first write, dune",
            [
                "harvest of 4096 pages, 0 % written, dune",
                "harvest of 4096 pages, 10 % written, dune",
                "harvest of 4096 pages, 100 % written, dune",
            ],
        ),
        (
            Kind::DuneWp,
            "first write, dune-wp",
            [
                "harvest of 4096 pages, 0 % written, dune-wp",
                "harvest of 4096 pages, 10 % written, dune-wp",
                "harvest of 4096 pages, 100 % written, dune-wp",
            ],
        ),
    ] {
        for (name, ticks) in sources::costs(kind, first, harvests) {
            rows.push(Row {
                name,
                ticks,
                exits: None,
            });
        }
    }
    Ok(rows)
}
