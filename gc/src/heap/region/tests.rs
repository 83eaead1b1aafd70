use super::super::{own, testing::fresh_slice};
use super::*;
use std::sync::MutexGuard;
use std::vec::Vec;

fn fresh(options: Options) -> (MutexGuard<'static, ()>, Region) {
    let guard = fresh_slice();
    let mut region = Region::new();
    region.set_up(options);
    (guard, region)
}

/// Writes to the block and to its part of each table.
fn touch(block: usize, optional: bool) {
    let tables = [
        (0, BLOCK),
        (table::INFO, table::INFO_SIZE),
        (table::HEAD, table::HEAD_SIZE),
        (table::MARK, table::MARK_SIZE),
        (table::MARK_REST, table::MARK_SIZE),
        (table::FREE, table::FREE_SIZE),
        (table::SIDE, table::SIDE_SIZE),
    ];
    let more = [
        (table::SUSPECT, table::SUSPECT_SIZE),
        (table::TAG, table::TAG_SIZE),
    ];
    for &(start, size) in tables.iter().chain(if optional { &more[..] } else { &[] }) {
        let at = layout::base() + start + block * size;
        for p in [at, at + size - 1] {
            // SAFETY: the region says that it mapped this block with its tables; if it did not, this faults.
            unsafe {
                assert_eq!(
                    (p as *const u8).read(),
                    0,
                    "table {start:#x} of block {block}"
                );
                (p as *mut u8).write(1);
                (p as *mut u8).write(0);
            }
        }
    }
}

#[test]
fn extents_follow_each_other_with_their_tables() {
    for optional in [false, true] {
        let (_alone, mut region) = fresh(Options {
            suspects: optional,
            tags: optional,
            huge: optional,
        });
        let mut end = 0;
        for want in [1, 64, 65, 1000, 3, 5000, 1] {
            let e = region.grow(want).expect("there is memory");
            assert_eq!(e.first, end);
            assert!(
                e.count >= want && e.count.is_multiple_of(QUANTUM),
                "{e:?} for {want}"
            );
            end = e.first + e.count;
            assert_eq!((region.frontier(), layout::limit()), (end, end * BLOCK));
            for b in [e.first, e.first + e.count / 2, end - 1] {
                touch(b, optional);
            }
        }
    }
}

/// The heap grows by a quarter, so that many small requests need few system calls.
#[test]
fn growth_is_proportional() {
    let (_alone, mut region) = fresh(Options::default());
    assert_eq!(region.grow(1).expect("there is memory").count, 4 * QUANTUM);
    region.grow(8000).expect("there is memory");
    let frontier = region.frontier();
    assert_eq!(
        region.grow(1).expect("there is memory").count,
        round_up(frontier / 4, QUANTUM)
    );
}

#[test]
fn the_info_table_grows_in_steps() {
    let (_alone, mut region) = fresh(Options::default());
    region
        .grow(INFO_STEP - 100)
        .expect("there is address space");
    let e = region.grow(200).expect("there is address space");
    touch(e.first + e.count - 1, false);
    assert!(region.info_mapped >= region.frontier());
}

#[test]
fn more_than_the_slice_holds_is_refused() {
    let (_alone, mut region) = fresh(Options::default());
    assert_eq!(region.grow(MAX_BLOCKS + 1), None);
    assert_eq!(region.frontier(), 0);
    assert!(region.grow(1).is_some());
}

/// A page that the program has, filled.
struct Taken(usize);

impl Taken {
    fn at(addr: usize) -> Taken {
        mem::map_at(addr, mem::PAGE).expect("free so far");
        // SAFETY: mapped just now.
        unsafe { (addr as *mut u8).write_bytes(0x5a, mem::PAGE) };
        Taken(addr)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: mapped by `at`, and nobody else's.
        let bytes = unsafe { core::slice::from_raw_parts(self.0 as *const u8, mem::PAGE) };
        assert!(
            bytes.iter().all(|&b| b == 0x5a),
            "the program's page was changed"
        );
        mem::unmap(self.0, mem::PAGE);
    }
}

