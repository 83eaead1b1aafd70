//! Clocks.

/// Monotonic time in nanoseconds (vDSO: some tens of cycles).
pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Monotonic time in milliseconds, a scheduler tick coarse: cheap enough for slow paths.
pub fn coarse_ms() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE) / 1_000_000
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid timespec for the duration of the call; both clocks exist on every Linux since 2.6.32.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}
