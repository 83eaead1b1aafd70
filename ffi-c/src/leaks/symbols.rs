//! Names of code addresses: function, file and line from debug information or the symbol table, module and offset.

use core::ffi::{CStr, c_void};
use std::collections::HashMap;
use std::fmt::Write;

use super::names;

/// Looks addresses up once.
#[derive(Default)]
pub struct Symbols {
    known: HashMap<usize, Vec<String>>,
}

impl Symbols {
    /// One line per (inlined) function at the call that returns to `address`, innermost first.
    pub fn lines(&mut self, address: usize) -> &[String] {
        self.known
            .entry(address)
            .or_insert_with(|| look_up(address))
    }
}

fn look_up(address: usize) -> Vec<String> {
    let Some(module) = module(address) else {
        return resolve(address, "no module");
    };
    if let Some(lines) = names::get(&module) {
        return lines;
    }
    let lines = resolve(address, &module);
    names::put(&module, &lines);
    lines
}

/// Reads debug information and symbol tables.
fn resolve(address: usize, module: &str) -> Vec<String> {
    let mut lines = Vec::new();
    // The byte before the return address belongs to the call.
    backtrace::resolve((address - 1) as *mut c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let mut line = format!("in {name:#}");
        match (symbol.filename(), symbol.lineno()) {
            (Some(file), Some(number)) => {
                let _ = write!(line, " {}:{number}", file.display());
                if let Some(column) = symbol.colno() {
                    let _ = write!(line, ":{column}");
                }
            }
            _ => {
                let _ = write!(line, " ({module})");
            }
        }
        lines.push(line);
    });
    if lines.is_empty() {
        lines.push(format!("({module})"));
    }
    lines
}

/// `path+0xoffset`, if the address lies in a file that is loaded.
fn module(address: usize) -> Option<String> {
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only compares the address and fills `info`.
    if unsafe { libc::dladdr(address as *const c_void, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr returned non-zero, so it filled `info`; the name is a C string.
    let (base, name) = unsafe {
        let info = info.assume_init();
        (info.dli_fbase as usize, CStr::from_ptr(info.dli_fname))
    };
    Some(format!("{}+{:#x}", name.to_string_lossy(), address - base))
}
