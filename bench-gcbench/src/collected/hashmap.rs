//! A chained hash map of collected entries with string keys.

use std::cell::Cell;

use dunegc::Gc;

use crate::common::{Key, Random, Work, finish, key, mix, option, spread};

struct Entry {
    next: Cell<Chain>,
    text: Gc<[u8]>,
    hash: u64,
    value: Cell<u64>,
}

type Chain = Option<Gc<Entry>>;

struct Map {
    buckets: Gc<[Cell<Chain>]>,
    used: u64,
}

fn empty_buckets(count: usize) -> Gc<[Cell<Chain>]> {
    Gc::<[Cell<Chain>]>::from_fn(count, |_| Cell::new(None))
}

impl Map {
    fn new() -> Self {
        Map {
            buckets: empty_buckets(16),
            used: 0,
        }
    }

    fn grow(&mut self) {
        let fresh = empty_buckets(self.buckets.len() * 2);
        for bucket in self.buckets.iter() {
            let mut chain = bucket.get();
            while let Some(entry) = chain {
                chain = entry.next.get();
                let slot = &fresh[entry.hash as usize & (fresh.len() - 1)];
                entry.next.set(slot.get());
                slot.set(Some(entry));
            }
        }
        self.buckets = fresh;
    }

    /// The chain of `key`.
    fn bucket(&self, key: &Key) -> &Cell<Chain> {
        &self.buckets[key.hash as usize & (self.buckets.len() - 1)]
    }

    /// The entry of `key` and the one before it in the chain; without an entry, the last of the chain.
    fn find(&self, key: &Key) -> (Chain, Chain) {
        let mut before = None;
        let mut chain = self.bucket(key).get();
        while let Some(entry) = chain {
            if entry.hash == key.hash && *entry.text == *key.as_bytes() {
                break;
            }
            before = chain;
            chain = entry.next.get();
        }
        (before, chain)
    }

    /// Makes `next` follow `before`, or begin the chain of `key`.
    fn link(&self, before: Chain, key: &Key, next: Chain) {
        match before {
            Some(entry) => entry.next.set(next),
            None => self.bucket(key).set(next),
        }
    }

    fn insert(&mut self, n: u64) {
        let key = key(n);
        if self.used >= self.buckets.len() as u64 {
            self.grow();
        }
        let (before, found) = self.find(&key);
        if let Some(entry) = found {
            entry.value.set(entry.value.get() + 1);
            return;
        }
        let text = Gc::<[u8]>::from_slice_atomic(key.as_bytes());
        let entry = Entry {
            next: Cell::new(None),
            text,
            hash: key.hash,
            value: Cell::new(n),
        };
        self.link(before, &key, Some(Gc::new(entry)));
        self.used += 1;
    }

    fn look_up(&self, n: u64) -> u64 {
        self.find(&key(n)).1.map_or(0, |e| e.value.get())
    }

    fn remove(&mut self, n: u64) {
        let key = key(n);
        if let (before, Some(entry)) = self.find(&key) {
            self.link(before, &key, entry.next.get());
            self.used -= 1;
        }
    }
}

pub fn main() {
    let live = option("--live", 1_100_000).max(1);
    let churn = option("--churn", 800_000);
    let rounds = option("--rounds", 2);
    let mut random = Random::default();
    let mut checksum: u64 = 0;
    let mut work = Work::default();
    work.time(|| {
        for _ in 0..rounds {
            let mut map = Map::new();
            (0..live).for_each(|n| map.insert(spread(n)));
            for n in 0..churn {
                map.remove(spread(n));
                map.insert(spread(n + live));
                let found = map.look_up(spread(n + 1 + random.draw() % live));
                checksum = checksum.wrapping_add(found);
            }
            checksum = mix(checksum, map.used);
        }
    });
    finish("hashmap", checksum, &work);
}
