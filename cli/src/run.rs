//! `dunegc run`.

use crate::args::{Engine, Run};
use crate::program::{self, Refusal};
use crate::{library, pipe};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::{env, io, ptr};

/// Why nothing was run, and the exit status for it.
pub struct Failed {
    pub message: String,
    pub status: u8,
}

/// dunegc itself failed, as in env(1).
const OWN: u8 = 125;
/// The program was found but cannot be run.
const UNFIT: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;

/// Replaces this process by the program; returns only if that failed.
pub fn run(args: &Run) -> Failed {
    let Err(failed) = try_run(args);
    failed
}

fn try_run(args: &Run) -> Result<std::convert::Infallible, Failed> {
    let own = |message| Failed {
        message,
        status: OWN,
    };
    let libraries = match args.engine {
        None => vec![library::find(args.lib.as_deref()).map_err(own)?.0],
        Some(engine) => {
            let (choice, name) = named(engine);
            libdune::Dune::probe_engine(choice)
                .map_err(|e| own(format!("engine {name} refused: {e}")))?;
            guest_libraries(args).map_err(own)?
        }
    };
    let refused = |r| match r {
        Refusal::NotFound(message) => Failed {
            message,
            status: NOT_FOUND,
        },
        Refusal::Unfit(message) => Failed {
            message: format!("refused: {message}"),
            status: UNFIT,
        },
    };
    let path = program::find(&args.command[0]).map_err(refused)?;
    program::examine(&path).map_err(refused)?;

    let mut variables: Vec<(OsString, OsString)> = env::vars_os().collect();
    for (name, value) in &args.variables {
        set(&mut variables, name, value);
    }
    if let Some(engine) = args.engine {
        set(&mut variables, "DUNE_ENGINE", named(engine).1);
    }
    if let Some(mode) = args.mode {
        set(&mut variables, "DUNEGC_MODE", mode.to_string());
    }
    if args.stats {
        set(&mut variables, "DUNEGC_STATS", "1");
    }
    if let Some(path) = &args.stats_json {
        let mut value = OsString::from("json:");
        value.push(path);
        set(&mut variables, "DUNEGC_STATS", value);
    }
    if let Some(size) = &args.max_heap {
        set(&mut variables, "DUNEGC_MAX_HEAP", size);
    }
    for lib in libraries.iter().rev() {
        let before = variables.iter().find(|(n, _)| n == "LD_PRELOAD");
        let value = preload(lib.as_os_str(), before.map(|(_, v)| v.as_os_str()));
        set(&mut variables, "LD_PRELOAD", value);
    }

    let error = exec(&path, &args.command, &variables);
    let status = if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        UNFIT
    };
    Err(Failed {
        message: format!("{}: {error}", path.display()),
        status,
    })
}

/// The library's choice, and its name in `DUNE_ENGINE`.
fn named(engine: Engine) -> (libdune::Choice, &'static str) {
    match engine {
        Engine::Kvm => (libdune::Choice::Kvm, "kvm"),
        Engine::Kmod => (libdune::Choice::Kmod, "kmod"),
    }
}

/// `libdune.so`, and the collector's library behind it if the command line wants anything of the collector.
fn guest_libraries(args: &Run) -> Result<Vec<std::path::PathBuf>, String> {
    let folder = args.lib.as_deref().filter(|lib| lib.is_dir());
    let named = |name: &str| folder.map(|f| f.join(name));
    let dune = named(library::DUNE).or_else(|| args.lib.clone());
    let mut all = vec![library::find_dune(dune.as_deref())?];
    let collector = args.mode.is_some()
        || args.stats
        || args.stats_json.is_some()
        || args.max_heap.is_some()
        || args.variables.iter().any(|(n, _)| n.starts_with("DUNEGC_"));
    if collector {
        all.push(library::find(named(library::NAME).as_deref())?.0);
    }
    Ok(all)
}

/// Replaces or adds a variable.
fn set(
    variables: &mut Vec<(OsString, OsString)>,
    name: impl AsRef<OsStr>,
    value: impl AsRef<OsStr>,
) {
    let (name, value) = (name.as_ref(), value.as_ref());
    match variables.iter_mut().find(|(n, _)| n == name) {
        Some((_, v)) => *v = value.to_owned(),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

/// The value of LD_PRELOAD: the library, then what was there.
fn preload(lib: &OsStr, existing: Option<&OsStr>) -> OsString {
    let mut value = lib.to_owned();
    if let Some(existing) = existing.filter(|e| !e.is_empty()) {
        value.push(":");
        value.push(existing);
    }
    value
}

/// `execvpe` with the signal actions and mask that this process was given (`std::process::Command` changes both).
fn exec(
    path: &std::path::Path,
    args: &[OsString],
    variables: &[(OsString, OsString)],
) -> io::Error {
    let c = |bytes: &OsStr| CString::new(bytes.as_bytes());
    let strings = || -> Result<_, std::ffi::NulError> {
        let args = args.iter().map(|a| c(a)).collect::<Result<Vec<_>, _>>()?;
        let variables = variables.iter().map(|(name, value)| {
            let mut line = name.clone();
            line.push("=");
            line.push(value);
            c(&line)
        });
        Ok((
            c(path.as_os_str())?,
            args,
            variables.collect::<Result<Vec<_>, _>>()?,
        ))
    };
    let (path, args, variables) = match strings() {
        Ok(s) => s,
        Err(e) => return io::Error::new(io::ErrorKind::InvalidInput, e),
    };
    let pointers = |v: &[CString]| {
        v.iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect::<Vec<_>>()
    };
    let (argv, envp) = (pointers(&args), pointers(&variables));
    pipe::restore();
    // SAFETY: NUL-terminated strings in null-terminated arrays, all alive during the call. A path with a slash is not
    // searched for; execvpe is used for its fallback to the shell.
    unsafe { libc::execvpe(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preload_comes_first() {
        let lib = OsStr::new("/l.so");
        assert_eq!(preload(lib, None), "/l.so");
        assert_eq!(preload(lib, Some(OsStr::new(""))), "/l.so");
        assert_eq!(
            preload(lib, Some(OsStr::new("/a.so /b.so"))),
            "/l.so:/a.so /b.so"
        );
    }
}
