//! The reports: a table on stderr, a JSON file.

use super::{COUNTERS, Stats, json, snapshot};
use crate::config::{self, StatsSink};
use crate::message;
use crate::sys::file::{self, Errno};
use crate::sys::out::{Bytes, FdWriter, Nanos, Text};
use crate::sys::path::{PATH, expand, terminated};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// See [`set_spare_stderr`].
static SPARE: AtomicI32 = AtomicI32::new(-1);

/// Names a descriptor for the table at exit in case the program has closed stderr by then, as coreutils do.
pub fn set_spare_stderr(fd: i32) {
    SPARE.store(fd, Ordering::Relaxed);
}

/// Writes the report that the configuration asks for, once per process; later calls do nothing.
pub fn report_at_exit() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if config::get().stats != StatsSink::None && !DONE.swap(true, Ordering::Relaxed) {
        report(config::get().stats);
    }
}

/// Writes a report of the figures now. A file that cannot be written gets one line on stderr.
pub fn report(sink: StatsSink) {
    match sink {
        StatsSink::None => {}
        StatsSink::Stderr => table(&snapshot()),
        StatsSink::Json(path) => {
            let mut shown = Text::<PATH>::new();
            if let Err(e) = json_file(path, &mut shown) {
                message!(
                    "cannot write statistics to {}: {e}; they are lost",
                    shown.as_bytes().escape_ascii()
                );
            }
        }
    }
}

/// The table, by a single write so that processes that share stderr do not mix theirs.
fn table(s: &Stats) {
    let mut text = Text::<2048>::new();
    // A Text does not fail; the table is well below its size.
    let _ = write_table(&mut text, s);
    if file::write_all(2, text.as_bytes()).is_err() {
        // Without stderr there is nobody to tell.
        let _ = file::write_all(SPARE.load(Ordering::Relaxed), text.as_bytes());
    }
}

fn write_table(out: &mut dyn Write, s: &Stats) -> fmt::Result {
    let known = |n: Option<u64>| n.map_or(Bytes(0), Bytes);
    writeln!(
        out,
        "dunegc: [{}] statistics, mode {}",
        file::getpid(),
        config::get().mode
    )?;
    writeln!(
        out,
        "  collections {:>10}   pauses: max {}, p99 {}, p50 {}, total {} (stopping threads {})",
        s.collections,
        Nanos(s.pause_max_ns),
        Nanos(s.pause_p99_ns),
        Nanos(s.pause_p50_ns),
        Nanos(s.pause_total_ns),
        Nanos(s.stop_ns)
    )?;
    writeln!(
        out,
        "  mark        {:>10}   {} objects, roots {}",
        Nanos(s.mark_ns),
        s.objects_marked,
        Bytes(s.roots_bytes)
    )?;
    writeln!(
        out,
        "  sweep       {:>10}   reclaimed {}",
        Nanos(s.sweep_ns),
        Bytes(s.reclaimed_bytes)
    )?;
    writeln!(
        out,
        "  allocated   {:>10}   live {}, heap {}",
        Bytes(s.allocated_bytes),
        Bytes(s.live_bytes),
        Bytes(s.heap_bytes)
    )?;
    match (s.rss_bytes, s.rss_peak_bytes) {
        (None, _) => writeln!(
            out,
            "  rss            unknown   /proc cannot be read; peak {}",
            known(s.rss_peak_bytes)
        ),
        _ => writeln!(
            out,
            "  rss         {:>10}   peak {}",
            known(s.rss_bytes),
            known(s.rss_peak_bytes)
        ),
    }
}

/// Writes a temporary file next to `path` and renames it. `shown` receives the expanded path in any case.
fn json_file(path: &[u8], shown: &mut Text<PATH>) -> Result<(), Errno> {
    let pid = file::getpid();
    expand(path, pid, shown);
    let mut temporary = Text::<PATH>::new();
    temporary.push(shown.as_bytes());
    let _ = write!(temporary, ".tmp{pid}");
    let (mut a, mut b) = ([0; PATH], [0; PATH]);
    let temporary = terminated(&temporary, &mut a)?;
    let target = terminated(shown, &mut b)?;

    let fd = file::open(
        temporary,
        libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW,
        0o666,
    )?;
    let mut out = FdWriter::new(fd);
    // The writer keeps its first error for flush.
    let _ = json::write(
        &mut out,
        pid,
        config::get().mode,
        &snapshot(),
        COUNTERS.pauses.buckets(),
    );
    let written = out.flush();
    let closed = file::close(fd);
    let result = written
        .and(closed)
        .and_then(|()| file::rename(temporary, target));
    if result.is_err() {
        // Nothing more can be done about a temporary file that cannot be removed either.
        let _ = file::unlink(temporary);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn table_has_every_line() {
        let mut text = String::new();
        let s = Stats {
            collections: 7,
            rss_bytes: Some(1 << 20),
            rss_peak_bytes: Some(2 << 20),
            ..Stats::default()
        };
        write_table(&mut text, &s).unwrap();
        assert!(
            text.contains("  collections          7   pauses: max 0 ns"),
            "{text}"
        );
        assert!(
            text.contains("  rss            1.0 MiB   peak 2.0 MiB\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 6);
        text.clear();
        write_table(
            &mut text,
            &Stats {
                rss_peak_bytes: Some(4096),
                ..Stats::default()
            },
        )
        .unwrap();
        assert!(
            text.contains("/proc cannot be read; peak 4.0 KiB"),
            "{text}"
        );
    }

    #[test]
    fn json_file_is_replaced_atomically_and_failures_name_errno() {
        let dir = std::env::temp_dir().join(std::format!("dunegc-stats-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s.%p.json");
        let mut shown = Text::new();
        json_file(path.to_str().unwrap().as_bytes(), &mut shown).unwrap();
        json_file(path.to_str().unwrap().as_bytes(), &mut Text::new()).unwrap();
        let expected = dir.join(std::format!("s.{}.json", std::process::id()));
        assert_eq!(shown.as_bytes(), expected.to_str().unwrap().as_bytes());
        let v: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&expected).unwrap()).unwrap();
        assert_eq!(v["pid"], std::process::id());
        assert!(v["rss_bytes"].as_u64().unwrap() > 0);
        assert_eq!(
            std::fs::read_dir(&dir).unwrap().count(),
            1,
            "no temporary file is left"
        );

        let missing = dir.join("none/x");
        assert_eq!(
            json_file(missing.to_str().unwrap().as_bytes(), &mut Text::new()),
            Err(Errno(libc::ENOENT))
        );
        // A target that cannot be replaced: the temporary file goes away too.
        std::fs::create_dir(dir.join("d")).unwrap();
        assert_eq!(
            json_file(dir.join("d").to_str().unwrap().as_bytes(), &mut Text::new()),
            Err(Errno(libc::EISDIR))
        );
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
        assert_eq!(
            json_file(&[b'%', b'p'].repeat(1000), &mut Text::new()),
            Err(Errno(libc::ENAMETOOLONG))
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
