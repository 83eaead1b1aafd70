//! Debian's kernel, for emulated machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::initrd::{find, output};

/// The folder of Debian's kernel below a scratch folder: one copy for all machines.
pub(crate) const KERNEL: &str = "debian-kernel";

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

/// The same without its own decompression, as an ELF file: for an emulator that takes minutes for that.
pub(crate) fn uncompressed(kernel: &Path) -> Result<PathBuf, String> {
    // Tests of one program run at once.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let to = kernel.with_file_name("vmlinux");
    if to.exists() {
        return Ok(to);
    }
    let image = fs::read(kernel).map_err(|e| e.to_string())?;
    let magic = b"\xfd7zXZ\0";
    let at = image.windows(magic.len()).position(|w| w == magic);
    let at = at.ok_or_else(|| format!("{} is not compressed by xz", kernel.display()))?;
    let dir = kernel.parent().expect("a folder");
    fs::write(dir.join("vmlinux.xz"), &image[at..]).map_err(|e| e.to_string())?;
    output(
        "sh",
        &["-c", "xz -dc --single-stream vmlinux.xz > new"],
        dir,
    )?;
    fs::rename(dir.join("new"), &to).map_err(|e| e.to_string())?;
    Ok(to)
}
