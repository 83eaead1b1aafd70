//! A vCPU of KVM.

use super::{Kvm, abi};
use crate::arch::registers::{Registers, SYSCALL_CLEARS};
use crate::arch::segments::{Gdt, Idt, KERNEL_CODE, KERNEL_DATA, STAR, TASK, TaskState};
use crate::arch::xsave::{self, State};
use crate::engine::{Cpu, Exit, Start};
use crate::error::Error;
use crate::sys::{Descriptor, Mapping};
use core::arch::x86_64::__cpuid_count;
use core::mem::{offset_of, size_of};
use kvm_bindings as kvm;
use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};

const _: () = assert!(
    size_of::<kvm::kvm_regs>() == size_of::<Registers>()
        && offset_of!(kvm::kvm_regs, rsp) == offset_of!(Registers, rsp)
        && offset_of!(kvm::kvm_regs, r15) == offset_of!(Registers, r15)
        && offset_of!(kvm::kvm_regs, rflags) == offset_of!(Registers, rflags)
);

/// A vCPU of KVM.
pub struct KvmCpu {
    cpu: Descriptor,
    run: Mapping,
    /// Registers are exchanged in `run`, else in `registers`.
    sync: bool,
    registers: Registers,
    changed: bool,
    root: u64,
}

#[repr(C)]
struct Msrs<const N: usize> {
    head: [u32; 2],
    entries: [kvm::kvm_msr_entry; N],
}

fn segment(selector: u16, kind: u8, code: bool, base: u64, limit: u32) -> kvm::kvm_segment {
    kvm::kvm_segment {
        base,
        limit,
        selector,
        type_: kind,
        present: 1,
        dpl: (selector & 3) as u8,
        db: u8::from(!code && kind != 0xb),
        s: u8::from(kind != 0xb || code),
        l: code.into(),
        g: u8::from(limit == u32::MAX),
        ..Default::default()
    }
}

impl KvmCpu {
    pub(super) fn new(cpu: Descriptor, vm: &Kvm, start: &Start) -> Result<KvmCpu, Error> {
        let run = Mapping::shared(cpu.number(), vm.run_size)?;
        let this = KvmCpu {
            cpu,
            run,
            sync: vm.sync,
            registers: Registers::default(),
            changed: true,
            root: start.root,
        };
        this.set("KVM_SET_CPUID2", abi::SET_CPUID2, &vm.cpuid)?;
        this.start_system(start)?;
        this.start_msrs(start)?;
        let mut xcrs = kvm::kvm_xcrs {
            nr_xcrs: 1,
            ..Default::default()
        };
        xcrs.xcrs[0].value = xsave::enabled();
        this.set("KVM_SET_XCRS", abi::SET_XCRS, &xcrs)?;
        this.keep_time();
        if this.sync {
            let run = this.shared();
            // SAFETY: `run` is the memory of this vCPU, which is not running.
            unsafe { (*run).kvm_valid_regs = kvm::KVM_SYNC_X86_REGS.into() };
        }
        Ok(this)
    }

    fn shared(&self) -> *mut kvm::kvm_run {
        self.run.start() as *mut kvm::kvm_run
    }

    fn set<T>(&self, what: &'static str, request: u64, value: &T) -> Result<(), Error> {
        // SAFETY: requests of this file read a structure of the type that they are used with.
        unsafe {
            self.cpu
                .ioctl(what, request, core::ptr::from_ref(value) as u64)
        }?;
        Ok(())
    }

    fn get<T>(&self, what: &'static str, request: u64, value: &mut T) -> Result<(), Error> {
        // SAFETY: requests of this file write a structure of the type that they are used with.
        unsafe {
            self.cpu
                .ioctl(what, request, core::ptr::from_mut(value) as u64)
        }?;
        Ok(())
    }

    fn system(&self) -> Result<kvm::kvm_sregs, Error> {
        let mut system = kvm::kvm_sregs::default();
        self.get("KVM_GET_SREGS", abi::GET_SREGS, &mut system)?;
        Ok(system)
    }

