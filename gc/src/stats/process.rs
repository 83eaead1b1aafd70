//! Resident memory of the process, as the kernel counts it.

use crate::sys::file;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub rss: Option<u64>,
    pub peak: Option<u64>,
}

/// Reads `/proc/self/status`; without it, only the peak is known.
pub(super) fn memory() -> Memory {
    // The two lines are within the first kilobyte.
    let mut buffer = [0; 4096];
    let status = file::read_start(c"/proc/self/status", &mut buffer).unwrap_or(b"");
    Memory {
        rss: field(status, b"VmRSS:"),
        peak: field(status, b"VmHWM:").or_else(peak_from_usage),
    }
}

/// The value of a line `NAME   123 kB`, in bytes.
fn field(status: &[u8], name: &[u8]) -> Option<u64> {
    let line = status
        .split(|&b| b == b'\n')
        .find_map(|l| l.strip_prefix(name))?;
    let number = line.trim_ascii().strip_suffix(b" kB")?;
    let kilobytes = number.iter().try_fold(0_u64, |n, &d| {
        if d.is_ascii_digit() {
            n.checked_mul(10)?.checked_add(u64::from(d - b'0'))
        } else {
            None
        }
    })?;
    kilobytes.checked_mul(1024)
}

fn peak_from_usage() -> Option<u64> {
    // SAFETY: all-zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the kernel fills the one rusage that it is given.
    let ok = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } == 0;
    ok.then_some(usage.ru_maxrss as u64 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let status = b"Name:\tx VmRSS: 9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t      12 kB\nVmBad:\t1x kB\nVmOdd:\t12 MB\n";
        assert_eq!(field(status, b"VmRSS:"), Some(12 * 1024));
        assert_eq!(field(status, b"VmHWM:"), Some(1234 * 1024));
        assert_eq!(field(status, b"VmBad:"), None);
        assert_eq!(field(status, b"VmOdd:"), None);
        assert_eq!(field(status, b"VmSwap:"), None);
        assert_eq!(field(b"", b"VmRSS:"), None);
    }

    /// Other tests of this process take and give back memory meanwhile: one attempt of ten must be undisturbed.
    #[test]
    fn this_process() {
        let grows = |_| {
            let before = memory().rss.unwrap();
            let touched = std::vec![1_u8; 64 << 20];
            let m = memory();
            assert!(m.peak.unwrap() >= 60 << 20, "{m:?}");
            drop(touched);
            let (rss, peak) = (m.rss.unwrap(), peak_from_usage().unwrap());
            rss >= before + (60 << 20) && peak >= before && m.peak.unwrap() >= rss - (1 << 20)
        };
        assert!((0..10).any(grows), "{:?}", memory());
    }
}
