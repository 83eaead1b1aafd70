//! Reading `DUNEGC_*` variables without allocation, possibly before libc has set `environ`.

use super::nearest::nearest;
use super::options::Arena;
use super::{Config, EXTRA_VARIABLES, OPTIONS, Opt};
use core::ffi::{CStr, c_char};
use core::fmt;

const PREFIX: &[u8] = b"DUNEGC_";
/// Bytes of a refused name or value that a message repeats.
const SHOWN: usize = 100;

/// What is wrong with a variable. Displays as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem<'e> {
    /// The value is refused; the default holds.
    Value {
        option: &'static str,
        value: &'e [u8],
        expected: &'static str,
        used: &'static str,
    },
    /// No such variable.
    Unknown {
        name: &'e [u8],
        nearest: &'static str,
    },
    /// Variables are ignored because the process runs with raised privileges (set-user-id and the like).
    Secure { name: &'e [u8] },
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn cut(b: &[u8]) -> &'static str {
            if b.len() > SHOWN { "..." } else { "" }
        }
        fn text(b: &[u8]) -> impl fmt::Display {
            b[..b.len().min(SHOWN)].escape_ascii()
        }
        match *self {
            Problem::Value {
                option,
                value,
                expected,
                used,
            } => {
                write!(
                    f,
                    "{option}={}{}: expected {expected}; using {used}",
                    text(value),
                    cut(value)
                )
            }
            Problem::Unknown { name, nearest } => {
                write!(
                    f,
                    "{}{}: no such variable, ignored; the closest is {nearest}",
                    text(name),
                    cut(name)
                )
            }
            Problem::Secure { name } => write!(
                f,
                "{}: this process runs with raised privileges (AT_SECURE), all DUNEGC_ variables are ignored; using defaults",
                text(name)
            ),
        }
    }
}

/// The configuration that `variables` (`NAME=value` each) ask for; `report` hears of every problem.
///
/// A variable given twice counts the first time, as with `getenv`. An empty value is as no variable.
pub(super) fn parse<'e>(
    variables: impl Iterator<Item = &'e [u8]> + Clone,
    secure: bool,
    arena: &mut Arena,
    report: &mut dyn FnMut(Problem<'e>),
) -> Config {
    let mut config = Config::DEFAULT;
    let mut seen = 0_u64;
    const { assert!(OPTIONS_LEN <= 64) };
    let ours = variables
        .clone()
        .filter(|v| v.starts_with(PREFIX))
        .filter_map(split);
    for (name, value) in ours.clone() {
        if value.is_empty() {
            continue;
        }
        if secure {
            report(Problem::Secure { name });
            return Config::DEFAULT;
        }
        let Some(index) = OPTIONS.iter().position(|o| o.name.as_bytes() == name) else {
            let known = || {
                OPTIONS
                    .iter()
                    .map(|o| o.name)
                    .chain(EXTRA_VARIABLES.iter().copied())
            };
            if !known().any(|k| k.as_bytes() == name) {
                report(Problem::Unknown {
                    name,
                    nearest: nearest(name, known()),
                });
            }
            continue;
        };
        if seen & 1 << index != 0 {
            continue;
        }
        seen |= 1 << index;
        if (OPTIONS[index].set)(&mut config, value, arena).is_none() {
            report(refused(&OPTIONS[index], value));
        }
    }
    for option in OPTIONS {
        if !(option.valid)(&config) {
            let value = ours
                .clone()
                .find(|(n, _)| *n == option.name.as_bytes())
                .map_or(&b""[..], |(_, v)| v);
            report(refused(option, value));
            option.reset(&mut config);
        }
    }
    config
}

fn refused<'e>(option: &'static Opt, value: &'e [u8]) -> Problem<'e> {
    Problem::Value {
        option: option.name,
        value,
        expected: option.expected,
        used: option.default,
    }
}

fn split(variable: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = variable.iter().position(|&b| b == b'=')?;
    Some((&variable[..at], &variable[at + 1..]))
}

unsafe extern "C" {
    static mut environ: *const *const c_char;
    /// Where the kernel put `argc`; glibc's dynamic loader (or its static start-up code) sets it before anything else.
    static __libc_stack_end: *const usize;
}

/// The process's variables. An iterator over raw pointers: see the safety contract of [`process`].
#[derive(Clone)]
pub(super) struct Variables(*const *const c_char);

impl Iterator for Variables {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: `process` promised a NULL-terminated array of C strings; we have not passed its end.
        unsafe {
            let s = *self.0;
            if s.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(s).to_bytes())
        }
    }
}

/// The process's variables, also before libc has set `environ` (the dynamic loader allocates earlier than that).
///
/// # Safety
/// No other thread changes the environment while the result or anything it returned is in use. (Before `main` there is
/// no such thread; later it is the rule for every reader of the environment.)
pub(super) unsafe fn process() -> Variables {
    // SAFETY: plain reads of pointers that libc sets once at start; nobody changes them meanwhile, as promised.
    unsafe {
        let env = environ;
        if !env.is_null() || __libc_stack_end.is_null() {
            return Variables(env);
        }
        // The kernel's layout: argc, argv[0..argc], NULL, envp...
        let argc = *__libc_stack_end;
        Variables(__libc_stack_end.add(1 + argc + 1).cast())
    }
}

/// The process was started with more privileges than its caller has.
pub(super) fn secure() -> bool {
    // SAFETY: getauxval only reads what the kernel passed; it is ready before any library code runs.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

const OPTIONS_LEN: usize = 24;

#[cfg(test)]
mod tests;
