//! What /dev/dune must withstand and keep from guests. `kmod-safety PART` runs one part: it says what is wrong and fails, or prints "PART: good".

mod lives;
mod pressure;
mod raw;
mod rights;

use dune_sys as abi;
use raw::{Device, Guest};

/// Instructions that reach further than a program may: each must fault in the guest, which has no gate, and so shuts down.
const FORBIDDEN: &[(&str, &[u8])] = &[
    ("in", &[0xec]),
    ("out", &[0xee]),
    ("rdmsr", &[0x0f, 0x32]),
    ("wrmsr", &[0x0f, 0x30]),
    ("rdpmc", &[0x0f, 0x33]),
    ("mov to cr0", &[0x0f, 0x22, 0xc0]),
    ("mov to cr4", &[0x0f, 0x22, 0xe0]),
    ("mov to cr8", &[0x44, 0x0f, 0x22, 0xc0]),
    ("lmsw", &[0x0f, 0x01, 0xf0]),
    ("clts", &[0x0f, 0x06]),
    ("mov to dr7", &[0x0f, 0x23, 0xf8]),
    ("mov from dr0", &[0x0f, 0x21, 0xc0]),
    ("xsetbv", &[0x0f, 0x01, 0xd1]),
    ("invd", &[0x0f, 0x08]),
    ("wbinvd", &[0x0f, 0x09]),
    ("monitor", &[0x0f, 0x01, 0xc8]),
    ("mwait", &[0x0f, 0x01, 0xc9]),
    ("vmrun", &[0x0f, 0x01, 0xd8]),
    ("vmmcall", &[0x0f, 0x01, 0xd9]),
    ("vmload", &[0x0f, 0x01, 0xda]),
    ("vmsave", &[0x0f, 0x01, 0xdb]),
    ("stgi", &[0x0f, 0x01, 0xdc]),
    ("clgi", &[0x0f, 0x01, 0xdd]),
    ("skinit", &[0x0f, 0x01, 0xde]),
    ("invlpga", &[0x0f, 0x01, 0xdf]),
    ("rsm", &[0x0f, 0xaa]),
    ("vmcall", &[0x0f, 0x01, 0xc1]),
    ("vmlaunch", &[0x0f, 0x01, 0xc2]),
    ("vmresume", &[0x0f, 0x01, 0xc3]),
    ("vmxoff", &[0x0f, 0x01, 0xc4]),
    ("vmfunc", &[0x0f, 0x01, 0xd4]),
    ("vmread", &[0x0f, 0x78, 0xc0]),
    ("vmwrite", &[0x0f, 0x79, 0xc0]),
    ("vmptrld", &[0x0f, 0xc7, 0x34, 0x24]),
    ("vmclear", &[0x66, 0x0f, 0xc7, 0x34, 0x24]),
    ("vmxon", &[0xf3, 0x0f, 0xc7, 0x34, 0x24]),
    ("invept", &[0x66, 0x0f, 0x38, 0x80, 0x04, 0x24]),
    ("invvpid", &[0x66, 0x0f, 0x38, 0x81, 0x04, 0x24]),
    ("getsec", &[0x0f, 0x37]),
    ("encls", &[0x0f, 0x01, 0xcf]),
];

fn forbidden() {
    let guest = Guest::new();
    for (name, code) in FORBIDDEN {
        guest.code(&[code, &[0xf4][..]].concat());
        let mut run = guest.vcpu();
        (run.regs.rax, run.regs.rcx) = (0, 0xc000_0080);
        assert_eq!(guest.run(&mut run), abi::EXIT_SHUTDOWN, "{name}");
        assert_eq!(guest.device.run(&mut run), Err(libc::EIO), "{name}");
    }
}

/// Registers go in and come out.
fn registers() {
    let guest = Guest::new();
    // xchg rax, rbx; inc r15; hlt
    guest.code(&[0x48, 0x93, 0x49, 0xff, 0xc7, 0xf4]);
    let mut run = guest.vcpu();
    (run.regs.rax, run.regs.rbx, run.regs.r15) = (1, 2, 3);
    (run.fs_base, run.gs_base) = (0x1234, 0x5678);
    run.set |= abi::SET_BASES;
    assert_eq!(guest.run(&mut run), abi::EXIT_HALT);
    assert_eq!((run.regs.rax, run.regs.rbx, run.regs.r15), (2, 1, 4));
    assert_eq!((run.fs_base, run.gs_base), (0x1234, 0x5678));
    assert_eq!(run.regs.rip, raw::CODE as u64 + 6);
    assert_eq!(run.set, 0);
    // Flags that are the system's do not get in: IOPL, VM, VIF.
    guest.code(&[0xf4]);
    run.set = abi::SET_REGS;
    (run.regs.rip, run.regs.rflags) = (raw::CODE as u64, !0x100);
    assert_eq!(guest.run(&mut run), abi::EXIT_HALT);
    assert_eq!(run.regs.rflags & (3 << 12 | 1 << 17 | 1 << 19), 0);
}

