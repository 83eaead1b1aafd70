//! What the collector's sources of written pages cost.

use super::{PAGE, ROUNDS, now, pages, write};
use dunegc::dirty::{self, Kind, Range, Tracking, When};

/// Pages that are watched.
const WATCHED: usize = 4096;

/// Ticks of a first write, and of harvests when none, a tenth and all of the pages were written; nothing if the source does not work here.
pub fn costs(
    kind: Kind,
    first: &'static str,
    harvests: [&'static str; 3],
) -> Vec<(&'static str, f64)> {
    let Ok(source) = dirty::open(kind) else {
        return Vec::new();
    };
    let mut tracking = Tracking::new(source);
    let at = pages(WATCHED);
    let range = Range::covering(at, at + WATCHED * PAGE);
    let mut least = [u64::MAX; 4];
    for _ in 0..ROUNDS {
        for (i, step) in [(1, WATCHED + 1), (2, 10), (3, 1)] {
            if tracking.arm(&[range]).is_err() {
                return Vec::new();
            }
            let start = now();
            (1..WATCHED + 1)
                .filter(|p| p % step == 0)
                .for_each(|p| write(at + (p - 1) * PAGE));
            let writes = now() - start;
            let start = now();
            let _ = tracking.harvest(When::Running, &mut |_| {});
            least[i] = least[i].min(now() - start);
            if step == 1 {
                least[0] = least[0].min(writes);
            }
            tracking.disarm();
        }
    }
    let [one, two, three] = harvests;
    vec![
        (first, least[0] as f64 / WATCHED as f64),
        (one, least[1] as f64),
        (two, least[2] as f64),
        (three, least[3] as f64),
    ]
}