#[test]
fn an_occupied_slice_is_changed_for_another() {
    let (_alone, mut region) = fresh(Options::default());
    let first = layout::base();
    let taken = Taken::at(first + 10 * BLOCK);
    let e = region.grow(100).expect("there is memory elsewhere");
    assert_ne!(layout::base(), first);
    assert_eq!(e.first, 0);
    touch(0, false);
    drop(taken);
}

/// The place of a table may be taken as well.
#[test]
fn a_slice_with_an_occupied_table_is_changed_for_another() {
    for (start, size) in [(table::INFO, 8), (table::HEAD, 64), (table::SIDE, 1024)] {
        let (_alone, mut region) = fresh(Options::default());
        let first = layout::base();
        let _taken = Taken::at(first + start + 4096 * size);
        let e = region.grow(5000).expect("there is memory elsewhere");
        assert_ne!(layout::base(), first);
        assert_eq!(e.first, 0);
        touch(0, false);
        touch(4999, false);
        let left = mem::map_at(first, BLOCK).and(mem::map_at(first + table::INFO, mem::PAGE));
        assert_eq!(left, Ok(()), "the first slice is empty");
        mem::unmap(first, BLOCK);
        mem::unmap(first + table::INFO, mem::PAGE);
    }
}

#[test]
fn an_occupied_stretch_is_passed_over() {
    let (_alone, mut region) = fresh(Options::default());
    let before = region.grow(10).expect("there is memory");
    let gap = region.frontier();
    let taken = Taken::at(layout::base() + (gap + 3) * BLOCK);
    let e = region.grow(10).expect("there is memory behind it");
    assert_eq!(e.first, gap + SKIP);
    assert_eq!(layout::limit(), (e.first + e.count) * BLOCK);
    for b in [before.first, e.first, e.first + e.count - 1] {
        touch(b, false);
    }
    // The stretch is the program's: roots are looked for there.
    let mut own = Vec::new();
    own::for_each(|lo, hi| own.push((lo, hi)));
    let is_own = |addr: usize| own.iter().any(|r| (r.0..r.1).contains(&addr));
    assert!(!is_own(taken.0), "{own:x?}");
    assert!(is_own(layout::base() + e.first * BLOCK), "{own:x?}");
}

/// Two stretches in a row.
#[test]
fn a_long_occupied_stretch_is_passed_over() {
    let (_alone, mut region) = fresh(Options::default());
    region.grow(10).expect("there is memory");
    let gap = region.frontier();
    let at = |block: usize| Taken::at(layout::base() + block * BLOCK);
    let _taken = [at(gap + 3), at(gap + SKIP + 3)];
    let e = region.grow(10).expect("there is memory behind it");
    assert_eq!(e.first, gap + 2 * SKIP);
    touch(e.first, false);
}

#[test]
fn an_occupied_table_refuses_growth_and_leaves_nothing_behind() {
    let (_alone, mut region) = fresh(Options::default());
    region.grow(10).expect("there is memory");
    let frontier = region.frontier();
    for (start, size) in [
        (table::HEAD, table::HEAD_SIZE),
        (table::MARK, table::MARK_SIZE),
        (table::MARK_REST, table::MARK_SIZE),
        (table::SIDE, table::SIDE_SIZE),
    ] {
        let taken = Taken::at(layout::base() + start + frontier * size);
        assert_eq!(region.grow(10), None);
        assert_eq!(region.frontier(), frontier);
        drop(taken);
    }
    let e = region.grow(10).expect("nothing is in the way any more");
    assert_eq!(e.first, frontier);
    touch(e.first, false);
}

#[test]
fn bases_differ_and_lie_in_range() {
    let bases: Vec<usize> = (0..100).map(|_| random_base()).collect();
    for &b in &bases {
        assert!(b >= 17 << 40 && b + table::END <= 85 << 40 && b.is_multiple_of(1 << 32));
    }
    assert!(bases.windows(2).any(|w| w[0] != w[1]));
}
