//! The process's writable mappings by PROCMAP_QUERY (Linux 6.11), without names: some 0.7 microseconds for each. Most mappings of a program are not
//! writable; for all of them, and with names, the text is as fast.
use super::proc_maps::{self, Mapping};
use super::raw::{Errno, Fd, syscall};
use core::sync::atomic::{AtomicU8, Ordering::*};

/// 0: not tried yet; 1: works; 2: the kernel does not know it, or it must not be used.
static QUERY: AtomicU8 = AtomicU8::new(0);

const PROCMAP_QUERY: usize = 0xc068_6611;
const READABLE: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const EXECUTABLE: u64 = 1 << 2;
const SHARED: u64 = 1 << 3;
/// Asks, with the flags above for one that has all of them, for the mapping that covers an address, or the next one behind it.
const COVERING_OR_NEXT: u64 = 1 << 4;

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}
const _: () = assert!(size_of::<Query>() == 104);

/// From here on the text is read: a seccomp filter may kill for PROCMAP_QUERY.
pub fn avoid() {
    QUERY.store(2, Relaxed);
}

/// As [`proc_maps::for_each`] for the writable mappings; false if the kernel does not know the query, or must not be asked. Paths come with those
/// mappings for which `named` is true.
pub fn for_each_writable(
    named: impl Fn(&Mapping<'_>) -> bool,
    mut f: impl FnMut(&Mapping<'_>),
) -> Result<bool, Errno> {
    if QUERY.load(Relaxed) == 2 {
        return Ok(false);
    }
    let fd = proc_maps::open()?;
    match each(&fd, COVERING_OR_NEXT | WRITABLE, named, &mut f) {
        // The first answer of a kernel that does not know it.
        Err(Errno(libc::ENOTTY | libc::EINVAL)) if QUERY.load(Relaxed) == 0 => {
            avoid();
            Ok(false)
        }
        r => r.map(|()| true),
    }
}

fn each(
    fd: &Fd,
    flags: u64,
    named: impl Fn(&Mapping<'_>) -> bool,
    f: &mut impl FnMut(&Mapping<'_>),
) -> Result<(), Errno> {
    let mut name = [0u8; proc_maps::PATH_MAX];
    let mut at = 0;
    loop {
        let q = match ask(fd, at, flags, &mut []) {
            Ok(q) => q,
            Err(Errno(libc::ENOENT)) => return Ok(()),
            Err(e) => return Err(e),
        };
        QUERY.store(1, Relaxed);
        let mut m = Mapping {
            start: q.vma_start as usize,
            end: q.vma_end as usize,
            read: q.vma_flags & READABLE != 0,
            write: q.vma_flags & WRITABLE != 0,
            exec: q.vma_flags & EXECUTABLE != 0,
            shared: q.vma_flags & SHARED != 0,
            dev: u64::from(q.dev_major) << 32 | u64::from(q.dev_minor),
            inode: q.inode,
            path: &[],
        };
        if named(&m) {
            m.path = path(fd, q.vma_start, &mut name)?;
        }
        f(&m);
        at = q.vma_end;
    }
}

/// The path of the mapping at `start`. Of a file with a longer one than fits only that it has one.
fn path<'a>(fd: &Fd, start: u64, name: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    match ask(fd, start, 0, name) {
        Ok(q) => Ok(&name[..(q.vma_name_size as usize).saturating_sub(1)]),
        Err(Errno(libc::ENAMETOOLONG)) => Ok(b"/"),
        // The collector's own threads run while the world is stopped, and may have unmapped something.
        Err(Errno(libc::ENOENT)) => Ok(b""),
        Err(e) => Err(e),
    }
}

/// One query; the name is written into `name`, with a NUL, if that is not empty.
fn ask(fd: &Fd, at: u64, flags: u64, name: &mut [u8]) -> Result<Query, Errno> {
    let mut q = Query {
        size: size_of::<Query>() as u64,
        query_flags: flags,
        query_addr: at,
        vma_name_size: name.len() as u32,
        vma_name_addr: if name.is_empty() {
            0
        } else {
            name.as_mut_ptr() as u64
        },
        ..Query::default()
    };
    loop {
        // SAFETY: the query is valid for reading and writing, `name` for writing as many bytes as the query says.
        match unsafe { syscall!(libc::SYS_ioctl, fd.number(), PROCMAP_QUERY, &raw mut q) } {
            Ok(_) => return Ok(q),
            Err(Errno(libc::EINTR)) => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec::Vec};

    fn show(m: &Mapping<'_>) -> String {
        let named = m.write || m.inode == 0;
        let path = if named { m.path } else { b"" };
        format!(
            "{:x} {:x} r{}w{}x{}s{} {:x} {} {}",
            m.start,
            m.end,
            m.read,
            m.write,
            m.exec,
            m.shared,
            m.dev,
            m.inode,
            String::from_utf8_lossy(path)
        )
    }

    /// Mappings of every sort; long names too.
    fn map_some() -> Vec<std::fs::File> {
        let dir = std::env::temp_dir().join(format!("dunegc-maps-{}", std::process::id()));
        let deep = dir.join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let files: Vec<std::fs::File> = [dir.join("a b"), deep.join("f")]
            .iter()
            .map(|path| {
                let mut options = std::fs::File::options();
                let file = options.read(true).write(true).create(true).truncate(true);
                let file = file.open(path).unwrap();
                file.set_len(8192).unwrap();
                file
            })
            .collect();
        for file in &files {
            for (prot, flags) in [
                (libc::PROT_READ, libc::MAP_PRIVATE),
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
                (libc::PROT_NONE, libc::MAP_PRIVATE),
            ] {
                use std::os::fd::AsRawFd;
                let fd = file.as_raw_fd();
                // SAFETY: a fresh mapping, which nobody uses and which stays.
                let p = unsafe { libc::mmap(core::ptr::null_mut(), 4096, prot, flags, fd, 0) };
                assert_ne!(p, libc::MAP_FAILED);
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
        files
    }

    #[test]
    fn as_the_text_says() {
        let _files = map_some();
        // Other tests map and unmap meanwhile: once is enough.
        let agreed = (0..1000).any(|_| {
            let (mut text, mut asked, mut writable) = (Vec::new(), Vec::new(), Vec::new());
            // A growing list is a mapping that changes.
            text.reserve(1 << 14);
            asked.reserve(1 << 14);
            writable.reserve(1 << 14);
            proc_maps::for_each(|m| text.push(show(m))).unwrap();
            let fd = proc_maps::open().unwrap();
            let named = |m: &Mapping<'_>| m.write || m.inode == 0;
            match each(&fd, COVERING_OR_NEXT, named, &mut |m| asked.push(show(m))) {
                Err(Errno(libc::ENOTTY)) => return true,
                r => r.unwrap(),
            }
            assert_eq!(
                for_each_writable(named, |m| writable.push(show(m))),
                Ok(true)
            );
            text.retain(|line| !line.ends_with("[vsyscall]"));
            let same = text == asked;
            asked.retain(|line| line.split(' ').nth(2).unwrap().contains("wtrue"));
            same && asked == writable
        });
        assert!(agreed);
    }
}
