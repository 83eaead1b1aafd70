//! A cache that does not keep its entries: an entry lives as long as somebody uses it.
//!
//! ```text
//! cargo run --example weak_cache
//! ```

use dunegc::{DuneGc, Gc, Weak};
use std::collections::HashMap;

#[global_allocator]
static ALLOCATOR: DuneGc = DuneGc::new();

/// Texts by number, computed when they are asked for.
#[derive(Default)]
struct Cache {
    entries: HashMap<u32, Weak<str>>,
    computed: usize,
}

impl Cache {
    fn get(&mut self, key: u32) -> Gc<str> {
        if let Some(text) = self.entries.get(&key).and_then(Weak::upgrade) {
            return text;
        }
        self.computed += 1;
        let text: Gc<str> = format!("entry {key}, {}", "costly ".repeat(100))
            .as_str()
            .into();
        self.entries.insert(key, Gc::downgrade(text));
        text
    }

    /// Removes what the collector has cleared.
    fn tidy(&mut self) {
        self.entries.retain(|_, weak| weak.upgrade().is_some());
    }
}

/// Looks at every entry, and forgets it.
#[inline(never)]
fn touch_all(cache: &mut Cache, n: u32) -> usize {
    (0..n).map(|key| cache.get(key).len()).sum()
}

fn main() {
    let mut cache = Cache::default();
    let n = 1000;
    let favourite = cache.get(7);
    touch_all(&mut cache, n);
    touch_all(&mut cache, n);
    println!(
        "computed {} entries for {} look-ups",
        cache.computed,
        2 * n + 1
    );

    dunegc::collect().expect("the threads of this program can be stopped");
    cache.tidy();
    println!(
        "after a collection fewer than 200 are left: {}",
        cache.entries.len() < 200
    );
    println!(
        "the favourite is one of them: {}",
        Gc::ptr_eq(favourite, cache.get(7))
    );
    println!("{}...", &favourite[..15]);
}
