//! Guests of a few instructions on /dev/dune, without libdune.

// Each program uses a part of this.
#![allow(dead_code)]

use dune_sys as abi;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bytes that a guest's chunk has mapped from the start on.
pub const MEMORY: usize = 16 << 20;
/// Where code lies in the guest; its own linear addresses are those of its memory, from zero on.
pub const CODE: usize = 0x1_0000;
/// A page that no code or table uses.
pub const PAGE: usize = 0x10_0000;
/// The stack's end.
pub const STACK: u64 = 0x2_0000;

/// An open /dev/dune.
pub struct Device(pub OwnedFd);

impl Device {
    pub fn open() -> Result<Device, Error> {
        // SAFETY: a NUL-terminated path.
        let fd = unsafe { libc::open(c"/dev/dune".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: a new descriptor.
        Ok(Device(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// A request with any argument: errno if it fails.
    pub fn request(&self, request: u64, argument: *mut u8) -> Result<(), i32> {
        // SAFETY: what the module writes, it writes where the argument says, and callers give their own structures or addresses of nothing.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
        if result == 0 {
            Ok(())
        } else {
            Err(Error::last_os_error().raw_os_error().expect("an errno"))
        }
    }

    pub fn add_chunk(&self, chunk: &mut abi::Chunk) -> Result<(), i32> {
        self.request(abi::ADD_CHUNK, std::ptr::from_mut(chunk).cast())
    }

    pub fn create(&self, vcpu: &mut abi::Vcpu) -> Result<(), i32> {
        self.request(abi::CREATE_VCPU, std::ptr::from_mut(vcpu).cast())
    }

    pub fn run(&self, run: &mut abi::Run) -> Result<(), i32> {
        self.request(abi::RUN, std::ptr::from_mut(run).cast())
    }
}

/// A guest with one chunk, whose start is memory of the process's.
pub struct Guest {
    pub device: Device,
    pub memory: *mut u8,
}

// SAFETY: the memory is never given back, and tests say what they do with it at a time.
unsafe impl Sync for Guest {}
// SAFETY: as above.
unsafe impl Send for Guest {}

pub fn map(at: *mut u8, len: usize, rights: i32, flags: i32) -> *mut u8 {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: callers give an address of their own with MAP_FIXED, or none.
    let got = unsafe { libc::mmap(at.cast(), len, rights, flags, -1, 0) };
    assert_ne!(got, libc::MAP_FAILED, "{}", Error::last_os_error());
    got.cast()
}

pub fn protect(at: *mut u8, len: usize, rights: i32) {
    // SAFETY: pages of the test's own.
    let done = unsafe { libc::mprotect(at.cast(), len, rights) };
    assert_eq!(done, 0, "{}", Error::last_os_error());
}

pub const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Guest {
    /// Tables that map the guest's linear addresses to the same physical ones.
    pub fn new() -> Guest {
        let device = Device::open().unwrap_or_else(|e| panic!("/dev/dune: {e}"));
        let size = abi::CHUNK_SIZE as usize;
        let wide = map(std::ptr::null_mut(), 2 * size, libc::PROT_NONE, 0);
        let memory = wide.wrapping_add(wide.align_offset(size));
        map(memory, MEMORY, RW, libc::MAP_FIXED);
        let guest = Guest { device, memory };
        guest
            .device
            .add_chunk(&mut abi::Chunk {
                address: memory as u64,
                ..Default::default()
            })
            .expect("a chunk");
        guest.word(0x1000, 0x2000 | 7);
        guest.word(0x2000, 0x3000 | 7);
        for i in 0..128 {
            guest.word(0x3000 + i * 8, (i as u64) << 21 | 0x87);
        }
        guest
    }

    /// Writes a word of the guest's memory.
    pub fn word(&self, at: usize, value: u64) {
        // SAFETY: inside of the memory, by the callers' constants.
        unsafe { self.memory.add(at).cast::<u64>().write_volatile(value) };
    }

    /// Reads a word of the guest's memory.
    pub fn read(&self, at: usize) -> u64 {
        // SAFETY: inside of the memory, by the callers' constants.
        unsafe { self.memory.add(at).cast::<u64>().read_volatile() }
    }

    /// Writes code, by default to [`CODE`].
    pub fn code(&self, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: inside of the memory.
            unsafe { self.memory.add(CODE + i).write_volatile(*byte) };
        }
        // The guest must have the right to execute what it executes.
        protect(self.memory.wrapping_add(CODE), 4096, RW | libc::PROT_EXEC);
    }

    /// What a vCPU of this guest starts with: no gate, so an exception is a triple fault.
    pub fn start() -> abi::Vcpu {
        abi::Vcpu {
            root: 0x1000,
            ..Default::default()
        }
    }

    /// A vCPU that is about to run at [`CODE`].
    pub fn vcpu(&self) -> abi::Run {
        let mut vcpu = Guest::start();
        self.device.create(&mut vcpu).expect("a vCPU");
        let mut run = abi::Run {
            vcpu: vcpu.id,
            set: abi::SET_REGS | abi::SET_KERNEL,
            ..Default::default()
        };
        (run.regs.rip, run.regs.rsp, run.regs.rflags) = (CODE as u64, STACK, 2);
        run
    }

    /// Runs, over signals, until something else happens.
    pub fn run(&self, run: &mut abi::Run) -> u32 {
        loop {
            self.device.run(run).expect("it runs");
            if run.exit != abi::EXIT_INTERRUPTED {
                return run.exit;
            }
        }
    }
}
