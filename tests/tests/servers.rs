//! redis-server and redis-benchmark under the library.

use std::time::Instant;

use dunegc_tests::{Mode, redis_session};

#[test]
fn redis() {
    let (plain, _) = redis_session(&|run| run);
    for mode in Mode::ALL {
        let start = Instant::now();
        let (digest, _) = redis_session(&|run| run.mode(mode));
        assert_eq!(digest, plain, "{}", mode.name());
        println!(
            "redis in {} took {:.1} s",
            mode.name(),
            start.elapsed().as_secs_f64()
        );
    }
}
