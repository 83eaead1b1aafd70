//! The reference programs of guest mode: `tests/dune/`. Each prints what happened; all of it is the same on every machine.

use std::path::{Path, PathBuf};

use dunegc_tests::{Machine, Run, test_program};

/// Program and what it prints.
const PROGRAMS: &[(&str, &str)] = &[
    (
        env!("CARGO_BIN_EXE_dune-hello"),
        "native: true\nin guest mode: true\ncaught a division by zero\nrecovered with 42\nnative again: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-processes"),
        "child: native\nchild's status: 7\n\
         thread: inside true, sum 500500\nthread: inside true, sum 2001000\n\
         thread: inside true, sum 4501500\nthread: inside true, sum 8002000\n\
         uname says Linux\nstill inside: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-mprotect"),
        "fault: load in page 2\nfault: load in page 3\nsum 20\nfault: store in page 0\nfault: store in page 1\n\
         fault: store in page 2\nfault: store in page 3\nsum 24\nstill inside: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-tables"),
        "a b\nb b\nc\ndirty: true true\na b\na b\n",
    ),
    (env!("CARGO_BIN_EXE_dune-invlpg"), "1280 of 1280 right\n"),
    (
        env!("CARGO_BIN_EXE_dune-traps"),
        "exception 13 at CPL 3\nexception 13 at CPL 3\nexception 6 at CPL 3\nexception 13 at CPL 3\n\
         exception 13 at CPL 3\nstill inside: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-float"),
        "same: true\nsame in a thread: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-counts"),
        "1000 system calls: 1000 exits\n1000 writes to known pages: 0 exits\n\
         harvest of 1000 pages, without flush: 0 exits\n1000 first writes to clean pages: 0 exits\n\
         flush: at most 1 exit: true\nflush: at most 1 exit: true\n1000 faults handled: 0 exits\n\
         65536 first writes: 0 exits\nharvest of 65536 pages: 65536 written, at most 1 exit: true\n\
         the same beside a thread that writes: 65536 written, at most 1 exit for each of both: true\n",
    ),
    (
        env!("CARGO_BIN_EXE_dune-timetest"),
        "never back: true\nthe counter's rate: true\nslept: true\nalarms: true\nwall clock: true\nstill inside: true\n",
    ),
];

/// What `dune-shared` prints with the library's path.
const SHARED: &str = "before: false\nafter: true\nversion 3, inside: true\n\
    thread: (true, 0)\nthread: (true, 1)\nthread: (true, 4)\nstill there: true\n";

#[test]
fn reference_programs_print_what_they_should() {
    if let Err(e) = libdune::Dune::probe() {
        eprintln!("skipped: {e}");
        return;
    }
    for (program, expected) in PROGRAMS {
        let output = Run::new(program).ok();
        assert_eq!(output.stdout, *expected, "{program}");
    }
    let program = env!("CARGO_BIN_EXE_dune-shared");
    let output = Run::new(program).arg(dunegc_tests::build_preload()).ok();
    assert_eq!(output.stdout, SHARED, "{program}");
}

/// Kernel modules of KVM on AMD's processors, which QEMU emulates with nested paging.
const MODULES: &[&str] = &["irqbypass", "ccp", "kvm", "kvm-amd npt=1"];

/// Runs the reference programs, and what else `more` says, on a Debian kernel under kvm-amd in QEMU; what the machine wrote.
fn reference_programs_in_qemu(
    machine: &str,
    modules: &[&str],
    more: &[(&str, PathBuf)],
    script: &str,
) -> Option<String> {
    let name = |path: &str| path.rsplit('/').next().expect("a last part").to_owned();
    let names: Vec<String> = PROGRAMS.iter().map(|(p, _)| name(p)).collect();
    let mut programs: Vec<(&str, PathBuf)> = more.to_vec();
    for ((path, _), name) in PROGRAMS.iter().zip(&names) {
        programs.push((name, PathBuf::from(path)));
    }
    programs.push(("shared", PathBuf::from(env!("CARGO_BIN_EXE_dune-shared"))));
    programs.push(("libdune.so", dunegc_tests::build_preload()));
    let mut all =
        String::from("set -e\nexport PATH=/tmp\n/bin/busybox ln -s /bin/busybox /tmp/echo\n");
    all += "/bin/busybox ln -s /bin/busybox /tmp/uname\n";
    for name in &names {
        all += &format!("echo '== {name}'\n/{name}\n");
    }
    all += "echo '== shared'\n/shared /libdune.so\n";
    all += script;
    let machine = Machine {
        name: machine,
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")),
        programs: &programs,
        modules,
        script: &all,
        cpu: "max,+svm,-la57",
        // With two, the emulator sometimes stands still.
        cpus: 1,
        parallel: true,
        counted: false,
        kaslr: false,
        limit: 400,
    };
    let text = match machine.run() {
        Ok(text) => text,
        Err(e) => {
            eprintln!("skipped: {e}");
            return None;
        }
    };
    // An emulator that got no processor for half a minute: the kernel in it says that time went by.
    let late = |line: &str| {
        line.starts_with('[') && ["rcu: ", "watchdog: "].iter().any(|w| line.contains(w))
    };
    let text = text.lines().filter(|line| !late(line));
    let text = text.fold(String::new(), |text, line| text + line + "\n");
    let expected = PROGRAMS.iter().map(|(_, expected)| *expected);
    let names = names.iter().map(String::as_str);
    for (name, expected) in names.zip(expected).chain([("shared", SHARED)]) {
        let (_, after) = text.split_once(&format!("== {name}\n")).expect(&text);
        assert!(after.starts_with(expected), "{name}: {text}");
    }
    assert!(!text.contains("skipped"), "{text}");
    Some(text)
}

