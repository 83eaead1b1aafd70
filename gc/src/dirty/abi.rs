//! The kernel's interface: userfaultfd with asynchronous write protection, and PAGEMAP_SCAN. From linux/userfaultfd.h and
//! linux/fs.h.

use crate::sys::raw::{Errno, syscall};

/// `userfaultfd(2)`: only faults from user space are delivered. With asynchronous protection nothing is ever delivered, and the
/// flag makes the call free of privileges.
pub const UFFD_USER_MODE_ONLY: i32 = 1;
/// Protocol version.
pub const UFFD_API: u64 = 0xaa;
/// Pages that are not present can be protected; without it PAGEMAP_SCAN refuses anonymous memory.
pub const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
/// The kernel resolves write faults itself and only remembers them.
pub const FEATURE_WP_ASYNC: u64 = 1 << 15;
/// Registration for write protection.
pub const REGISTER_MODE_WP: u64 = 1 << 1;

/// A page without write protection: written since it was protected, or never protected.
pub const IS_WRITTEN: u64 = 1 << 1;
/// A page in memory.
pub const IS_PRESENT: u64 = 1 << 3;
/// A page in swap.
pub const IS_SWAPPED: u64 = 1 << 4;
/// PAGEMAP_SCAN protects what it reports, in one step. Mappings without registration are passed over.
pub const WP_MATCHING: u64 = 1 << 0;
/// PAGEMAP_SCAN fails with EPERM at a mapping without registration for asynchronous protection. What it reported before is lost.
pub const CHECK_WPASYNC: u64 = 1 << 1;

/// `struct uffdio_api`.
#[repr(C)]
pub struct UffdioApi {
    /// [`UFFD_API`].
    pub api: u64,
    /// Wanted, then given.
    pub features: u64,
    /// Out.
    pub ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
pub struct UffdioRegister {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// [`REGISTER_MODE_WP`].
    pub mode: u64,
    /// Out.
    pub ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
pub struct UffdioWriteprotect {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// 1: protect; 0: unprotect and wake nobody.
    pub mode: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct PageRegion {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Bits of the return mask that hold.
    pub categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
pub struct ScanArg {
    /// Of this structure.
    pub size: u64,
    /// [`WP_MATCHING`], [`CHECK_WPASYNC`].
    pub flags: u64,
    /// First address.
    pub start: u64,
    /// First address behind the range.
    pub end: u64,
    /// Out: how far the kernel came.
    pub walk_end: u64,
    /// Address of [`PageRegion`]s to fill.
    pub vec: u64,
    /// Their number.
    pub vec_len: u64,
    /// Stop after so many pages; 0: never.
    pub max_pages: u64,
    /// Categories that count when absent.
    pub category_inverted: u64,
    /// All of these must hold.
    pub category_mask: u64,
    /// One of these must hold.
    pub category_anyof_mask: u64,
    /// Told apart in the answer.
    pub return_mask: u64,
}

const _: () = assert!(
    size_of::<UffdioApi>() == 24
        && size_of::<UffdioRegister>() == 32
        && size_of::<UffdioWriteprotect>() == 24
        && size_of::<PageRegion>() == 24
        && size_of::<ScanArg>() == 96
);

/// A request of `ioctl(2)` and the type of its argument.
///
/// # Safety
/// The request reads and writes only the structure, and memory that the structure's fields describe.
pub unsafe trait Request {
    /// The request's number, which contains the structure's size.
    const NUMBER: usize;
}
// SAFETY: the kernel fills the structure in.
unsafe impl Request for UffdioApi {
    const NUMBER: usize = 0xc018_aa3f;
}
// SAFETY: changes how faults in the range are handled, not its content.
unsafe impl Request for UffdioRegister {
    const NUMBER: usize = 0xc020_aa00;
}
// SAFETY: changes protection bits that only userfaultfd looks at, not content.
unsafe impl Request for UffdioWriteprotect {
    const NUMBER: usize = 0xc018_aa06;
}
// SAFETY: the kernel writes to the structure and to the regions that `vec` and `vec_len` describe, which the maker of the
// structure answers for.
unsafe impl Request for ScanArg {
    const NUMBER: usize = 0xc060_6610;
}

/// `ioctl(2)`.
pub fn ioctl<R: Request>(fd: i32, argument: &mut R) -> Result<usize, Errno> {
    const { assert!(R::NUMBER >> 16 & 0x3fff == size_of::<R>()) };
    // SAFETY: the argument is exclusively borrowed, and `Request` promises that the kernel keeps to it.
    unsafe {
        syscall!(
            libc::SYS_ioctl,
            fd,
            R::NUMBER,
            core::ptr::from_mut(argument)
        )
    }
}