/// What must be zero, or is out of bounds, is refused.
fn arguments() {
    let guest = Guest::new();
    let device = &guest.device;
    let mut info = abi::Info::default();
    let at = std::ptr::from_mut(&mut info).cast();
    assert_eq!(device.request(abi::GET_INFO, at), Ok(()));
    assert_eq!((info.version, info.reserved), (abi::ABI_VERSION, [0; 4]));
    assert_eq!(device.request(0x1234, at), Err(libc::ENOTTY));
    for request in [abi::GET_INFO, abi::ADD_CHUNK, abi::CREATE_VCPU, abi::RUN] {
        let nowhere = std::ptr::without_provenance_mut(8);
        assert_eq!(device.request(request, nowhere), Err(libc::EFAULT));
    }

    let chunk = |change: fn(&mut abi::Chunk)| {
        let mut chunk = abi::Chunk {
            gpa: abi::CHUNK_SIZE,
            address: abi::CHUNK_SIZE,
            ..Default::default()
        };
        change(&mut chunk);
        device.add_chunk(&mut chunk)
    };
    assert_eq!(chunk(|c| c.reserved[1] = 1), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.gpa += 4096), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.gpa = 1 << 47), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.address += 4096), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.address = 1 << 47), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.address = !0 << 28), Err(libc::EINVAL));
    assert_eq!(chunk(|c| c.gpa = 0), Err(libc::EEXIST));
    assert_eq!(chunk(|_| ()), Ok(()));
    assert_eq!(chunk(|c| c.gpa = 5 << 28), Err(libc::EEXIST));
    let mut made = 2;
    while made < abi::MAX_CHUNKS {
        let at = (made + 1) << 28;
        let mut chunk = abi::Chunk {
            gpa: at,
            address: at,
            ..Default::default()
        };
        if device.add_chunk(&mut chunk) != Err(libc::EEXIST) {
            made += 1;
        } else {
            break;
        }
    }

    let vcpu = |change: fn(&mut abi::Vcpu)| {
        let mut vcpu = Guest::start();
        change(&mut vcpu);
        device.create(&mut vcpu)
    };
    assert_eq!(vcpu(|v| v.reserved0 = 1), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.reserved1 = 1), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.reserved[3] = 1), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.root = 1), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.root = 1 << 47), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.lstar = !0), Err(libc::EINVAL));
    assert_eq!(vcpu(|v| v.gdt = !0), Err(libc::EINVAL));
    let most = (0..2000).take_while(|_| vcpu(|_| ()).is_ok()).count();
    assert_eq!(most, abi::MAX_VCPUS as usize);
    assert_eq!(vcpu(|_| ()), Err(libc::ENOSPC));

    let run = |change: fn(&mut abi::Run)| {
        let mut run = abi::Run::default();
        change(&mut run);
        device.run(&mut run)
    };
    assert_eq!(run(|r| r.reserved[0] = 1), Err(libc::EINVAL));
    assert_eq!(run(|r| r.set = 1 << 5), Err(libc::EINVAL));
    assert_eq!(run(|r| r.vcpu = abi::MAX_VCPUS), Err(libc::ENOENT));
    let bases = |r: &mut abi::Run| (r.set, r.fs_base) = (abi::SET_BASES, 1 << 47);
    assert_eq!(run(bases), Err(libc::EINVAL));
}

/// With another hypervisor in the processor, the one that comes second is refused.
fn other_hypervisor() {
    const KVM_CREATE_VM: u64 = 0xae01;
    // SAFETY: a NUL-terminated path.
    let kvm = unsafe { libc::open(c"/dev/kvm".as_ptr(), libc::O_RDWR) };
    assert!(kvm >= 0, "/dev/kvm");
    // SAFETY: makes a virtual machine, or fails.
    let machine = || unsafe { libc::ioctl(kvm, KVM_CREATE_VM, 0) };
    let first = Device::open().expect("nobody else is there");
    assert_eq!(machine(), -1, "KVM while dune is in use");
    drop(first);
    let vm = machine();
    assert!(vm >= 0, "KVM after dune");
    let refused = Device::open().err().and_then(|e| e.raw_os_error());
    assert_eq!(refused, Some(libc::EBUSY));
    // SAFETY: our own descriptor.
    unsafe { libc::close(vm) };
    Device::open().expect("KVM has gone");
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "registers" => registers(),
        "arguments" => arguments(),
        "forbidden" => forbidden(),
        "rights" => rights::rights(),
        "outside" => rights::outside(),
        "copies" => rights::copies(),
        "changing" => rights::changing(),
        "signals" => lives::signals(),
        "moves" => lives::moves(),
        "kill" => lives::kill(),
        "ends" => lives::ends(),
        "foreign" => lives::foreign(),
        "traced" => lives::traced(),
        "steps" => lives::steps(),
        "memory" => pressure::memory(),
        "unpinned" => pressure::unpinned(),
        "oom" => pressure::oom(),
        "spin" => lives::spin(),
        "other-hypervisor" => other_hypervisor(),
        _ => panic!("which part?"),
    }
    println!("{part}: good");
}
