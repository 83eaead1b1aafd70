//! Memory and its limits.

use super::report::Check;
use std::fs;
use std::path::Path;

/// A file of this process's control group (version 2) and of every group above it.
pub fn control_group(file: &str) -> Vec<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = groups.lines().find_map(|l| l.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(path);
    own.ancestors()
        .take_while(|p| p.starts_with(root))
        .filter_map(|p| fs::read_to_string(p.join(file)).ok())
        .collect()
}

fn human(bytes: u64) -> String {
    dunegc::sys::out::Bytes(bytes).to_string()
}

pub fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) =
        (meminfo(&text, "MemTotal:"), meminfo(&text, "MemAvailable:"))
    else {
        return Check::warn("memory", "unknown", "/proc/meminfo cannot be read");
    };
    let limit = control_group("memory.max")
        .iter()
        .filter_map(|t| t.trim().parse().ok())
        .min();
    let value = format!("{}, {} available", human(total), human(available));
    match limit {
        Some(limit) => {
            let note =
                "DUNEGC_MAX_HEAP below this limit lets the collector act before the kernel does";
            Check::ok(
                "memory",
                format!("{value}, {} by control group", human(limit)),
                note,
            )
        }
        None => Check::ok("memory", value, ""),
    }
}

/// A line `NAME  123 kB`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim()
        .strip_suffix(" kB")?
        .parse::<u64>()
        .ok()
        .map(|n| n * 1024)
}

fn setting(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub fn overcommit() -> Check {
    match setting("/proc/sys/vm/overcommit_memory") {
        Some(0) => Check::ok("overcommit", "0 (heuristic)", ""),
        Some(1) => Check::ok("overcommit", "1 (always)", ""),
        Some(2) => Check::warn(
            "overcommit",
            "2 (strict)",
            "mmap fails at the commit limit: set DUNEGC_MAX_HEAP so that the collector runs before",
        ),
        Some(n) => Check::warn(
            "overcommit",
            n.to_string(),
            "a setting that is not known here",
        ),
        None => Check::warn(
            "overcommit",
            "unknown",
            "/proc/sys/vm/overcommit_memory cannot be read",
        ),
    }
}

pub fn address_space() -> Check {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills the one structure that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } != 0 {
        return Check::warn(
            "RLIMIT_AS",
            "unknown",
            std::io::Error::last_os_error().to_string(),
        );
    }
    if limit.rlim_cur == libc::RLIM_INFINITY {
        Check::ok("RLIMIT_AS", "unlimited", "")
    } else {
        let note = "only memory in use counts; allocation fails at this limit after a last collection (ulimit -v)";
        Check::warn("RLIMIT_AS", human(limit.rlim_cur), note)
    }
}

pub fn map_count() -> Check {
    const USUAL: u64 = 65_530;
    match setting("/proc/sys/vm/max_map_count") {
        Some(n) if n >= USUAL => Check::ok("max_map_count", n.to_string(), ""),
        Some(n) => Check::warn(
            "max_map_count",
            n.to_string(),
            format!("below the usual {USUAL}: vm.max_map_count"),
        ),
        None => Check::warn(
            "max_map_count",
            "unknown",
            "/proc/sys/vm/max_map_count cannot be read",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let text = "MemTotal:       8000000 kB\nMemAvailable:    123 kB\n";
        assert_eq!(meminfo(text, "MemTotal:"), Some(8_192_000_000));
        assert_eq!(meminfo(text, "MemAvailable:"), Some(125_952));
        assert_eq!(meminfo(text, "MemFree:"), None);
    }
}
