//! One event as a line of the trace file.

use super::event::What;
use crate::sys::file;
use crate::sys::out::Text;
use core::fmt::{self, Write};

/// Room for one line.
pub(super) const LINE: usize = 256;

/// An event with time and thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub what: What,
    pub argument: u64,
    /// Monotonic clock.
    pub ns: u64,
    pub tid: i32,
}

impl Record {
    /// Fills an unused place.
    pub const EMPTY: Record = Record {
        what: What::Begin(super::Event::Cycle),
        argument: 0,
        ns: 0,
        tid: 0,
    };

    /// The line, with the comma and newline that part it from the one before.
    pub fn line(&self, pid: i32) -> Text<LINE> {
        let mut t = Text::new();
        // A Text does not fail; a test sees that the longest line fits.
        let _ = self.write(&mut t, pid);
        t
    }

    fn write(&self, t: &mut Text<LINE>, pid: i32) -> fmt::Result {
        let (name, argument) = self.what.names();
        let phase = match self.what {
            What::Begin(_) => "B",
            What::End(_) => "E",
            // Scope "p": a mark across the process.
            What::Point(_) => "i\",\"s\":\"p",
            What::Counter(_) => "C",
        };
        let (us, ns) = (self.ns / 1000, self.ns % 1000);
        write!(
            t,
            ",\n{{\"name\":\"{name}\",\"cat\":\"gc\",\"ph\":\"{phase}\",\"ts\":{us}.{ns:03},\"pid\":{pid},\"tid\":{}",
            self.tid
        )?;
        if !argument.is_empty() {
            write!(t, ",\"args\":{{\"{argument}\":{}}}", self.argument)?;
        }
        t.write_str("}")
    }
}

/// The start of a file: the array opens, and the process gets its name.
pub(super) fn header(pid: i32) -> Text<LINE> {
    let mut buffer = [0; 16];
    let comm = file::read_start(c"/proc/self/comm", &mut buffer).unwrap_or(b"");
    let mut t = Text::new();
    // A Text does not fail, and 16 bytes of name fit.
    let _ = write!(
        t,
        "[\n{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":{pid},\"tid\":{pid},\"args\":{{\"name\":\""
    );
    for &c in comm.trim_ascii_end() {
        let plain = (c.is_ascii_graphic() || c == b' ') && c != b'"' && c != b'\\';
        t.push(&[if plain { c } else { b'?' }]);
    }
    t.push(b"\"}}");
    t
}

/// The end of a file.
pub(super) const FOOTER: &[u8] = b"\n]\n";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::vec::Vec;

    /// Every event with the largest numbers, as a file.
    fn file() -> Vec<u8> {
        let mut text = header(i32::MAX).as_bytes().to_vec();
        for &what in What::ALL {
            let line = Record {
                what,
                argument: u64::MAX,
                ns: u64::MAX,
                tid: i32::MIN,
            }
            .line(i32::MIN);
            assert!(!line.is_cut(), "{what:?}");
            text.extend_from_slice(line.as_bytes());
        }
        text.extend_from_slice(FOOTER);
        text
    }

    #[test]
    fn every_event_is_json_and_fits() {
        let v: Vec<Value> = serde_json::from_slice(&file()).unwrap();
        assert_eq!(v.len(), 1 + What::ALL.len());
        assert_eq!(v[0]["name"], "process_name");
        for (v, what) in v[1..].iter().zip(What::ALL) {
            let (name, argument) = what.names();
            assert_eq!(v["name"], name);
            if !argument.is_empty() {
                assert_eq!(v["args"][argument], u64::MAX, "{v}");
            }
        }
    }

    #[test]
    fn fields() {
        let r = Record {
            what: What::End(crate::trace::Event::Harvest),
            argument: 7,
            ns: 12_345_006,
            tid: 9,
        };
        let line = r.line(8);
        let v: Value = serde_json::from_slice(&line.as_bytes()[1..]).unwrap();
        assert_eq!(
            v,
            json!({"name": "harvest", "cat": "gc", "ph": "E", "ts": 12345.006, "pid": 8, "tid": 9,
                   "args": {"pages": 7}})
        );
    }

    #[test]
    fn the_document_lists_every_event() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tracing.md");
        let text = std::fs::read_to_string(path).unwrap();
        for what in What::ALL {
            let (name, argument) = what.names();
            if !argument.is_empty() {
                let row = std::format!("| `{name}` | `{argument}` |");
                assert!(text.contains(&row), "no row that begins with {row}");
            }
        }
    }
}
