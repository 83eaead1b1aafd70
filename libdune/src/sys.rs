//! The operating system, without libc's errno and locks: a thread may come here from any instruction of the program.

use crate::error::Error;
use core::arch::asm;

/// One system call; the result is negative errno if it failed.
///
/// # Safety
/// That of the system call.
#[inline]
pub unsafe fn call(number: u64, args: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel changes rax, rcx and r11 and what the call says; the caller answers for that.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as i64 => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same with the result as a `Result`; `what` names it in an error.
///
/// # Safety
/// That of the system call.
pub unsafe fn check(what: &'static str, number: i64, args: [u64; 6]) -> Result<u64, Error> {
    // SAFETY: passed on.
    match unsafe { call(number as u64, args) } {
        result @ -4095..=-1 => Err(Error::System(what, -result as i32)),
        result => Ok(result as u64),
    }
}

/// The kernel's name of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: takes no argument and changes nothing.
    unsafe { call(libc::SYS_gettid as u64, [0; 6]) as i32 }
}

/// Reads a word of the program's memory, wherever that is.
pub fn read(from: u64, to: &mut u64) -> bool {
    read_from(from, core::ptr::from_mut(to).cast(), 8)
}

/// Reads the program's memory, wherever that is; `false` if not all of it may be read.
pub fn read_from(from: u64, to: *mut u8, len: usize) -> bool {
    copy(libc::SYS_process_vm_readv, to as u64, from, len)
}

/// Writes to the program's memory, wherever that is; `false` if not all of it may be written.
pub fn write_to(to: u64, from: *const u8, len: usize) -> bool {
    copy(libc::SYS_process_vm_writev, from as u64, to, len)
}

fn copy(number: i64, own: u64, other: u64, len: usize) -> bool {
    let local = [own, len as u64];
    let remote = [other, len as u64];
    let args = [
        process_id() as u64,
        (&raw const local) as u64,
        1,
        (&raw const remote) as u64,
        1,
        0,
    ];
    // SAFETY: the caller's buffer is as long as it says; the kernel checks the other address.
    unsafe { call(number as u64, args) == len as i64 }
}

/// Number of threads of the process, counted by the links of /proc/self/task.
pub fn threads() -> Option<u64> {
    // SAFETY: plain data.
    let mut stat = unsafe { core::mem::zeroed::<libc::stat>() };
    let args = [
        c"/proc/self/task".as_ptr() as u64,
        (&raw mut stat) as u64,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: a NUL-terminated path; the kernel writes the structure.
    let known = unsafe { call(libc::SYS_stat as u64, args) } == 0;
    known.then(|| (stat.st_nlink as u64).saturating_sub(2))
}

/// Lets another thread run.
pub fn give_way() {
    // SAFETY: takes no argument and changes nothing.
    unsafe { call(libc::SYS_sched_yield as u64, [0; 6]) };
}

/// Memory from the system, given back when dropped.
pub struct Mapping {
    start: u64,
    len: u64,
}

impl Mapping {
    /// Fresh zero pages.
    ///
    /// # Errors
    /// What mmap says.
    pub fn new(len: u64) -> Result<Mapping, Error> {
        Mapping::with("mmap", len, libc::PROT_READ | libc::PROT_WRITE, 0, -1)
    }

    /// A mapping of `descriptor`, shared.
    ///
    /// # Errors
    /// What mmap says.
    pub fn shared(descriptor: i32, len: u64) -> Result<Mapping, Error> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        Mapping::with("mmap of a vCPU", len, rights, libc::MAP_SHARED, descriptor)
    }

    /// Fresh zero pages at a multiple of `align`, not charged before they are written.
    ///
    /// # Errors
    /// What mmap says.
    pub fn aligned(len: u64, align: u64) -> Result<Mapping, Error> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let mut wide = Mapping::with("mmap", len + align, rights, libc::MAP_NORESERVE, -1)?;
        let start = wide.start.next_multiple_of(align);
        let (before, end) = (wide.start, wide.start + wide.len);
        (wide.start, wide.len) = (start, len);
        for (from, to) in [(before, start), (start + len, end)] {
            if from < to {
                // SAFETY: the ends of our own fresh mapping, not used by anyone.
                unsafe { call(libc::SYS_munmap as u64, [from, to - from, 0, 0, 0, 0]) };
            }
        }
        Ok(wide)
    }

    fn with(
        what: &'static str,
        len: u64,
        rights: i32,
        flags: i32,
        descriptor: i32,
    ) -> Result<Mapping, Error> {
        let flags = if descriptor < 0 {
            flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
        } else {
            flags
        };
        let args = [
            0,
            len,
            rights as u64,
            flags as u64,
            descriptor as i64 as u64,
            0,
        ];
        // SAFETY: a new mapping where nothing was.
        let start = unsafe { check(what, libc::SYS_mmap, args) }?;
        Ok(Mapping { start, len })
    }

    /// Its first address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Brings pages in and tries to lock them; `Ok(false)` if they could not be locked.
    ///
    /// # Errors
    /// The memory is not there.
    pub fn populate(&self, offset: u64, len: u64) -> Result<bool, Error> {
        debug_assert!(offset + len <= self.len);
        let at = self.start + offset;
        // SAFETY: our own mapping.
        if unsafe { call(libc::SYS_mlock as u64, [at, len, 0, 0, 0, 0]) } == 0 {
            return Ok(true);
        }
        let advice = libc::MADV_POPULATE_WRITE as u64;
        // SAFETY: our own mapping; the advice changes no content.
        unsafe {
            check(
                "madvise of page tables",
                libc::SYS_madvise,
                [at, len, advice, 0, 0, 0],
            )
        }?;
        Ok(false)
    }

    /// Takes the rights of the lowest page away, so that a stack that grows into it faults.
    ///
    /// # Errors
    /// What mprotect says.
    pub fn guard(&self) -> Result<(), Error> {
        // SAFETY: our own mapping, whose lowest page is not used.
        unsafe {
            check(
                "mprotect of a guard page",
                libc::SYS_mprotect,
                [self.start, 4096, 0, 0, 0, 0],
            )
        }?;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever holds addresses in it holds the mapping too.
        unsafe { call(libc::SYS_munmap as u64, [self.start, self.len, 0, 0, 0, 0]) };
    }
}

