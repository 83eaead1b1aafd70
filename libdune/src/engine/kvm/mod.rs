//! The engine on /dev/kvm.

mod abi;
mod cpu;

pub use cpu::KvmCpu;

use super::{Engine, Limits, Start};
use crate::error::Error;
use crate::gpa::Chunk;
use crate::sys::Descriptor;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::*};
use kvm_bindings as kvm;

/// Room for the answer of GET_SUPPORTED_CPUID; today's kernels give fewer than 60.
const CPUID_ENTRIES: usize = 256;

#[repr(C)]
struct CpuId {
    head: [u32; 2],
    entries: [kvm::kvm_cpuid_entry2; CPUID_ENTRIES],
}

/// A virtual machine of KVM, bound to this process.
pub struct Kvm {
    vm: Descriptor,
    limits: Limits,
    /// Bytes of the memory that is shared with a vCPU.
    run_size: u64,
    /// Registers are exchanged in that memory.
    sync: bool,
    next_cpu: AtomicU32,
    /// Lowest and highest number of a descriptor of this machine's.
    first: AtomicI32,
    last: AtomicI32,
    cpuid: CpuId,
}

/// Bits of a physical address, as CPUID says.
fn address_bits() -> u32 {
    let wide = __cpuid(0x8000_0000).eax >= 0x8000_0008;
    if wide {
        __cpuid(0x8000_0008).eax & 0xff
    } else {
        36
    }
}

impl Kvm {
    /// A new virtual machine.
    ///
    /// # Errors
    /// /dev/kvm is not there, not permitted, or lacks something.
    pub fn new() -> Result<Kvm, Error> {
        let device = Descriptor::open("/dev/kvm", c"/dev/kvm")?;
        // SAFETY: these requests take a number and change nothing.
        let ask = |what, request, arg| unsafe { device.ioctl(what, request, arg) };
        if ask("KVM_GET_API_VERSION", abi::GET_API_VERSION, 0)? != 12 {
            return Err(Error::Missing("version 12 of KVM's interface"));
        }
        let has = |what: u32| ask("KVM_CHECK_EXTENSION", abi::CHECK_EXTENSION, what.into());
        for (what, name) in [
            (kvm::KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"),
            (kvm::KVM_CAP_XSAVE, "KVM_CAP_XSAVE"),
            (kvm::KVM_CAP_XCRS, "KVM_CAP_XCRS"),
            (kvm::KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"),
        ] {
            if has(what)? == 0 {
                return Err(Error::Missing(name));
            }
        }
        let mut cpuid = CpuId {
            head: [CPUID_ENTRIES as u32, 0],
            entries: [kvm::kvm_cpuid_entry2::default(); CPUID_ENTRIES],
        };
        // SAFETY: the kernel writes at most as many entries as the head says.
        unsafe {
            device.ioctl(
                "KVM_GET_SUPPORTED_CPUID",
                abi::GET_SUPPORTED_CPUID,
                (&raw mut cpuid) as u64,
            )
        }?;
        let limits = Limits {
            address_bits: address_bits(),
            slots: has(kvm::KVM_CAP_NR_MEMSLOTS)? as usize,
            cpus: has(kvm::KVM_CAP_MAX_VCPUS)? as u32,
        };
        let sync = has(kvm::KVM_CAP_SYNC_REGS)? & u64::from(kvm::KVM_SYNC_X86_REGS) != 0;
        let run_size = ask("KVM_GET_VCPU_MMAP_SIZE", abi::GET_VCPU_MMAP_SIZE, 0)?;
        // SAFETY: makes a virtual machine without memory.
        let vm = unsafe { device.make("KVM_CREATE_VM", abi::CREATE_VM, 0) }?.high();
        Ok(Kvm {
            first: AtomicI32::new(vm.number()),
            last: AtomicI32::new(vm.number()),
            vm,
            limits,
            run_size,
            sync,
            next_cpu: AtomicU32::new(0),
            cpuid,
        })
    }
}

impl Kvm {
    /// Numbers of descriptors that are this machine's (and none of the program's, which have lower ones).
    pub fn descriptors(&self) -> (i32, i32) {
        (self.first.load(Relaxed), self.last.load(Relaxed))
    }

    /// Closes the machine's descriptor in a forked child, which has no use for it. The value is not used any more there.
    pub fn close(&self) {
        // SAFETY: the child's copy of our own descriptor.
        unsafe {
            crate::sys::call(
                libc::SYS_close as u64,
                [self.vm.number() as u64, 0, 0, 0, 0, 0],
            )
        };
    }
}

impl Engine for Kvm {
    type Cpu = KvmCpu;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn back(&self, chunk: Chunk) -> Result<(), Error> {
        let region = kvm::kvm_userspace_memory_region {
            slot: chunk.slot,
            flags: 0,
            guest_phys_addr: chunk.gpa,
            memory_size: chunk.range.end - chunk.range.start,
            userspace_addr: chunk.range.start,
        };
        // SAFETY: the guest may do with these addresses what the process may; nothing is done with them now.
        unsafe {
            self.vm.ioctl(
                "KVM_SET_USER_MEMORY_REGION",
                abi::SET_USER_MEMORY_REGION,
                (&raw const region) as u64,
            )
        }?;
        Ok(())
    }

    fn cpu(&self, start: &Start) -> Result<KvmCpu, Error> {
        let number = self.next_cpu.fetch_add(1, Relaxed);
        if number >= self.limits.cpus {
            return Err(Error::Threads(self.limits.cpus));
        }
        // SAFETY: makes a vCPU.
        let cpu = unsafe {
            self.vm
                .make("KVM_CREATE_VCPU", abi::CREATE_VCPU, number.into())
        }?
        .high();
        self.first.fetch_min(cpu.number(), Relaxed);
        self.last.fetch_max(cpu.number(), Relaxed);
        KvmCpu::new(cpu, self, start)
    }
}
