//! Sources of written pages, each tried for real on a few pages of this process.

use super::report::Check;
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

const PAGE: usize = 4096;
const PAGES: usize = 8;
/// The pages that a probe writes.
const WRITTEN: [usize; 2] = [1, 6];

/// A private mapping with every page present.
struct Pages(*mut u8);

impl Pages {
    fn new() -> Result<Self> {
        // SAFETY: a fresh anonymous mapping anywhere.
        let p = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGES * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let pages = Pages(p.cast());
        (0..PAGES).for_each(|i| pages.write(i));
        Ok(pages)
    }

    fn address(&self) -> u64 {
        self.0 as u64
    }

    fn write(&self, page: usize) {
        assert!(page < PAGES);
        // SAFETY: inside the mapping, which is writable and ours.
        unsafe { self.0.add(page * PAGE).write_volatile(1) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; nothing points into it any more.
        unsafe { libc::munmap(self.0.cast(), PAGES * PAGE) };
    }
}

// From linux/userfaultfd.h and linux/fs.h.
const UFFD_USER_MODE_ONLY: i32 = 1;
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;

#[repr(C)]
#[derive(Default)]
struct UffdioApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct UffdioRegister {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct PmScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

const _: () = assert!(size_of::<PmScanArg>() == 0x60 && size_of::<UffdioRegister>() == 0x20);

/// `ioctl` with a structure that the request's number describes.
fn ioctl<T>(fd: &impl AsRawFd, request: u64, argument: &mut T) -> Result<i32> {
    assert_eq!(
        (request >> 16 & 0x3fff) as usize,
        size_of::<T>(),
        "the request's size is that of its argument"
    );
    // SAFETY: the kernel reads and writes only the structure, whose size the request's number states; pointers in it
    // (PmScanArg::vec) are the caller's and lead to arrays of the stated length.
    let r = unsafe { libc::ioctl(fd.as_raw_fd(), request, ptr::from_mut(argument)) };
    if r < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(r)
    }
}

/// A descriptor for this process's own faults, with asynchronous write protection.
fn open_userfaultfd() -> Result<OwnedFd> {
    // SAFETY: takes flags only.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_userfaultfd,
            libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY,
        )
    };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
    ioctl(
        &fd,
        UFFDIO_API,
        &mut UffdioApi {
            api: UFFD_API,
            features,
            ioctls: 0,
        },
    )?;
    Ok(fd)
}

pub fn userfaultfd() -> Check {
    match open_userfaultfd() {
        Ok(_) => Check::ok(
            "userfaultfd",
            "asynchronous write protection works",
            "not used by this version",
        ),
        Err(e) => Check::ok(
            "userfaultfd",
            format!("not available ({e})"),
            "not used by this version",
        ),
    }
}

/// The pages reported as written, which are protected again.
fn scan(pagemap: &File, pages: &Pages) -> Result<Vec<usize>> {
    let mut regions = [PageRegion::default(); PAGES];
    let mut arg = PmScanArg {
        size: size_of::<PmScanArg>() as u64,
        flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
        start: pages.address(),
        end: pages.address() + (PAGES * PAGE) as u64,
        vec: regions.as_mut_ptr() as u64,
        vec_len: PAGES as u64,
        category_mask: PAGE_IS_WRITTEN,
        return_mask: PAGE_IS_WRITTEN,
        ..PmScanArg::default()
    };
    let n = ioctl(pagemap, PAGEMAP_SCAN, &mut arg)? as usize;
    let index = |address: u64| ((address - pages.address()) as usize) / PAGE;
    Ok(regions[..n]
        .iter()
        .flat_map(|r| index(r.start)..index(r.end))
        .collect())
}

fn try_pagemap_scan() -> Result<bool> {
    let pages = Pages::new()?;
    let fd = open_userfaultfd()?;
    let range = UffdioRegister {
        start: pages.address(),
        len: (PAGES * PAGE) as u64,
        mode: UFFDIO_REGISTER_MODE_WP,
        ioctls: 0,
    };
    ioctl(&fd, UFFDIO_REGISTER, &mut { range })?;
    let pagemap = File::open("/proc/self/pagemap")?;
    scan(&pagemap, &pages)?;
    WRITTEN.iter().for_each(|&i| pages.write(i));
    Ok(scan(&pagemap, &pages)? == WRITTEN && scan(&pagemap, &pages)?.is_empty())
}

pub fn pagemap_scan() -> Check {
    verdict("PAGEMAP_SCAN", try_pagemap_scan())
}

fn try_soft_dirty() -> Result<bool> {
    const SOFT_DIRTY: u64 = 1 << 55;
    let pages = Pages::new()?;
    let pagemap = File::open("/proc/self/pagemap")?;
    let dirty = || -> Result<Vec<usize>> {
        let mut entries = [0; PAGES * 8];
        pagemap.read_exact_at(&mut entries, pages.address() / PAGE as u64 * 8)?;
        let entry = |i: &usize| u64::from_le_bytes(std::array::from_fn(|b| entries[i * 8 + b]));
        Ok((0..PAGES).filter(|i| entry(i) & SOFT_DIRTY != 0).collect())
    };
    OpenOptions::new()
        .write(true)
        .open("/proc/self/clear_refs")?
        .write_all_at(b"4", 0)?;
    let cleared = dirty()?.is_empty();
    WRITTEN.iter().for_each(|&i| pages.write(i));
    Ok(cleared && dirty()? == WRITTEN)
}

pub fn soft_dirty() -> Check {
    verdict("soft-dirty", try_soft_dirty())
}

/// Sources of written pages are not used by this version, so their absence is no reason for a warning.
fn verdict(name: &'static str, result: Result<bool>) -> Check {
    let value = match result {
        Ok(true) => "reports exactly the pages written".to_owned(),
        Ok(false) => "does not report the pages written (not built into this kernel)".to_owned(),
        Err(e) => format!("not available ({e})"),
    };
    Check::ok(name, value, "not used by this version")
}

pub fn kvm() -> Check {
    const KVM_GET_API_VERSION: u64 = 0xae00;
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let value = match opened {
        // SAFETY: this request takes no argument.
        Ok(kvm) => match unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_GET_API_VERSION, 0) } {
            12 => "present, API version 12".to_owned(),
            n if n < 0 => format!("present, but {}", Error::last_os_error()),
            n => format!("present, unknown API version {n}"),
        },
        Err(e) => format!("not available ({e})"),
    };
    Check::ok("/dev/kvm", value, "not used by this version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_lies_is_found_out() {
        assert!(verdict("x", Ok(false)).value.starts_with("does not"));
        // Whatever this machine has, probing must come to a verdict and not fail oddly.
        for check in [userfaultfd(), pagemap_scan(), soft_dirty(), kvm()] {
            assert!(!check.value.is_empty());
        }
    }
}