#[test]
fn guest_mode_on_a_debian_kernel_with_nested_paging() {
    let programs = [
        ("guest", test_program("libdune", "guest")),
        ("threads", test_program("libdune", "threads")),
        ("trouble", test_program("libdune", "trouble")),
        ("conformance", test_program("dunegc", "dirty_conformance")),
        ("hazards", test_program("dunegc", "dirty_dune")),
    ];
    let mut script =
        String::from("echo '== tests'\n/guest --test-threads=1\n/threads --test-threads=1\n");
    script += "/trouble --test-threads=1 --skip self_test\n";
    // The emulator takes its time for random rounds by several threads; those of `threads` do the same.
    script += "/conformance dune:: dune_wp:: --skip liar --skip ten_thousand --test-threads=1\n";
    script += "/hazards --test-threads=1\n";
    script += "/bin/busybox mkdir /sys\n/bin/busybox mount -t sysfs sys /sys\n";
    script += "/bin/busybox mount -t debugfs debug /sys/kernel/debug\n/dune-counts machine\n";
    let text = reference_programs_in_qemu("dune-qemu", MODULES, &programs, &script);
    let Some(text) = text else { return };
    // By KVM's own count of the processor's exits.
    let exits = |what: &str| -> i64 {
        let (_, after) = text.split_once(&format!("machine: {what}: ")).expect(&text);
        let count = after.split(' ').next().and_then(|n| n.parse().ok());
        count.expect("a count")
    };
    for what in [
        "65536 first writes",
        "harvest of 65536 pages, all written",
        "65536 faults handled",
        "1000 system calls",
    ] {
        println!("{what}: {} exits", exits(what));
    }
    assert!(exits("65536 first writes") <= 0, "{text}");
    assert!(exits("65536 faults handled") <= 0, "{text}");
    assert!(exits("harvest of 65536 pages, all written") <= 1, "{text}");
    assert!(exits("1000 system calls") >= 1000, "{text}");
}

/// The kernel keeps shadows of the guest's tables where the processor cannot, or is told not to, translate twice. All is the same, only slower.
#[test]
fn guest_mode_on_a_debian_kernel_without_nested_paging() {
    let modules = ["irqbypass", "ccp", "kvm", "kvm-amd npt=0"];
    let programs = [
        ("guest", test_program("libdune", "guest")),
        ("threads", test_program("libdune", "threads")),
    ];
    let script = "echo '== tests'\n/guest --test-threads=1\n/threads --test-threads=1\n";
    reference_programs_in_qemu("dune-shadow-qemu", &modules, &programs, script);
}

/// Collections beside programs, with the sources of guest mode, where dirty bits and translations are those of a processor's.
#[test]
fn collections_on_a_debian_kernel_with_nested_paging() {
    let Some(dune) = dunegc_tests::preload_dune() else {
        return;
    };
    let mut script = String::from("set -e\n");
    let setting = "LD_PRELOAD=/libdune.so:/libdunegc.so DUNEGC_MODE=malloc DUNE=stats DUNEGC_CONCURRENT=yes DUNEGC_MIN_HEAP=1M";
    for source in ["dune", "dune-wp"] {
        for program in ["/mutators 1 10", "/mutators 3 10"] {
            script += &format!("echo '== {source} {program}'\n");
            script += &format!("{setting} DUNEGC_DIRTY={source} {program} 2>&1\n");
        }
    }
    let machine = Machine {
        name: "dune-collect-qemu",
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")),
        programs: &[
            ("libdune.so", dune),
            ("libdunegc.so", dunegc_tests::library()),
            ("mutators", dunegc_tests::compile("mutators")),
        ],
        modules: MODULES,
        script: &script,
        cpu: "max,+svm,-la57",
        cpus: 1,
        parallel: true,
        counted: false,
        kaslr: false,
        limit: 400,
    };
    let text = match machine.run() {
        Ok(text) => text,
        Err(e) => {
            eprintln!("skipped: {e}");
            return;
        }
    };
    println!("{text}");
    assert_eq!(text.matches("collections").count(), 4, "{text}");
    assert!(!text.contains("dunegc:"), "{text}");
}

/// What operations cost in instructions, counted by the emulator: native Linux and guest mode on the same machine.
#[test]
fn protection_takes_a_seventh_of_the_instructions() {
    let machine = Machine {
        name: "dune-micro-qemu",
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")),
        programs: &[("micro", dunegc_tests::build_benchmarks())],
        modules: MODULES,
        script: "/micro micro --instructions",
        cpu: "max,+svm,-la57",
        cpus: 1,
        parallel: false,
        counted: true,
        kaslr: false,
        limit: 400,
    };
    let text = match machine.run() {
        Ok(text) => text,
        Err(e) => {
            eprintln!("skipped: {e}");
            return;
        }
    };
    println!("{text}");
    for name in ["Appel 1", "Appel 2"] {
        let row = text.lines().find(|l| l.starts_with(&format!("| {name}")));
        let ratio = row.and_then(|r| r.trim_end_matches([' ', '|']).rsplit(' ').next());
        let ratio: f64 = ratio.and_then(|r| r.parse().ok()).expect(&text);
        assert!(ratio >= 7.0, "{name}: {text}");
    }
}
