//! How busy other processes keep the machine while a run is measured.

use std::time::{Duration, Instant};

/// CPU time that the processes of the machine used since boot, without idle time.
fn machine_busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map(|f| f.parse().unwrap_or(0))
        .collect();
    // user, nice, system; then idle, iowait, irq, softirq; then steal.
    let ticks = fields.first()? + fields.get(1)? + fields.get(2)? + fields.get(7)?;
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    Some(Duration::from_millis(ticks * 1000 / per_second))
}

/// CPU time of this process alone.
fn own_busy() -> Duration {
    // SAFETY: rusage is plain data, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage to write to.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    cpu_time(&usage).0 + cpu_time(&usage).1
}

/// User and system time in `usage`.
pub fn cpu_time(usage: &libc::rusage) -> (Duration, Duration) {
    let duration = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

/// Measures from its creation to [`LoadMeter::foreign`].
pub struct LoadMeter {
    began: Instant,
    machine: Option<Duration>,
    own: Duration,
}

impl LoadMeter {
    /// Starts to measure.
    pub fn start() -> Self {
        LoadMeter {
            began: Instant::now(),
            machine: machine_busy(),
            own: own_busy(),
        }
    }

    /// CPUs kept busy on average by anything but this process and its children, which used `children` since the
    /// start. 0.0 is an idle machine, 1.0 one whole CPU; `/proc/stat` counts in ticks of 10 ms, so a short run is
    /// known to about 10 ms / its length. 0.0 where `/proc/stat` cannot be read.
    pub fn foreign(&self, children: Duration) -> f64 {
        let (Some(before), Some(after)) = (self.machine, machine_busy()) else {
            return 0.0;
        };
        let ours = children + own_busy().saturating_sub(self.own);
        let foreign = after.saturating_sub(before).saturating_sub(ours);
        foreign.as_secs_f64() / self.began.elapsed().as_secs_f64().max(0.001)
    }
}
