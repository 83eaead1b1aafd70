//! Linked lists of boxes.

use crate::common::{Random, Work, finish, mix, option};

struct Cell {
    next: List,
    key: u64,
    value: u64,
}

type List = Option<Box<Cell>>;

fn build(length: u64, random: &mut Random) -> List {
    let mut head = None;
    for key in 0..length {
        head = Some(Box::new(Cell {
            next: head,
            key,
            value: random.draw(),
        }));
    }
    head
}

fn reverse(mut list: List) -> List {
    let mut done = None;
    while let Some(mut cell) = list {
        list = std::mem::replace(&mut cell.next, done);
        done = Some(cell);
    }
    done
}

fn walk(list: &List) -> u64 {
    let cells = std::iter::successors(list.as_deref(), |c| c.next.as_deref());
    cells.fold(0, |sum: u64, c| sum.wrapping_add(c.key ^ c.value))
}

/// Drops cell by cell: the drop that the compiler makes needs a stack frame for each.
fn destroy(mut list: List) {
    while let Some(mut cell) = list {
        list = cell.next.take();
    }
}

pub fn main() {
    let count = option("--slots", 640).max(1);
    let longest = option("--length", 10000).max(1);
    let rounds = option("--rounds", 7000);
    let mut random = Random::default();
    let mut work = Work::default();
    let slots = work.time(|| {
        let mut slots: Vec<List> = (0..count).map(|_| None).collect();
        for round in 0..rounds {
            let slot = if round < count {
                round
            } else {
                random.draw() % count
            } as usize;
            destroy(slots[slot].take());
            let length = 1 + random.draw() % longest;
            slots[slot] = build(length, &mut random);
            if round % 4 == 0 {
                slots[slot] = reverse(slots[slot].take());
            }
        }
        slots
    });
    let checksum = slots.iter().fold(0, |sum, list| mix(sum, walk(list)));
    work.time(|| slots.into_iter().for_each(destroy));
    finish("list", checksum, &work);
}
