//! Finding libdunegc.so.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The file name of the library.
pub const NAME: &str = "libdunegc.so";

/// The file name of the library of guest mode.
pub const DUNE: &str = "libdune.so";

/// Where the path of the library came from.
#[derive(Clone, Copy)]
pub enum Source {
    Option,
    Environment,
    NextToCommand,
    LibFolder,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Option => "--lib",
            Source::Environment => "DUNEGC_LIB",
            Source::NextToCommand => "next to the command",
            Source::LibFolder => "../lib of the command",
        })
    }
}

/// The absolute path of the library, checked to be something that LD_PRELOAD can name.
///
/// # Errors
/// One line: what is missing or unfit.
pub fn find(option: Option<&Path>) -> Result<(PathBuf, Source), String> {
    let variable = env::var_os("DUNEGC_LIB").filter(|p| !p.is_empty());
    let (path, source) = locate(option, variable, NAME)?;
    Ok((checked(&path, source)?, source))
}

/// The same for the library of guest mode.
///
/// # Errors
/// One line: what is missing or unfit.
pub fn find_dune(option: Option<&Path>) -> Result<PathBuf, String> {
    let (path, source) = locate(option, None, DUNE)?;
    checked(&path, source)
}

fn checked(path: &Path, source: Source) -> Result<PathBuf, String> {
    let absolute = path
        .canonicalize()
        .map_err(|e| format!("{} (from {source}): {e}", path.display()))?;
    // ld.so splits LD_PRELOAD at blanks and colons and knows no escape.
    if absolute.to_string_lossy().contains([' ', ':']) {
        return Err(format!(
            "{}: LD_PRELOAD cannot name a path with a blank or colon; move the library",
            absolute.display()
        ));
    }
    shared_object(&absolute)
        .map_err(|why| format!("{} (from {source}): {why}", absolute.display()))?;
    Ok(absolute)
}

fn locate(
    option: Option<&Path>,
    variable: Option<OsString>,
    name: &str,
) -> Result<(PathBuf, Source), String> {
    if let Some(path) = option {
        return Ok((path.to_owned(), Source::Option));
    }
    if let Some(path) = variable {
        return Ok((path.into(), Source::Environment));
    }
    let command = env::current_exe()
        .map_err(|e| format!("cannot find this command's own file: {e}; use --lib PATH"))?;
    let folder = command.parent().unwrap_or(Path::new("/"));
    let candidates = [
        (folder.join(name), Source::NextToCommand),
        (folder.join("../lib").join(name), Source::LibFolder),
    ];
    for (path, source) in candidates {
        if path.is_file() {
            return Ok((path, source));
        }
    }
    Err(format!(
        "no {name} next to {} or in ../lib; use --lib PATH{}",
        command.display(),
        if name == NAME { " or DUNEGC_LIB" } else { "" }
    ))
}

/// A 64-bit x86 ELF shared object.
fn shared_object(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let cache = ReadCache::new(file);
    let header = elf::FileHeader64::<LittleEndian>::parse(&cache)
        .map_err(|_| "not a 64-bit ELF file".to_owned())?;
    let e = LittleEndian;
    if header.e_machine.get(e) != elf::EM_X86_64 || header.e_type.get(e) != elf::ET_DYN {
        return Err("not a shared object for x86_64".to_owned());
    }
    let segments = header
        .program_headers(e, &cache)
        .map_err(|e| format!("broken ELF file: {e}"))?;
    if !segments.iter().any(|s| s.p_type(e) == elf::PT_DYNAMIC) {
        return Err("not a shared object for x86_64".to_owned());
    }
    Ok(())
}
