//! The report's text and where it goes.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};

use super::group::{Group, groups};
use super::symbols::Symbols;
use super::unreachable;
use crate::stderr;
use gc::config;
use gc::message;

/// Finds and reports what is leaked now; the number of leaked blocks. Nothing is written if there is none.
pub fn report() -> usize {
    let mut leaked = match unreachable::find() {
        Ok(leaked) => leaked,
        Err(e) => {
            message!("mode leaks: no report: the process could not be examined: {e:?}");
            return 0;
        }
    };
    if leaked.incomplete {
        message!("mode leaks: no memory to note every leaked block; the report is incomplete");
    }
    let count = leaked.blocks().len();
    if count > 0 {
        write_out(&text(&groups(leaked.blocks())));
    }
    count
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn text(groups: &[Group]) -> String {
    let mut out = String::new();
    let mut symbols = Symbols::default();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "\n==== dunegc: [{}] leaked memory ====\n",
        std::process::id()
    );
    for g in groups {
        let kind = if g.direct { "Direct" } else { "Indirect" };
        let _ = writeln!(
            out,
            "{kind} leak of {} byte{} in {} block{} allocated from:",
            g.bytes,
            plural(g.bytes),
            g.count,
            plural(g.count)
        );
        if g.frames.is_empty() {
            let _ = writeln!(out, "    (stack not recorded)");
        }
        let mut number = 0;
        for &address in g.frames {
            for line in symbols.lines(address) {
                let _ = writeln!(out, "    #{number} {address:#x} {line}");
                number += 1;
            }
        }
        out.push('\n');
    }
    let (bytes, count) = groups
        .iter()
        .fold((0, 0), |(b, c), g| (b + g.bytes, c + g.count));
    let _ = writeln!(
        out,
        "SUMMARY: dunegc: {bytes} byte{} leaked in {count} block{}.",
        plural(bytes),
        plural(count)
    );
    out
}

fn write_out(text: &str) {
    if let Some(pattern) = config::get().leaks.file {
        let path = expand(pattern);
        match open(&path).and_then(|mut f| f.write_all(text.as_bytes())) {
            Ok(()) => return,
            Err(e) => message!(
                "DUNEGC_LEAKS_FILE: cannot write {}: {e}; the report goes to stderr",
                path.display()
            ),
        }
    }
    stderr::write(text.as_bytes());
}

/// The first report of a process replaces the file, later ones are added.
fn open(path: &PathBuf) -> std::io::Result<File> {
    static WRITTEN_BY: AtomicI32 = AtomicI32::new(0);
    let pid = std::process::id() as i32;
    let again = WRITTEN_BY.swap(pid, Ordering::Relaxed) == pid;
    let mut options = OpenOptions::new();
    options.create(true);
    if again {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    options.open(path)
}

/// `%p` becomes the process id, `%%` becomes `%`.
fn expand(pattern: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut path = Vec::new();
    let mut rest = pattern.iter();
    while let Some(&b) = rest.next() {
        match (b, rest.as_slice().first()) {
            (b'%', Some(b'p')) => {
                path.extend_from_slice(std::process::id().to_string().as_bytes());
                rest.next();
            }
            (b'%', Some(b'%')) => {
                path.push(b'%');
                rest.next();
            }
            _ => path.push(b),
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}
