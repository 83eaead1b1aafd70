//! The engine on /dev/dune, the project's own kernel module (`kmod/`).

mod cpu;

pub use cpu::KmodCpu;

use super::{Engine, Limits, Start};
use crate::error::Error;
use crate::gpa::{CHUNK, Chunk};
use crate::sys::Descriptor;
use dune_sys as abi;

const _: () = assert!(CHUNK == abi::CHUNK_SIZE);

/// A guest of the module's, bound to this process.
pub struct Kmod {
    device: Descriptor,
    limits: Limits,
}

impl Kmod {
    /// A new guest.
    ///
    /// # Errors
    /// /dev/dune is not there, not permitted, of another version, or another hypervisor holds the processor.
    pub fn new() -> Result<Kmod, Error> {
        let device = loop {
            match Descriptor::open("/dev/dune", c"/dev/dune") {
                // A signal, while the kernel adds the guest to the address space.
                Err(Error::System(_, libc::EINTR)) => {}
                opened => break opened?.high(),
            }
        };
        let mut info = abi::Info::default();
        // SAFETY: fills the structure.
        unsafe { device.ioctl("DUNE_GET_INFO", abi::GET_INFO, (&raw mut info) as u64) }?;
        if info.version != abi::ABI_VERSION || info.chunk_size != CHUNK {
            return Err(Error::Missing("this version of the module dune"));
        }
        Ok(Kmod {
            device,
            limits: Limits {
                address_bits: info.address_bits,
                slots: info.max_chunks as usize,
                cpus: info.max_vcpus,
            },
        })
    }

    /// The number of its descriptor, as the lowest and the highest.
    pub fn descriptors(&self) -> (i32, i32) {
        (self.device.number(), self.device.number())
    }

    /// Closes its descriptor in a forked child, which has no use for it. The value is not used any more there.
    pub fn close(&self) {
        let args = [self.device.number() as u64, 0, 0, 0, 0, 0];
        // SAFETY: the child's copy of our own descriptor.
        unsafe { crate::sys::call(libc::SYS_close as u64, args) };
    }
}

impl Engine for Kmod {
    type Cpu = KmodCpu;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn back(&self, chunk: Chunk) -> Result<(), Error> {
        let chunk = abi::Chunk {
            gpa: chunk.gpa,
            address: chunk.range.start,
            ..Default::default()
        };
        let at = (&raw const chunk) as u64;
        // SAFETY: the guest may do with these addresses what the process may; nothing is done with them now.
        unsafe { self.device.ioctl("DUNE_ADD_CHUNK", abi::ADD_CHUNK, at) }?;
        Ok(())
    }

    fn cpu(&self, start: &Start) -> Result<KmodCpu, Error> {
        KmodCpu::new(self.device.number(), start)
    }
}
