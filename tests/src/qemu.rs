//! Programs on a Debian kernel in QEMU. Needs no virtualisation hardware; the kernel is downloaded once and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::initrd::{self, output};
use crate::kernel::{debian_kernel, uncompressed};

/// The kernel's command line. Its tests of its own ciphers take longer in an emulator than the rest of the start.
pub(crate) const LINE: &str = "console=ttyS0 panic=-1 quiet mitigations=off cryptomgr.notests";

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
    /// Processor features for QEMU; the model for Bochs.
    pub cpu: &'a str,
    /// Number of processors.
    pub cpus: u32,
    /// Whether each of them has a thread of QEMU's of its own; else they take turns.
    pub parallel: bool,
    /// Whether time is the number of instructions (one nanosecond each), the same in each run; QEMU only, with one processor.
    pub counted: bool,
    /// Whether the kernel chooses its addresses at random, which takes some seconds; QEMU only.
    pub kaslr: bool,
    /// Seconds after which it is ended.
    pub limit: u32,
}

impl Machine<'_> {
    /// Seconds after which it is ended: `limit`, or as many times that as `DUNEGC_TEST_PATIENCE` says, for a host that is busy with other things.
    pub(crate) fn patience(&self) -> String {
        let times = std::env::var("DUNEGC_TEST_PATIENCE").ok();
        let times = times.map_or(1, |n| n.parse::<u32>().expect("DUNEGC_TEST_PATIENCE"));
        (self.limit * times).to_string()
    }

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
        // What decompresses the kernel is what chooses its addresses.
        let (kernel, line) = if self.kaslr {
            (kernel, LINE.to_owned())
        } else {
            (uncompressed(&kernel)?, format!("{LINE} nokaslr"))
        };
        let initrd = initrd::make(self, false);
        let machine = format!(
            "{} qemu-system-x86_64 -accel tcg,thread={} -M q35 -cpu {} -smp {} -m 1G -display none \
             -vga none -nic none -no-user-config -nodefaults -serial stdio -no-reboot \
             -device isa-debug-exit,iobase=0xf4,iosize=1{}",
            self.patience(),
            if self.parallel { "multi" } else { "single" },
            self.cpu,
            self.cpus,
            if self.counted {
                " -icount shift=0,sleep=off -rtc base=2024-01-01,clock=vm -seed 1"
            } else {
                ""
            }
        );
        let out = Command::new("timeout")
            .args(machine.split_whitespace())
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            // On a busy host the emulated timer may miss the moment at which the kernel checks it, and the kernel's watchdog reads the timer that it compares the
            // time-stamp counter with too late: it then says that the counter is not stable, and KVM gives guests one that lags behind.
            .arg(format!("{line} no_timer_check tsc=reliable"))
            .output()
            .expect("QEMU runs");
        let text = String::from_utf8_lossy(&out.stdout).replace('\r', "");
        fs::write(dir.join("serial.txt"), &text).expect("a file");
        assert_eq!(out.status.code(), Some(PASS), "{text}");
        Ok(text)
    }
}
