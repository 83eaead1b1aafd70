use super::*;
use crate::gpa::{CHUNK, Layout};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn tables(layout: Layout) -> Tables {
    Tables::new(GpaMap::new(layout, 46, 1000), &mut |_| Ok(())).expect("memory")
}

fn pages(first: u64, count: u64) -> Range {
    Range::covering(first * PAGE, (first + count) * PAGE)
}

/// Pages where the interesting borders lie: of leaf tables, of chunks, of the upper levels.
fn page() -> impl Strategy<Value = u64> {
    let near = |border: u64| border - 3..border + 3;
    prop_oneof![
        near(512),
        near(CHUNK / PAGE),
        near(512 * 512),
        near(1 << 27),
        near(1 << 30)
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Fill(u64, u64, Rights),
    Rights(u64, u64, Rights, bool),
    Clear(u64, u64),
    Forget(u64, u64),
    Write(u64),
    Harvest(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let rights = || prop::sample::select(vec![Rights::R, Rights::RW, Rights::RX, Rights::RWX]);
    let changed = || prop::sample::select(vec![Rights::NONE, Rights::R, Rights::RW]);
    prop_oneof![
        (page(), 1..6u64, rights()).prop_map(|(p, n, r)| Step::Fill(p, n, r)),
        (page(), 1..6u64, changed(), any::<bool>())
            .prop_map(|(p, n, r, h)| Step::Rights(p, n, r, h)),
        (page(), 1..6u64).prop_map(|(p, n)| Step::Clear(p, n)),
        (page(), 1..6u64).prop_map(|(p, n)| Step::Forget(p, n)),
        page().prop_map(Step::Write),
        (page(), 1..600u64).prop_map(|(p, n)| Step::Harvest(p, n)),
    ]
}

/// What the model knows of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    rights: Rights,
    held: bool,
    dirty: bool,
}

proptest! {
    #[test]
    fn tables_do_what_a_map_does(steps in prop::collection::vec(step(), 1..80), packed: bool) {
        let layout = if packed { Layout::Packed } else { Layout::Identity };
        let mut tables = tables(layout);
        let view = tables.view();
        let mut model: BTreeMap<u64, Known> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Fill(p, n, rights) => {
                    tables.fill(pages(p, n), rights, &mut |_| Ok(())).expect("memory");
                    for p in p..p + n {
                        let known = model.entry(p).or_insert(Known { rights, held: false, dirty: rights.write });
                        if !known.held {
                            known.rights = rights;
                        }
                    }
                }
                Step::Rights(p, n, rights, held) => {
                    let mut lost = false;
                    for p in p..p + n {
                        if let Some(known) = model.get_mut(&p) {
                            lost |= (known.rights.read && !rights.read) || (known.rights.write && !rights.write)
                                || (known.rights.execute && !rights.execute);
                            (known.rights, known.held) = (rights, held);
                        }
                    }
                    prop_assert_eq!(view.set_rights(pages(p, n), rights, held), lost);
                }
                Step::Clear(p, n) => {
                    let lost = (p..p + n).filter_map(|p| model.remove(&p)).filter(|k| k.rights.read).count() > 0;
                    prop_assert_eq!(view.clear(pages(p, n)), lost);
                }
                Step::Forget(p, n) => {
                    view.forget(pages(p, n));
                    for p in p..p + n {
                        if let Some(known) = model.get_mut(&p).filter(|k| !k.held) {
                            known.rights = Rights::NONE;
                        }
                    }
                }
                Step::Write(p) => {
                    let writable = view.entry(p * PAGE).filter(|e| e.load().rights().write);
                    prop_assert_eq!(writable.is_some(), model.get(&p).is_some_and(|k| k.rights.write));
                    if let Some(entry) = writable {
                        entry.touch(true);
                        model.get_mut(&p).expect("known").dirty = true;
                    }
                }
                Step::Harvest(p, n) => {
                    let mut harvest = view.dirty(pages(p, n));
                    let found: BTreeSet<u64> = harvest.by_ref().map(|a| a / PAGE).collect();
                    let flush = harvest.finish();
                    let expected: BTreeSet<u64> =
                        model.range(p..p + n).filter(|(_, k)| k.dirty).map(|(p, _)| *p).collect();
                    model.range_mut(p..p + n).for_each(|(_, k)| k.dirty = false);
                    if let Some(pages) = flush.pages() {
                        let flushed: BTreeSet<u64> = pages.iter().map(|a| a / PAGE).collect();
                        prop_assert_eq!(&flushed, &expected);
                    }
                    prop_assert_eq!(found, expected);
                }
            }
        }
        for (p, known) in &model {
            let value = view.entry(p * PAGE).expect("a table").load();
            prop_assert_eq!(Known { rights: value.rights(), held: value.held(), dirty: value.dirty() }, *known);
            prop_assert_eq!(Some(value.frame()), tables.gpa(p * PAGE));
        }
    }
}

#[test]
fn tables_map_themselves_also_after_growing() {
    let mut tables = tables(Layout::Packed);
    let view = tables.view();
    let before = tables.memory().0;
    // One leaf table per 2 MiB.
    for i in 0..600 {
        let at = (1 << 40) + i * span(2);
        tables
            .fill(Range::page_of(at), Rights::RW, &mut |_| Ok(()))
            .expect("memory");
    }
    assert!(tables.memory().0 > before);
    let leaf = view.leaf((1 << 40) + 599 * span(2)).expect("a table");
    let at = core::ptr::from_ref(leaf) as u64;
    let value = view.entry(at).expect("mapped").load();
    assert_eq!(value.rights(), Rights::RW);
    assert_eq!(Some(value.frame()), tables.gpa(at));
}

#[test]
fn many_pages_flush_everything() {
    let mut flush = Flush::nothing();
    assert!(flush.is_empty());
    for page in 0..32 {
        flush.add(page * PAGE);
    }
    assert_eq!(flush.pages().map(<[u64]>::len), Some(32));
    let mut other = Flush::nothing();
    other.add(PAGE);
    flush.join(other);
    assert!(flush.pages().is_none() && !flush.is_empty());
    let mut small = Flush::nothing();
    small.join(Flush::everything());
    assert!(small.pages().is_none());
}

#[test]
fn a_refused_chunk_is_reported() {
    let mut tables = tables(Layout::Packed);
    let refused = tables.fill(pages(1 << 20, 1), Rights::RW, &mut |_| {
        Err(Error::System("slot", libc::ENOMEM))
    });
    assert_eq!(refused, Err(Error::System("slot", libc::ENOMEM)));
    let view = tables.view();
    assert!(
        view.entry((1 << 20) * PAGE)
            .is_none_or(|e| e.load() == Value::EMPTY)
    );
}