    fn set_system(&self, system: &kvm::kvm_sregs) -> Result<(), Error> {
        self.set("KVM_SET_SREGS", abi::SET_SREGS, system)
    }

    fn start_system(&self, start: &Start) -> Result<(), Error> {
        let mut system = self.system()?;
        system.cr0 = (Cr0Flags::PROTECTED_MODE_ENABLE
            | Cr0Flags::MONITOR_COPROCESSOR
            | Cr0Flags::EXTENSION_TYPE
            | Cr0Flags::NUMERIC_ERROR
            | Cr0Flags::WRITE_PROTECT
            | Cr0Flags::ALIGNMENT_MASK
            | Cr0Flags::PAGING)
            .bits();
        let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
            | Cr4Flags::OSFXSR
            | Cr4Flags::OSXMMEXCPT_ENABLE
            | Cr4Flags::OSXSAVE;
        cr4.set(Cr4Flags::FSGSBASE, __cpuid_count(7, 0).ebx & 1 != 0);
        system.cr4 = cr4.bits();
        system.cr3 = start.root;
        system.efer = (EferFlags::SYSTEM_CALL_EXTENSIONS
            | EferFlags::LONG_MODE_ENABLE
            | EferFlags::LONG_MODE_ACTIVE
            | EferFlags::NO_EXECUTE_ENABLE)
            .bits();
        system.cs = segment(KERNEL_CODE, 0xb, true, 0, u32::MAX);
        for data in [
            &mut system.ss,
            &mut system.ds,
            &mut system.es,
            &mut system.fs,
            &mut system.gs,
        ] {
            *data = segment(KERNEL_DATA, 3, false, 0, u32::MAX);
        }
        let limit = size_of::<TaskState>() as u32 - 1;
        system.tr = segment(TASK, 0xb, false, start.task, limit);
        system.ldt = kvm::kvm_segment {
            unusable: 1,
            type_: 2,
            ..Default::default()
        };
        system.gdt.base = start.gdt;
        system.gdt.limit = Gdt::LIMIT;
        system.idt.base = start.idt;
        system.idt.limit = Idt::LIMIT;
        self.set_system(&system)
    }

    fn start_msrs(&self, start: &Start) -> Result<(), Error> {
        let entry = |index, data| kvm::kvm_msr_entry {
            index,
            data,
            ..Default::default()
        };
        let msrs = Msrs {
            head: [4, 0],
            entries: [
                entry(0xc000_0081, STAR),
                entry(0xc000_0082, start.system_call),
                entry(0xc000_0083, start.system_call),
                entry(0xc000_0084, SYSCALL_CLEARS),
            ],
        };
        // SAFETY: the kernel reads the four entries that the head says.
        let set = unsafe {
            self.cpu
                .ioctl("KVM_SET_MSRS", abi::SET_MSRS, (&raw const msrs) as u64)
        }?;
        if set == 4 {
            Ok(())
        } else {
            Err(Error::Missing("a register of SYSCALL in KVM"))
        }
    }

    /// The time-stamp counter of the guest is that of the process. Where KVM cannot set it, the self-test decides.
    fn keep_time(&self) {
        let offset = 0u64;
        let attribute = kvm::kvm_device_attr {
            group: kvm::KVM_VCPU_TSC_CTRL,
            attr: kvm::KVM_VCPU_TSC_OFFSET.into(),
            addr: (&raw const offset) as u64,
            ..Default::default()
        };
        let _ = self.set("KVM_VCPU_TSC_OFFSET", abi::SET_DEVICE_ATTR, &attribute);
    }
}

