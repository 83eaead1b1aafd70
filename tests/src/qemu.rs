//! Programs on a Debian kernel in QEMU. Needs no virtualisation hardware; the kernel is downloaded once and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::library::workspace;

/// What init tells QEMU's debug port for a pass, as QEMU's exit status.
const PASS: i32 = 0x10 << 1 | 1;

/// A machine: what it runs, and how it is made.
pub struct Machine<'a> {
    /// Its folder below `dir`.
    pub name: &'a str,
    /// The tests' scratch folder.
    pub dir: &'a Path,
    /// Programs and kernel modules (`*.ko`), by the name that they have in the machine.
    pub programs: &'a [(&'a str, PathBuf)],
    /// Kernel modules to load, in this order, with their parameters.
    pub modules: &'a [&'a str],
    /// What the shell runs, with `/bin/busybox` and the programs in `/`; its status decides.
    pub script: &'a str,
    /// Processor features.
    pub cpu: &'a str,
    /// Number of processors.
    pub cpus: u32,
    /// Whether each of them has a thread of the emulator's of its own; else they take turns.
    pub parallel: bool,
    /// Seconds after which it is ended.
    pub limit: u32,
}

impl Machine<'_> {
    /// Boots it and gives what it wrote to its console, after a pass.
    ///
    /// # Errors
    /// What is missing here.
    ///
    /// # Panics
    /// The script failed, or the machine did.
    pub fn run(&self) -> Result<String, String> {
        let dir = self.dir.join(self.name);
        fs::create_dir_all(&dir).expect("a folder");
        for (tool, argument) in [
            ("qemu-system-x86_64", "--version"),
            ("busybox", "true"),
            ("cpio", "--version"),
        ] {
            output(tool, &[argument], &dir)
                .map_err(|e| format!("{e}; install qemu-system-x86, busybox-static and cpio"))?;
        }
        let kernel = debian_kernel(self.dir)?;
        let initrd = self.initrd(&dir, &self.dir.join(KERNEL).join("kernel"));
        let machine = format!(
            "{} qemu-system-x86_64 -accel tcg,thread={} -M q35 -cpu {} -smp {} -m 1G -display none \
             -vga none -nic none -no-user-config -nodefaults -serial stdio -no-reboot \
             -device isa-debug-exit,iobase=0xf4,iosize=1",
            self.limit,
            if self.parallel { "multi" } else { "single" },
            self.cpu,
            self.cpus
        );
        let out = Command::new("timeout")
            .args(machine.split_whitespace())
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            .arg("console=ttyS0 panic=-1 quiet mitigations=off nokaslr")
            .output()
            .expect("QEMU runs");
        let text = String::from_utf8_lossy(&out.stdout).replace('\r', "");
        assert_eq!(out.status.code(), Some(PASS), "{text}");
        Ok(text)
    }

    /// The programs with their libraries, busybox, modules and the init script.
    fn initrd(&self, dir: &Path, kernel: &Path) -> PathBuf {
        let root = dir.join("root");
        let _ = fs::remove_dir_all(&root);
        for folder in ["bin", "proc", "dev", "tmp", "modules"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.iter().find(|p| Path::new(p).exists());
        fs::copy(busybox.expect("busybox"), root.join("bin/busybox")).expect("busybox");
        let mut load = String::new();
        for module in self.modules {
            let name = module.split(' ').next().expect("a first word");
            let file = format!("{name}.ko");
            let path = find_below(kernel, &file).unwrap_or_else(|| panic!("no {file}"));
            fs::copy(path, root.join("modules").join(&file)).expect("a module");
            let parameters = &module[name.len()..];
            load += &format!("/bin/busybox insmod /modules/{file}{parameters}\n");
        }
        for (name, program) in self.programs {
            fs::copy(program, root.join(name)).expect("a program");
            if name.ends_with(".ko") {
                continue;
            }
            let libraries = output("ldd", &[&program.display().to_string()], dir).expect("ldd");
            for word in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
                let to = root.join(&word[1..]);
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::copy(word, to).expect("a library");
            }
        }
        let init = format!(
            r#"#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
{load}(
{}
)
rc=$?
/bin/busybox sleep 1
/bin/busybox printf "\\x$((10 + (rc != 0)))" | /bin/busybox dd of=/dev/port bs=1 seek=244 2>/dev/null
/bin/busybox poweroff -f
"#,
            self.script
        );
        fs::write(root.join("init"), init).expect("init");
        output("chmod", &["+x", "init"], &root).expect("chmod");
        output("sh", &["-c", "find . | cpio -o -H newc > ../initrd"], &root).expect("cpio");
        dir.join("initrd")
    }
}

/// A test program of the workspace, built now.
///
/// # Panics
/// It cannot be built.
pub fn test_program(package: &str, test: &str) -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = [
        "test",
        "--package",
        package,
        "--test",
        test,
        "--no-run",
        "--message-format=json",
    ];
    let messages = output(&cargo, &args, workspace()).expect("the suite builds");
    let path = messages.lines().find_map(|line| {
        // `"target":{..,"name":"NAME",..}` and `"executable":"PATH"` of one message.
        let named = line.contains(&format!("\"name\":\"{test}\""));
        let (_, after) = line.split_once("\"executable\":\"")?;
        named.then(|| PathBuf::from(after.split('"').next().unwrap_or_default()))
    });
    path.expect("cargo names the program")
}

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

/// A file of a name, somewhere below `dir`.
fn find_below(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(dir)
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    let here = entries
        .iter()
        .find(|p| p.file_name().is_some_and(|n| n == name));
    let below = || {
        let folders = entries.iter().filter(|p| p.is_dir() && !p.is_symlink());
        folders.filter_map(|p| find_below(p, name)).next()
    };
    here.cloned().or_else(below)
}

/// The folder of Debian's kernel below a scratch folder: one copy for all machines.
const KERNEL: &str = "debian-kernel";

/// Debian's kernel as a file `vmlinuz-VERSION`, downloaded once into a scratch folder and never installed.
///
/// # Errors
/// Why it cannot be had.
pub fn debian_kernel(dir: &Path) -> Result<PathBuf, String> {
    let shared = dir.join(KERNEL);
    fs::create_dir_all(&shared).map_err(|e| e.to_string())?;
    kernel(&shared).map_err(|e| format!("Debian's kernel cannot be had: {e}"))
}

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
