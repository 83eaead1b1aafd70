//! Kernel, libc, processors, /proc.

use super::report::Check;
use std::ffi::CStr;
use std::fs;

pub fn kernel() -> Check {
    // SAFETY: all-zero bytes are a valid utsname.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: uname fills the structure; its fields are then NUL-terminated, and zero if it failed.
    let release = unsafe {
        libc::uname(&mut name);
        CStr::from_ptr(name.release.as_ptr())
            .to_string_lossy()
            .into_owned()
    };
    Check::ok("kernel", format!("Linux {release}"), "")
}

pub fn libc() -> Check {
    // SAFETY: returns a static string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Check::ok("libc", format!("glibc {}", version.to_string_lossy()), "")
}

/// The system's setting of transparent huge pages.
pub struct HugePages {
    /// `always`, `madvise`, `never`; `None`: unknown to this kernel.
    pub setting: Option<String>,
}

pub fn huge_pages() -> HugePages {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
    HugePages {
        setting: text.as_deref().and_then(selected).map(str::to_owned),
    }
}

/// The word in brackets.
fn selected(text: &str) -> Option<&str> {
    text.split_once('[')?
        .1
        .split_once(']')
        .map(|(word, _)| word)
}

impl HugePages {
    pub fn check(&self) -> Check {
        match self.setting.as_deref() {
            Some("never") => Check::warn(
                "huge pages",
                "never",
                "large heaps are marked faster with madvise or always",
            ),
            Some(s) => Check::ok("huge pages", s, ""),
            None => Check::warn(
                "huge pages",
                "unknown",
                "no /sys/kernel/mm/transparent_hugepage",
            ),
        }
    }
}

/// Processors.
pub struct Cores {
    pub online: usize,
    /// By the affinity mask of this process.
    pub allowed: usize,
    /// Processors' worth of time that the control groups allow.
    pub quota: Option<f64>,
}

pub fn cores() -> Cores {
    // SAFETY: sysconf has no preconditions.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as usize;
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills at most the size that it is given.
    let known = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } == 0;
    // SAFETY: counts bits of an initialised set.
    let counted = unsafe { libc::CPU_COUNT(&set) } as usize;
    let allowed = if known { counted } else { online };
    let quotas = super::limits::control_group("cpu.max");
    let quota = quotas.iter().filter_map(|t| quota(t)).reduce(f64::min);
    Cores {
        online,
        allowed,
        quota,
    }
}

/// `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

impl Cores {
    pub fn check(&self) -> Check {
        let mut value = format!("{} online, {} allowed", self.online, self.allowed);
        if let Some(quota) = self.quota {
            value += &format!(", {quota:.1} by control group");
        }
        if self.allowed == 1 || self.quota.is_some_and(|q| q < 2.0) {
            Check::warn("cores", value, "marking is not parallel")
        } else {
            Check::ok("cores", value, "")
        }
    }
}

pub fn proc() -> Check {
    for path in ["/proc/self/task", "/proc/self/maps", "/proc/self/status"] {
        let result = if path.ends_with("task") {
            fs::read_dir(path).map(drop)
        } else {
            fs::read(path).map(drop)
        };
        if let Err(e) = result {
            let note = "threads and roots cannot be found: memory is never collected, malloc and free work";
            return Check::warn("/proc", format!("{path}: {e}"), note);
        }
    }
    Check::ok("/proc", "mounted, readable", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        assert_eq!(selected("always [madvise] never\n"), Some("madvise"));
        assert_eq!(selected("nonsense"), None);
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
    }
}
