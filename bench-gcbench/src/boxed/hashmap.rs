//! A chained hash map of boxes with string keys.

use crate::common::{Key, Random, Work, finish, key, mix, option, spread};

struct Entry {
    next: Chain,
    text: Box<[u8]>,
    hash: u64,
    value: u64,
}

type Chain = Option<Box<Entry>>;

#[derive(Default)]
struct Map {
    buckets: Vec<Chain>,
    used: u64,
}

impl Map {
    fn grow(&mut self) {
        let count = if self.buckets.is_empty() {
            16
        } else {
            self.buckets.len() * 2
        };
        let old = std::mem::replace(&mut self.buckets, (0..count).map(|_| None).collect());
        for mut chain in old {
            while let Some(mut entry) = chain {
                chain = entry.next.take();
                let slot = &mut self.buckets[entry.hash as usize & (count - 1)];
                entry.next = slot.take();
                *slot = Some(entry);
            }
        }
    }

    /// The link to the entry of `key`, or the empty one at the end of its chain.
    fn find(&mut self, key: &Key) -> &mut Chain {
        let mask = self.buckets.len() - 1;
        let mut slot = &mut self.buckets[key.hash as usize & mask];
        while slot
            .as_ref()
            .is_some_and(|e| e.hash != key.hash || *e.text != *key.as_bytes())
        {
            slot = &mut slot.as_mut().expect("just seen").next;
        }
        slot
    }

    fn insert(&mut self, n: u64) {
        let key = key(n);
        if self.used >= self.buckets.len() as u64 {
            self.grow();
        }
        match self.find(&key) {
            Some(entry) => entry.value += 1,
            slot => {
                *slot = Some(Box::new(Entry {
                    next: None,
                    text: key.as_bytes().into(),
                    hash: key.hash,
                    value: n,
                }));
                self.used += 1;
            }
        }
    }

    fn look_up(&mut self, n: u64) -> u64 {
        self.find(&key(n)).as_ref().map_or(0, |e| e.value)
    }

    fn remove(&mut self, n: u64) {
        let slot = self.find(&key(n));
        if let Some(entry) = slot.take() {
            *slot = entry.next;
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
            let mut map = Map::default();
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