impl Cpu for KvmCpu {
    fn run(&mut self) -> Result<Exit, Error> {
        // Setting registers, even to what they are, makes KVM forget an exception that it has yet to deliver.
        let changed = core::mem::take(&mut self.changed);
        if self.sync {
            let dirty = u64::from(kvm::KVM_SYNC_X86_REGS) * u64::from(changed);
            let run = self.shared();
            // SAFETY: `run` is the memory of this vCPU, which is not running.
            unsafe { (*run).kvm_dirty_regs = dirty };
        } else if changed {
            self.set("KVM_SET_REGS", abi::SET_REGS, &self.registers)?;
        }
        // SAFETY: the guest does what the process may do at these addresses: its code is the process's own.
        let result = unsafe { self.cpu.ioctl("KVM_RUN", abi::RUN, 0) };
        if !self.sync {
            let mut registers = Registers::default();
            self.get("KVM_GET_REGS", abi::GET_REGS, &mut registers)?;
            self.registers = registers;
        }
        match result {
            Err(Error::System(_, libc::EINTR | libc::EAGAIN)) => Ok(Exit::Interrupted),
            Err(Error::System(_, libc::EFAULT)) => Ok(Exit::Refused),
            Err(e) => Err(e),
            // SAFETY: `run` is the memory of this vCPU, which is not running.
            Ok(_) => match unsafe { (*self.shared()).exit_reason } {
                kvm::KVM_EXIT_HLT => Ok(Exit::Halt),
                kvm::KVM_EXIT_INTR => Ok(Exit::Interrupted),
                reason => Err(Error::Exit(reason)),
            },
        }
    }

    fn registers(&self) -> &Registers {
        if self.sync {
            let run = self.shared();
            // SAFETY: the kernel fills `s.regs.regs` at each exit; it has the layout of `Registers`, asserted above. The vCPU is not running, and
            // the reference is bound to `self`.
            unsafe { &*(&raw const (*run).s.regs.regs).cast::<Registers>() }
        } else {
            &self.registers
        }
    }

    fn registers_mut(&mut self) -> &mut Registers {
        self.changed = true;
        if self.sync {
            let run = self.shared();
            // SAFETY: as above.
            unsafe { &mut *(&raw mut (*run).s.regs.regs).cast::<Registers>() }
        } else {
            &mut self.registers
        }
    }

    fn fault_address(&mut self) -> Result<u64, Error> {
        Ok(self.system()?.cr2)
    }

    fn go_to_monitor(&mut self, rip: u64, rsp: u64) -> Result<(), Error> {
        let mut system = self.system()?;
        system.cs = segment(KERNEL_CODE, 0xb, true, 0, u32::MAX);
        system.ss = segment(KERNEL_DATA, 3, false, 0, u32::MAX);
        self.set_system(&system)?;
        let registers = self.registers_mut();
        (registers.rip, registers.rsp, registers.rflags) = (rip, rsp, 2);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        // A root with another cache attribute is another root, which has no translations yet.
        const WRITE_THROUGH: u64 = 1 << 3;
        let mut system = self.system()?;
        system.cr3 = if system.cr3 & WRITE_THROUGH == 0 {
            self.root | WRITE_THROUGH
        } else {
            self.root
        };
        self.set_system(&system)
    }

    fn bases(&mut self) -> Result<(u64, u64), Error> {
        let system = self.system()?;
        Ok((system.fs.base, system.gs.base))
    }

    fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), Error> {
        let mut system = self.system()?;
        (system.fs.base, system.gs.base) = (fs, gs);
        self.set_system(&system)
    }

    fn state(&mut self, state: &mut State) -> Result<(), Error> {
        self.get("KVM_GET_XSAVE", abi::GET_XSAVE, state)
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        self.set("KVM_SET_XSAVE", abi::SET_XSAVE, state)
    }

    fn set_blocked(&mut self, blocked: u64) -> Result<(), Error> {
        #[repr(C)]
        struct Mask {
            len: u32,
            // The kernel reads the set at offset 4.
            set: [u32; 2],
        }
        let mask = Mask {
            len: 8,
            set: [blocked as u32, (blocked >> 32) as u32],
        };
        self.set("KVM_SET_SIGNAL_MASK", abi::SET_SIGNAL_MASK, &mask)
    }
}
