//! The conformance suite of dirty sources on a Debian kernel, which has soft-dirty bits, in QEMU. Needs no virtualisation hardware.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dunegc_tests::workspace;

/// What init tells QEMU's debug port for a pass, as QEMU's exit status.
const PASS: i32 = 0x10 << 1 | 1;

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
DUNEGC_TEST_DIRTY=soft-dirty /test soft_dirty auto_ --test-threads=1
rc=$?
/bin/busybox sleep 1
/bin/busybox printf "\\x$((10 + (rc != 0)))" | /bin/busybox dd of=/dev/port bs=1 seek=244 2>/dev/null
/bin/busybox poweroff -f
"#;

/// Standard output of a command that must succeed; the error says which did not.
fn output(program: &str, args: &[&str], dir: &Path) -> Result<String, String> {
    let run = Command::new(program).args(args).current_dir(dir).output();
    let out = run.map_err(|e| format!("{program}: {e}"))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(format!("{program} {}: {text}", args.join(" ")));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A file of `dir` whose name starts with `start`.
fn find(dir: &Path, start: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    entries.filter_map(|e| Some(e.ok()?.path())).find(|p| {
        p.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with(start))
    })
}

/// Debian's kernel, downloaded once and never installed.
fn kernel(dir: &Path) -> Result<PathBuf, String> {
    let unpacked = dir.join("kernel");
    if let Some(found) = find(&unpacked.join("boot"), "vmlinuz-") {
        return Ok(found);
    }
    let depends = output("apt-cache", &["depends", "linux-image-amd64"], dir)?;
    let package = depends
        .lines()
        .find_map(|l| l.trim().strip_prefix("Depends: "))
        .ok_or("apt-cache knows no linux-image-amd64")?;
    output("apt-get", &["-q", "download", package], dir)?;
    let archive = find(dir, package).ok_or("apt-get downloaded nothing")?;
    let archive = archive.to_string_lossy().into_owned();
    output("dpkg", &["-x", &archive, "kernel"], dir)?;
    fs::remove_file(archive).map_err(|e| e.to_string())?;
    find(&unpacked.join("boot"), "vmlinuz-").ok_or_else(|| "no vmlinuz in the package".to_owned())
}

/// The test program of the collector, built now.
fn suite() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = [
        "test",
        "--package",
        "dunegc",
        "--test",
        "dirty_conformance",
        "--no-run",
        "--message-format=json",
    ];
    let messages = output(&cargo, &args, workspace()).expect("the suite builds");
    let path = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "dirty_conformance")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    path.expect("cargo names the program")
}

/// The program with its libraries, busybox and the init script.
fn initrd(dir: &Path, program: &Path) -> PathBuf {
    let root = dir.join("root");
    let _ = fs::remove_dir_all(&root);
    for folder in ["bin", "proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox
        .iter()
        .find(|p| Path::new(p).exists())
        .expect("busybox");
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox");
    fs::copy(program, root.join("test")).expect("the suite");
    let program = program.display().to_string();
    let libraries = output("ldd", &[&program], dir).expect("ldd");
    for word in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
        let to = root.join(&word[1..]);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(word, to).expect("a library");
    }
    fs::write(root.join("init"), INIT).expect("init");
    output("chmod", &["+x", "init"], &root).expect("chmod");
    output("sh", &["-c", "find . | cpio -o -H newc > ../initrd"], &root).expect("cpio");
    dir.join("initrd")
}

#[test]
fn soft_dirty_conforms_on_a_debian_kernel() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dirty-qemu");
    fs::create_dir_all(&dir).expect("a folder");
    for (tool, argument) in [
        ("qemu-system-x86_64", "--version"),
        ("busybox", "true"),
        ("cpio", "--version"),
    ] {
        if let Err(e) = output(tool, &[argument], &dir) {
            eprintln!("skipped: {e}; install qemu-system-x86, busybox-static and cpio");
            return;
        }
    }
    let kernel = match kernel(&dir) {
        Ok(kernel) => kernel.display().to_string(),
        Err(e) => {
            eprintln!("skipped: Debian's kernel cannot be had: {e}");
            return;
        }
    };
    let initrd = initrd(&dir, &suite()).display().to_string();
    let machine = "900 qemu-system-x86_64 -accel tcg,thread=multi -M q35 -cpu max,-la57 -smp 2 -m 1G -display none \
        -vga none -nic none -no-user-config -nodefaults -serial stdio -no-reboot \
        -device isa-debug-exit,iobase=0xf4,iosize=1";
    let out = Command::new("timeout")
        .args(machine.split_whitespace())
        .args(["-kernel", &kernel, "-initrd", &initrd, "-append"])
        .arg("console=ttyS0 panic=-1 quiet mitigations=off nokaslr")
        .output()
        .expect("QEMU runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(PASS), "{text}");
    let passed = text
        .lines()
        .filter(|l| l.trim_end().ends_with("... ok"))
        .count();
    assert!(passed > 30, "{text}");
}
