//! Debian's kernel, for emulated machines.

use std::fs;
use std::path::{Path, PathBuf};

use crate::initrd::{find, output};
use crate::run::only_one;

/// The folder of Debian's kernel below a scratch folder: one copy for all machines.
pub(crate) const KERNEL: &str = "debian-kernel";

/// Debian's kernel as a file `vmlinuz-VERSION`, downloaded once into a scratch folder and never installed.
///
/// # Errors
/// Why it cannot be had.
pub fn debian_kernel(dir: &Path) -> Result<PathBuf, String> {
    let shared = dir.join(KERNEL);
    fs::create_dir_all(&shared).map_err(|e| e.to_string())?;
    let _one = only_one(&shared.join("lock"));
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

/// The same without its own decompression, as an ELF file without the zeros that segments end with: for an emulator that takes minutes to decompress it, and
/// half a minute to read it.
pub(crate) fn uncompressed(kernel: &Path) -> Result<PathBuf, String> {
    let _one = only_one(&kernel.with_file_name("lock"));
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
    let whole = fs::read(dir.join("new")).map_err(|e| e.to_string())?;
    fs::write(dir.join("new"), without_zeros(&whole)).map_err(|e| e.to_string())?;
    fs::rename(dir.join("new"), &to).map_err(|e| e.to_string())?;
    Ok(to)
}

/// A 64-bit ELF file without its sections, and without the zeros at the end of loaded segments, which the loader writes anyway.
fn without_zeros(elf: &[u8]) -> Vec<u8> {
    const PT_LOAD: u8 = 1;
    let number = |at: usize| {
        let bytes = elf[at..at + 8].try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(bytes)).expect("64 bits")
    };
    let mut out = elf.to_vec();
    let mut end = 0;
    let (headers, count) = (number(32), elf[56] as usize);
    for at in (0..count).map(|i| headers + i * 56) {
        let (offset, size) = (number(at + 8), number(at + 32));
        if elf[at] != PT_LOAD {
            end = end.max(offset + size);
            continue;
        }
        let content = &elf[offset..offset + size];
        let kept = content.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
        let kept = kept.next_multiple_of(8).min(size);
        out[at + 32..at + 40].copy_from_slice(&kept.to_le_bytes());
        end = end.max(offset + kept);
    }
    // Place and number of the sections.
    out[40..48].fill(0);
    out[60..64].fill(0);
    out.truncate(end);
    out
}