/// A descriptor, closed when dropped.
pub struct Descriptor(i32);

impl Descriptor {
    /// Opens a device for reading and writing; `path` ends in NUL.
    ///
    /// # Errors
    /// What open says.
    pub fn open(what: &'static str, path: &core::ffi::CStr) -> Result<Descriptor, Error> {
        Descriptor::open_with(what, path, libc::O_RDWR)
    }

    /// Opens a file for reading; `path` ends in NUL.
    ///
    /// # Errors
    /// What open says.
    pub fn open_read(what: &'static str, path: &core::ffi::CStr) -> Result<Descriptor, Error> {
        Descriptor::open_with(what, path, libc::O_RDONLY)
    }

    fn open_with(
        what: &'static str,
        path: &core::ffi::CStr,
        how: i32,
    ) -> Result<Descriptor, Error> {
        let flags = (how | libc::O_CLOEXEC) as u64;
        let args = [
            libc::AT_FDCWD as i64 as u64,
            path.as_ptr() as u64,
            flags,
            0,
            0,
            0,
        ];
        // SAFETY: a NUL-terminated path.
        let fd = unsafe { check(what, libc::SYS_openat, args) }?;
        Ok(Descriptor(fd as i32))
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// The same descriptor with a high number, out of the way of the program's.
    pub fn high(self) -> Descriptor {
        let mut limit = [0u64; 2];
        let args = [
            libc::RLIMIT_NOFILE.into(),
            (&raw mut limit) as u64,
            0,
            0,
            0,
            0,
        ];
        // SAFETY: writes two words.
        unsafe { call(libc::SYS_getrlimit as u64, args) };
        let from = limit[0].min(1 << 16) / 2;
        let args = [self.0 as u64, libc::F_DUPFD_CLOEXEC as u64, from, 0, 0, 0];
        // SAFETY: makes a descriptor.
        match unsafe { check("fcntl", libc::SYS_fcntl, args) } {
            Ok(fd) => Descriptor(fd as i32),
            Err(_) => self,
        }
    }

    /// An ioctl that makes a new descriptor.
    ///
    /// # Safety
    /// That of the request.
    pub unsafe fn make(
        &self,
        what: &'static str,
        request: u64,
        arg: u64,
    ) -> Result<Descriptor, Error> {
        // SAFETY: passed on.
        let fd = unsafe { self.ioctl(what, request, arg) }?;
        Ok(Descriptor(fd as i32))
    }

    /// An ioctl.
    ///
    /// # Safety
    /// That of the request.
    pub unsafe fn ioctl(&self, what: &'static str, request: u64, arg: u64) -> Result<u64, Error> {
        let args = [self.0 as u64, request, arg, 0, 0, 0];
        // SAFETY: passed on.
        unsafe { check(what, libc::SYS_ioctl, args) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { call(libc::SYS_close as u64, [self.0 as u64, 0, 0, 0, 0, 0]) };
    }
}

/// The kernel's name of this process.
pub fn process_id() -> i32 {
    // SAFETY: takes no argument and changes nothing.
    unsafe { call(libc::SYS_getpid as u64, [0; 6]) as i32 }
}

/// Changes the thread's blocked signals: `how` as for sigprocmask; returns what they were.
pub fn block(how: i32, set: u64) -> u64 {
    let mut old = 0u64;
    let args = [
        how as u64,
        (&raw const set) as u64,
        (&raw mut old) as u64,
        8,
        0,
        0,
    ];
    // SAFETY: both sets are eight bytes, as said.
    unsafe { call(libc::SYS_rt_sigprocmask as u64, args) };
    old
}

/// Writes to standard error.
pub fn complain(text: &str) {
    let args = [2, text.as_ptr() as u64, text.len() as u64, 0, 0, 0];
    // SAFETY: the text is as long as it says.
    unsafe { call(libc::SYS_write as u64, args) };
}
