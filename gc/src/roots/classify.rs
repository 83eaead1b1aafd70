//! What a mapping is, from its line in /proc/self/maps alone.
use crate::sys::proc_maps::Mapping;

/// How a mapping is to be scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Not at all: unreadable, a device, the kernel's own pages.
    Skip,
    /// Memory of its own: pages that were never written are not read.
    Private,
    /// As `Private`, of a file: a data segment.
    Data,
    /// Shared memory without a name that anyone could truncate.
    Shared,
    /// A shared mapping of a file, which may be truncated at any time, or of a device.
    SharedFile,
}

/// Classifies `m`.
pub fn classify(m: &Mapping<'_>) -> Class {
    if !m.read {
        return Class::Skip;
    }
    let name = m.path;
    if m.inode == 0 && m.dev == 0 {
        // Anonymous, or a special mapping of the kernel. Read-only memory without a file was writable once, or is
        // write-protected for a moment.
        let known = name.is_empty()
            || name == b"[heap]"
            || name.starts_with(b"[stack")
            || name.starts_with(b"[anon:")
            || name.starts_with(b"[anon_shmem:");
        return match (known, m.shared) {
            (false, _) => Class::Skip,
            (true, false) => Class::Private,
            (true, true) => Class::Shared,
        };
    }
    if !m.write {
        return Class::Skip;
    }
    if !m.shared {
        let device = name.starts_with(b"/dev/") && !memory_device(name);
        return if device { Class::Skip } else { Class::Data };
    }
    // The rings of io_uring are plain memory, on older kernels of a sort that cannot be copied by process_vm_readv.
    if name == b"anon_inode:[io_uring]"
        || name.starts_with(b"/dev/zero")
        || name.starts_with(b"/SYSV")
        || name.starts_with(b"[anon_shmem:")
    {
        return Class::Shared;
    }
    let skip = name.starts_with(b"/dev/") && !memory_device(name)
        || name.starts_with(b"/proc/")
        || name.starts_with(b"/sys/")
        || name.starts_with(b"anon_inode:")
        || name.starts_with(b"[")
        || name.starts_with(b"socket:")
        || name.starts_with(b"pipe:")
        || name.starts_with(b"/dmabuf:");
    if skip { Class::Skip } else { Class::SharedFile }
}

/// File systems below /dev whose mappings are plain memory.
fn memory_device(name: &[u8]) -> bool {
    [&b"/dev/zero"[..], b"/dev/shm/", b"/dev/hugepages/"]
        .iter()
        .any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::proc_maps::parse;

    #[test]
    fn lines_of_every_sort() {
        for (line, want) in [
            ("1000-2000 rw-p 00000000 00:00 0 ", Class::Private),
            ("1000-2000 r--p 00000000 00:00 0 ", Class::Private),
            (
                "1000-2000 r-xp 00000000 00:00 0 [anon: jit]",
                Class::Private,
            ),
            ("1000-2000 ---p 00000000 00:00 0 ", Class::Skip),
            ("1000-2000 -w-p 00000000 00:00 0 ", Class::Skip),
            ("1000-2000 rw-p 00000000 00:00 0    [heap]", Class::Private),
            ("1000-2000 rw-p 00000000 00:00 0    [stack]", Class::Private),
            ("1000-2000 r--p 00000000 00:00 0    [vvar]", Class::Skip),
            (
                "1000-2000 r--p 00000000 00:00 0    [vvar_vclock]",
                Class::Skip,
            ),
            ("1000-2000 r-xp 00000000 00:00 0    [vdso]", Class::Skip),
            ("1000-2000 --xp 00000000 00:00 0    [vsyscall]", Class::Skip),
            (
                "1000-2000 rw-p 00001000 08:01 77   /usr/lib/libc.so.6",
                Class::Data,
            ),
            (
                "1000-2000 r--p 00001000 08:01 77   /usr/lib/libc.so.6",
                Class::Skip,
            ),
            (
                "1000-2000 rw-s 00000000 08:01 77   /var/tmp/db",
                Class::SharedFile,
            ),
            (
                "1000-2000 rw-s 00000000 00:01 77   /memfd:x (deleted)",
                Class::SharedFile,
            ),
            (
                "1000-2000 rw-s 00000000 00:19 77   /dev/shm/x",
                Class::SharedFile,
            ),
            (
                "1000-2000 rw-s 00000000 00:01 77   /dev/zero (deleted)",
                Class::Shared,
            ),
            (
                "1000-2000 rw-s 00000000 00:01 77   /SYSV00000000 (deleted)",
                Class::Shared,
            ),
            (
                "1000-2000 rw-s 00000000 00:05 77   /dev/dri/card0",
                Class::Skip,
            ),
            ("1000-2000 rw-p 00000000 00:05 77   /dev/mem", Class::Skip),
            (
                "1000-2000 rw-s 00000000 00:0e 77   anon_inode:kvm-vcpu:0",
                Class::Skip,
            ),
            (
                "1000-2000 rw-s 00000000 00:0e 77   anon_inode:[io_uring]",
                Class::Shared,
            ),
            (
                "1000-2000 rw-s 00000000 00:08 77   socket:[123]",
                Class::Skip,
            ),
            (
                "1000-2000 rw-s 00000000 00:16 77   /sys/devices/pci0000:00/resource0",
                Class::Skip,
            ),
            (
                "1000-2000 rw-p 00000000 00:0f 77   /anon_hugepage (deleted)",
                Class::Data,
            ),
        ] {
            assert_eq!(classify(&parse(line.as_bytes()).unwrap()), want, "{line}");
        }
    }
}
