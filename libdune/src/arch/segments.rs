//! Segments, gates and the task state of a vCPU. Selectors are those of Linux, so that a program that looks sees what it always saw.

use core::mem::size_of;

/// 64-bit code at CPL 0.
pub const KERNEL_CODE: u16 = 0x10;
/// Data at CPL 0.
pub const KERNEL_DATA: u16 = 0x18;
/// 64-bit code at CPL 3.
pub const USER_CODE: u16 = 0x33;
/// Data at CPL 3.
pub const USER_DATA: u16 = 0x2b;
/// The task state.
pub const TASK: u16 = 0x40;
/// Its limit is the number of the CPU, for `getcpu` in the vDSO.
pub const CPU_NUMBER: u16 = 0x7b;
/// What the MSR STAR holds: SYSCALL loads CS 0x10 and SS 0x18, SYSRET CS 0x33 and SS 0x2b.
pub const STAR: u64 = (0x23 << 48) | ((KERNEL_CODE as u64) << 32);

/// Entries of the descriptor table.
const DESCRIPTORS: usize = 16;

/// The global descriptor table.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct Gdt([u64; DESCRIPTORS]);

impl Gdt {
    /// A table whose task state lies at `task`.
    pub const fn new(task: u64) -> Gdt {
        let limit = size_of::<TaskState>() as u64 - 1;
        let mut table = [0; DESCRIPTORS];
        table[2] = 0x00af_9b00_0000_ffff;
        table[3] = 0x00cf_9300_0000_ffff;
        table[4] = 0x00cf_fb00_0000_ffff;
        table[5] = 0x00cf_f300_0000_ffff;
        table[6] = 0x00af_fb00_0000_ffff;
        table[8] = limit | (task & 0xff_ffff) << 16 | 0x8b << 40 | (task >> 24 & 0xff) << 56;
        table[9] = task >> 32;
        table[15] = 0x0040_f500_0000_0000;
        Gdt(table)
    }

    /// Largest offset that belongs to the table.
    pub const LIMIT: u16 = size_of::<Gdt>() as u16 - 1;
}

/// Stacks that gates may ask for. Exceptions never push on the stack that they interrupt: code may keep data below its stack pointer.
pub const STACKS: usize = 4;

/// The 64-bit task state segment.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub struct TaskState {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

const _: () = assert!(size_of::<TaskState>() == 104);

impl TaskState {
    /// A task state with these interrupt stacks (1 to [`STACKS`]) and no port permissions.
    pub const fn new(stacks: [u64; STACKS]) -> TaskState {
        let mut all = [0; 7];
        let mut i = 0;
        while i < STACKS {
            all[i] = stacks[i];
            i += 1;
        }
        TaskState {
            reserved0: 0,
            privilege_stacks: [stacks[0]; 3],
            reserved1: 0,
            interrupt_stacks: all,
            reserved2: 0,
            reserved3: 0,
            io_map: size_of::<TaskState>() as u16,
        }
    }
}

/// An interrupt gate.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    /// A vector without a handler.
    pub const NONE: Gate = Gate { low: 0, high: 0 };

    /// A gate to CPL 0 code at `handler` on interrupt stack `stack` (1-based). `user`: the INT instruction may use it at CPL 3.
    pub const fn new(handler: u64, stack: u8, user: bool) -> Gate {
        let kind = if user { 0xee } else { 0x8e };
        Gate {
            low: (handler & 0xffff)
                | (KERNEL_CODE as u64) << 16
                | (stack as u64) << 32
                | kind << 40
                | (handler >> 16 & 0xffff) << 48,
            high: handler >> 32,
        }
    }
}

/// The interrupt descriptor table.
#[repr(C, align(4096))]
pub struct Idt(pub [Gate; 256]);

impl Idt {
    /// Largest offset that belongs to the table.
    pub const LIMIT: u16 = size_of::<Idt>() as u16 - 1;
}

/// What the CPU pushes when it takes a gate, lowest address first, without the error code.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where to go on.
    pub rip: u64,
    /// Code segment; its low two bits are the privilege level.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

impl Frame {
    /// A frame that goes on at CPL 3.
    pub const fn user(rip: u64, rsp: u64, rflags: u64) -> Frame {
        Frame {
            rip,
            cs: USER_CODE as u64,
            rflags,
            rsp,
            ss: USER_DATA as u64,
        }
    }
}

/// Vectors whose exceptions push an error code.
pub const WITH_ERROR_CODE: u32 = 1 << 8
    | 1 << 10
    | 1 << 11
    | 1 << 12
    | 1 << 13
    | 1 << 14
    | 1 << 17
    | 1 << 21
    | 1 << 29
    | 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use x86_64::VirtAddr;
    use x86_64::structures::gdt::Descriptor;
    use x86_64::structures::idt::InterruptDescriptorTable;

    /// The CPU's own accessed bit and the "busy" bit of a task do not count.
    fn same(ours: u64, theirs: u64) -> bool {
        ours | 1 << 40 == theirs | 1 << 40
    }

    #[test]
    fn descriptors_are_those_of_another_implementation() {
        let task = x86_64::structures::tss::TaskStateSegment::new();
        let gdt = Gdt::new(core::ptr::from_ref(&task) as u64);
        let flat = |d: Descriptor| match d {
            Descriptor::UserSegment(v) => v,
            Descriptor::SystemSegment(..) => unreachable!(),
        };
        assert!(same(gdt.0[2], flat(Descriptor::kernel_code_segment())));
        assert!(same(gdt.0[3], flat(Descriptor::kernel_data_segment())));
        assert!(same(gdt.0[5], flat(Descriptor::user_data_segment())));
        assert!(same(gdt.0[6], flat(Descriptor::user_code_segment())));
        // SAFETY: the task state is alive; the descriptor is only compared, never loaded.
        let task = unsafe { Descriptor::tss_segment_unchecked(&task) };
        let Descriptor::SystemSegment(low, high) = task else {
            panic!("a task descriptor has two words");
        };
        assert_eq!(gdt.0[8] & !(1 << 41), low & !(1 << 41));
        assert_eq!(gdt.0[9], high);
    }

    #[test]
    fn gates_are_those_of_another_implementation() {
        let mut idt = InterruptDescriptorTable::new();
        // SAFETY: the table is only compared, never loaded.
        unsafe {
            idt.page_fault
                .set_handler_addr(VirtAddr::new(0x5678_1234_9abc))
                .set_code_selector(x86_64::structures::gdt::SegmentSelector(KERNEL_CODE))
                .set_stack_index(1)
        };
        // SAFETY: both are sixteen bytes of plain data.
        let theirs: [u64; 2] = unsafe { core::mem::transmute(idt.page_fault) };
        let ours = Gate::new(0x5678_1234_9abc, 2, false);
        assert_eq!([ours.low, ours.high], theirs);
    }

    #[test]
    fn star_leads_to_the_selectors_of_linux() {
        assert_eq!((STAR >> 48) + 16, u64::from(USER_CODE));
        assert_eq!((STAR >> 48) + 8, u64::from(USER_DATA));
        assert_eq!((STAR >> 32 & 0xffff) + 8, u64::from(KERNEL_DATA));
    }
}
