//! Changes a translation many times. What is read after each flush is what the tables say.

use dunegc_tests::pages;
use libdune::arch::pte::{Rights, Value};
use libdune::table::Flush;
use libdune::{Config, Dune};

const PAGES: usize = 64;

fn main() {
    let memory = pages(PAGES + 1);
    for (i, page) in memory.chunks_mut(4096).enumerate() {
        page.fill(i as u8);
    }
    let start = memory.as_ptr() as usize;
    let dune = Dune::enter(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    dune.map(start, memory.len()).expect("pages");
    let window = start + PAGES * 4096;
    let entry = dune.entry(window).expect("known");
    let frames: Vec<u64> = (0..PAGES)
        .map(|i| dune.entry(start + i * 4096).expect("known").load().frame())
        .collect();
    let (mut right, mut targeted) = (0, true);
    for round in 0..20 * PAGES {
        let page = round * 7 % PAGES;
        entry.swap(Value::page(frames[page], Rights::R));
        let flush = if targeted {
            let mut one = Flush::nothing();
            one.add(window as u64);
            one
        } else {
            Flush::everything()
        };
        targeted = !targeted;
        dune.flush(flush).expect("inside");
        // SAFETY: the window's page, mapped all the time.
        right += usize::from(unsafe { (window as *const u8).read_volatile() } == page as u8);
    }
    println!("{right} of {} right", 20 * PAGES);
}
