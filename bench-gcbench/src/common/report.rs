//! The clock of a program and its result line.

use std::time::{Duration, Instant};

/// Adds up the time of the work that counts; checks of the result are outside.
#[derive(Default)]
pub struct Work(Duration);

impl Work {
    /// Runs `f` and counts its time.
    pub fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = f();
        self.0 += began.elapsed();
        result
    }
}

/// Peak resident set of this program in KiB, -1 where `/proc` cannot be read.
fn rss_peak_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(-1)
}

/// Prints the result as the C programs do: one JSON line.
pub fn finish(program: &str, checksum: u64, work: &Work) {
    println!(
        "{{\"program\":\"{program}\",\"checksum\":\"{checksum:016x}\",\"elapsed_ms\":{:.3},\"rss_peak_kib\":{},\
         \"pause_max_ms\":null,\"collections\":null}}",
        work.0.as_secs_f64() * 1e3,
        rss_peak_kib()
    );
}
