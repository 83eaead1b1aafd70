//! The types are those of the kernel's header, as a C compiler reads it.

use dune_sys as sys;
use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// A C expression and what it must be.
type Fact = (String, u64);

macro_rules! layout {
    ($facts:ident, $type:ident, $c:literal, $($field:ident),*) => {
        $facts.push((concat!("sizeof(struct ", $c, ")").to_owned(), size_of::<sys::$type>() as u64));
        // All fields are listed: they fill the structure.
        let mut end = 0;
        let zero = sys::$type::default();
        $(
            let name = concat!($c, ", ", stringify!($field)).replace("r#", "");
            $facts.push((format!("offsetof(struct {name})"), offset_of!(sys::$type, $field) as u64));
            assert_eq!(end, offset_of!(sys::$type, $field), "{name}");
            end += size_of_val(&zero.$field);
        )*
        assert_eq!(end, size_of::<sys::$type>());
    };
}

fn facts() -> Vec<Fact> {
    let mut facts = Vec::new();
    layout!(
        facts,
        Info,
        "dune_info",
        version,
        backend,
        address_bits,
        max_vcpus,
        max_chunks,
        chunk_size,
        reserved
    );
    layout!(facts, Chunk, "dune_chunk", gpa, address, reserved);
    layout!(
        facts,
        Vcpu,
        "dune_vcpu",
        id,
        reserved0,
        root,
        gdt,
        idt,
        task,
        star,
        lstar,
        sfmask,
        gdt_limit,
        idt_limit,
        task_selector,
        reserved1,
        reserved
    );
    layout!(
        facts,
        Regs,
        "dune_regs",
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags
    );
    layout!(
        facts, Run, "dune_run", vcpu, set, exit, detail, address, blocked, regs, fs_base, gs_base,
        cr2, reserved
    );
    let constants = [
        ("DUNE_ABI_VERSION", sys::ABI_VERSION.into()),
        ("DUNE_CHUNK_SIZE", sys::CHUNK_SIZE),
        ("DUNE_MAX_CHUNKS", sys::MAX_CHUNKS),
        ("DUNE_MAX_VCPUS", sys::MAX_VCPUS.into()),
        ("DUNE_BACKEND_SVM", sys::BACKEND_SVM.into()),
        ("DUNE_BACKEND_VMX", sys::BACKEND_VMX.into()),
        ("DUNE_SET_REGS", sys::SET_REGS.into()),
        ("DUNE_SET_BASES", sys::SET_BASES.into()),
        ("DUNE_SET_KERNEL", sys::SET_KERNEL.into()),
        ("DUNE_SET_FLUSH", sys::SET_FLUSH.into()),
        ("DUNE_SET_BLOCKED", sys::SET_BLOCKED.into()),
        ("DUNE_EXIT_HALT", sys::EXIT_HALT.into()),
        ("DUNE_EXIT_INTERRUPTED", sys::EXIT_INTERRUPTED.into()),
        ("DUNE_EXIT_REFUSED", sys::EXIT_REFUSED.into()),
        ("DUNE_EXIT_EXCEPTION", sys::EXIT_EXCEPTION.into()),
        ("DUNE_EXIT_SHUTDOWN", sys::EXIT_SHUTDOWN.into()),
        ("DUNE_EXIT_INVALID", sys::EXIT_INVALID.into()),
        ("DUNE_EXIT_UNKNOWN", sys::EXIT_UNKNOWN.into()),
        ("DUNE_GET_INFO", sys::GET_INFO),
        ("DUNE_ADD_CHUNK", sys::ADD_CHUNK),
        ("DUNE_CREATE_VCPU", sys::CREATE_VCPU),
        ("DUNE_RUN", sys::RUN),
    ];
    facts.extend(constants.map(|(name, value): (&str, u64)| (name.to_owned(), value)));
    facts
}

#[test]
fn layout_and_constants_are_those_of_the_header() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kmod/uapi/dune.h");
    let mut program = format!(
        "#include <stddef.h>\n#include \"{}\"\n",
        header.canonicalize().expect("the header").display()
    );
    for (expression, value) in facts() {
        writeln!(
            program,
            "_Static_assert({expression} == {value}ULL, \"{expression}\");"
        )
        .expect("a line");
    }
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("facts.c");
    std::fs::write(&source, program).expect("a file");
    let out = Command::new("cc")
        .args(["-fsyntax-only", "-Wall", "-Werror"])
        .arg(source)
        .output()
        .expect("a C compiler");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
