//! The program to run: found the way `execvp` finds it, and examined for what would make the preload fail in silence.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache};
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Interpreters of interpreters that are followed; the kernel allows 5.
const SCRIPT_DEPTH: usize = 5;

/// Why a program cannot be run under the library.
pub enum Refusal {
    /// There is no such program.
    NotFound(String),
    /// It exists.
    Unfit(String),
}

/// The path of `name`: itself if it contains a slash, else from PATH.
pub fn find(name: &OsStr) -> Result<PathBuf, Refusal> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut denied = None;
    for folder in std::env::split_paths(&path) {
        let candidate = if folder.as_os_str().is_empty() {
            Path::new(".").join(name)
        } else {
            folder.join(name)
        };
        match fs::metadata(&candidate) {
            Ok(m) if m.is_file() && executable(&candidate) => return Ok(candidate),
            Ok(m) if m.is_file() => denied = Some(candidate),
            _ => {}
        }
    }
    match denied {
        Some(path) => Err(Refusal::Unfit(format!(
            "{}: permission denied (not executable)",
            path.display()
        ))),
        None => Err(Refusal::NotFound(format!(
            "{}: no such program in PATH",
            name.display()
        ))),
    }
}

/// Refuses a program that the library cannot be loaded into.
pub fn examine(path: &Path) -> Result<(), Refusal> {
    examine_from(path, SCRIPT_DEPTH)
}

fn examine_from(path: &Path, depth: usize) -> Result<(), Refusal> {
    let unfit = |why: &str| Refusal::Unfit(format!("{}: {why}", path.display()));
    let meta = fs::metadata(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Refusal::NotFound(format!("{}: {e}", path.display()))
        }
        _ => unfit(&e.to_string()),
    })?;
    if meta.is_dir() {
        return Err(unfit("is a directory"));
    }
    if !executable(path) {
        return Err(unfit("permission denied (not executable)"));
    }
    // A file that may be run but not read cannot be examined; the kernel then refuses it or runs it without our opinion.
    let Ok(mut file) = File::open(path) else {
        return Ok(());
    };
    let mut start = [0; 256];
    let n = file.read(&mut start).map_err(|e| unfit(&e.to_string()))?;
    match &start[..n] {
        [b'#', b'!', line @ ..] => match interpreter(line) {
            // The privileges of a script are those of its interpreter.
            Some(next) if depth > 0 => examine_from(&next, depth - 1),
            Some(_) => Err(unfit("too many interpreters of scripts")),
            None => Err(unfit("its first line names no interpreter")),
        },
        [0x7f, b'E', b'L', b'F', class, ..] => {
            raised_privileges(path, &meta).map_or(Ok(()), |why| Err(unfit(&why)))?;
            if *class == elf::ELFCLASS32 {
                return Err(unfit("a 32-bit program; the library is 64-bit"));
            }
            loader(file).map_err(|why| unfit(&why))
        }
        // Anything else is for the shell (execvp does that) or refused by the kernel.
        _ => Ok(()),
    }
}

fn executable(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the path is NUL-terminated and only read.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}

/// The interpreter of `#!` followed by `line`.
fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|&b| b == b'\n').next()?.trim_ascii_start();
    let end = line
        .iter()
        .position(|b| b" \t\r\0".contains(b))
        .unwrap_or(line.len());
    (end > 0).then(|| PathBuf::from(OsStr::from_bytes(&line[..end])))
}

/// Why the loader would run this file in secure-execution mode, where it drops LD_PRELOAD.
fn raised_privileges(path: &Path, meta: &Metadata) -> Option<String> {
    let c = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: no arguments, no failure.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: all-zero bytes are a valid statvfs; the path is NUL-terminated.
    let nosuid = unsafe {
        let mut fs: libc::statvfs = std::mem::zeroed();
        libc::statvfs(c.as_ptr(), &mut fs) == 0 && fs.f_flag & libc::ST_NOSUID != 0
    };
    if nosuid {
        return None;
    }
    let mode = meta.permissions().mode();
    let ignored = "the loader ignores LD_PRELOAD for it";
    if mode & libc::S_ISUID != 0 && meta.uid() != uid {
        return Some(format!("set-user-id program; {ignored}"));
    }
    // Set-group-id counts only together with group execution.
    if mode & libc::S_ISGID != 0 && mode & libc::S_IXGRP != 0 && meta.gid() != gid {
        return Some(format!("set-group-id program; {ignored}"));
    }
    // SAFETY: both strings are NUL-terminated; size 0 asks only for the length.
    let capable = unsafe {
        libc::getxattr(
            c.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        ) > 0
    };
    (capable && uid != 0).then(|| format!("a program with file capabilities; {ignored}"))
}

/// Checks that glibc's dynamic loader runs the file.
fn loader(file: File) -> Result<(), String> {
    let broken = |e: object::Error| format!("broken ELF file: {e}");
    let cache = ReadCache::new(file);
    let header = elf::FileHeader64::<LittleEndian>::parse(&cache).map_err(broken)?;
    let e = LittleEndian;
    if header.e_machine.get(e) != elf::EM_X86_64 {
        return Err("a program for another processor; the library is for x86_64".to_owned());
    }
    let segments = header.program_headers(e, &cache).map_err(broken)?;
    let Some(interp) = segments.iter().find(|s| s.p_type(e) == elf::PT_INTERP) else {
        return Err("statically linked; the library cannot be preloaded into it".to_owned());
    };
    let interp = interp
        .data(e, &cache)
        .map_err(|()| "broken ELF file: PT_INTERP".to_owned())?;
    let interp = String::from_utf8_lossy(interp.strip_suffix(b"\0").unwrap_or(interp)).into_owned();
    if interp.contains("ld-musl") {
        return Err(format!(
            "uses the loader {interp}; the library needs glibc's"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters() {
        let of = |s: &str| interpreter(s.as_bytes());
        assert_eq!(of(" /bin/sh -e\nrest"), Some("/bin/sh".into()));
        assert_eq!(of("/usr/bin/env\tpython3\n"), Some("/usr/bin/env".into()));
        assert_eq!(of("/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(of("  \n/bin/sh"), None);
        assert_eq!(of(""), None);
    }
}
