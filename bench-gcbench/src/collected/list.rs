//! Linked lists of collected cells.

use std::cell::Cell;

use dunegc::Gc;

use crate::common::{Random, Work, finish, mix, option};

struct Item {
    next: Cell<List>,
    key: u64,
    value: u64,
}

type List = Option<Gc<Item>>;

fn build(length: u64, random: &mut Random) -> List {
    let mut head = None;
    for key in 0..length {
        head = Some(Gc::new(Item {
            next: Cell::new(head),
            key,
            value: random.draw(),
        }));
    }
    head
}

fn reverse(mut list: List) -> List {
    let mut done = None;
    while let Some(item) = list {
        list = item.next.replace(done);
        done = Some(item);
    }
    done
}

fn walk(list: List) -> u64 {
    std::iter::successors(list, |c| c.next.get())
        .fold(0, |sum: u64, c| sum.wrapping_add(c.key ^ c.value))
}

pub fn main() {
    let count = option("--slots", 640).max(1);
    let longest = option("--length", 10000).max(1);
    let rounds = option("--rounds", 7000);
    let mut random = Random::default();
    let mut work = Work::default();
    let mut slots: Vec<List> = vec![None; count as usize];
    work.time(|| {
        for round in 0..rounds {
            let slot = if round < count {
                round
            } else {
                random.draw() % count
            } as usize;
            slots[slot] = None;
            let length = 1 + random.draw() % longest;
            slots[slot] = build(length, &mut random);
            if round % 4 == 0 {
                slots[slot] = reverse(slots[slot]);
            }
        }
    });
    let checksum = slots.iter().fold(0, |sum, list| mix(sum, walk(*list)));
    finish("list", checksum, &work);
}
