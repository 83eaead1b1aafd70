//! The same machines in Bochs, whose emulated processors have Intel's virtualisation. It interprets every instruction, some hundred million in a second,
//! and so is spared what can be: the kernel comes uncompressed, and programs without what debuggers want.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::initrd::{self, output};
use crate::kernel::{debian_kernel, uncompressed};
use crate::library::workspace;
use crate::qemu::{LINE, Machine};

impl Machine<'_> {
    /// As [`Machine::run`].
    ///
    /// # Errors
    /// What is missing here.
    ///
    /// # Panics
    /// The script failed, or the machine did.
    pub fn run_in_bochs(&self) -> Result<String, String> {
        let dir = self.dir.join(self.name);
        let boot = dir.join("cd/boot/grub");
        fs::create_dir_all(&boot).map_err(|e| e.to_string())?;
        let kernel = uncompressed(&debian_kernel(self.dir)?)?;
        let initrd = initrd::make(self, true);
        copy(&kernel, &dir.join("cd/vmlinux"))?;
        copy(&initrd, &dir.join("cd/initrd"))?;
        loader(&dir.join("cd/pvh"))?;
        fs::write(boot.join("grub.cfg"), GRUB.replace("LINE", LINE)).map_err(|e| e.to_string())?;
        let disk = "grub-mkrescue -d /usr/lib/grub/i386-pc -o cd.iso cd";
        output("sh", &["-c", disk], &dir)
            .map_err(|e| format!("{e}; install grub-common, grub-pc-bin, xorriso and mtools"))?;
        let settings = SETTINGS
            .replace("MODEL", self.cpu)
            .replace("CPUS", &self.cpus.to_string());
        fs::write(dir.join("bochsrc"), settings).map_err(|e| e.to_string())?;
        // Debian's has a debugger, which waits for a command before it starts.
        fs::write(dir.join("commands"), "c\n").map_err(|e| e.to_string())?;
        for left in ["serial.txt", "cd.iso.lock"] {
            let _ = fs::remove_file(dir.join(left));
        }
        let out = Command::new("timeout")
            .arg(self.patience())
            .args(["bochs", "-q", "-f", "bochsrc", "-rc", "commands"])
            .current_dir(&dir)
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|e| e.to_string())?;
        // Its status says nothing: 1 also when the machine has turned itself off.
        let text = fs::read(dir.join("serial.txt")).map_err(|e| {
            let out = String::from_utf8_lossy(&out.stdout);
            format!("Bochs did not start ({e}); install bochs, bochsbios and vgabios:\n{out}")
        })?;
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        assert!(text.contains("\nstatus: 0\n"), "{text}");
        Ok(text)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map_err(|e| format!("{}: {e}", from.display()))?;
    Ok(())
}

/// What GRUB loads: it enters the kernel without a decompressor.
fn loader(to: &Path) -> Result<(), String> {
    let flags = "-m32 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -fno-toplevel-reorder \
                 -mno-sse -nostdlib -static -no-pie -Wl,-Ttext-segment=0x8000000,--build-id=none,-z,noexecstack,-z,noseparate-code";
    let to = to.display().to_string();
    let mut args: Vec<&str> = flags.split_whitespace().collect();
    args.extend(["-o", &to, "tests/c/pvh.c"]);
    output("gcc", &args, workspace()).map(drop)
}

const GRUB: &str = "set timeout=0
multiboot /pvh
module /vmlinux vmlinux LINE nokaslr no5lvl nowatchdog
module /initrd initrd
boot
";

/// Without `sync=none` it waits for the host's clock; without the sound driver it wants a sound card.
const SETTINGS: &str = "cpu: model=MODEL, count=CPUS, ips=100000000, reset_on_triple_fault=0
clock: sync=none
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
display_library: rfb, options=\"timeout=0\"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
ata0: enabled=1
ata0-master: type=cdrom, path=cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
log: log.txt
panic: action=fatal
error: action=ignore
info: action=ignore
";
