//! Statistics as JSON. `docs/environment.md` documents the fields; they are stable.

use super::Stats;
use crate::config::Mode;
use core::fmt::{self, Write};

/// Writes one object and a newline. `buckets` are the pause histogram: upper bound in nanoseconds, and count.
pub(super) fn write(
    out: &mut dyn Write,
    pid: i32,
    mode: Mode,
    s: &Stats,
    buckets: impl Iterator<Item = (u64, u64)>,
) -> fmt::Result {
    write!(
        out,
        "{{\n  \"version\": \"{}\",\n  \"pid\": {pid},\n  \"mode\": \"{mode}\"",
        env!("CARGO_PKG_VERSION")
    )?;
    for (name, value) in [
        ("collections", Some(s.collections)),
        ("pause_max_ns", Some(s.pause_max_ns)),
        ("pause_p99_ns", Some(s.pause_p99_ns)),
        ("pause_p50_ns", Some(s.pause_p50_ns)),
        ("pause_total_ns", Some(s.pause_total_ns)),
        ("stop_ns", Some(s.stop_ns)),
        ("mark_ns", Some(s.mark_ns)),
        ("sweep_ns", Some(s.sweep_ns)),
        ("allocated_bytes", Some(s.allocated_bytes)),
        ("live_bytes", Some(s.live_bytes)),
        ("heap_bytes", Some(s.heap_bytes)),
        ("reclaimed_bytes", Some(s.reclaimed_bytes)),
        ("roots_bytes", Some(s.roots_bytes)),
        ("objects_marked", Some(s.objects_marked)),
        ("rss_bytes", s.rss_bytes),
        ("rss_peak_bytes", s.rss_peak_bytes),
    ] {
        match value {
            Some(n) => write!(out, ",\n  \"{name}\": {n}")?,
            None => write!(out, ",\n  \"{name}\": null")?,
        }
    }
    out.write_str(",\n  \"pause_histogram\": [")?;
    for (i, (upper, count)) in buckets.enumerate() {
        write!(out, "{}[{upper}, {count}]", if i == 0 { "" } else { ", " })?;
    }
    out.write_str("]\n}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn is_json_with_every_figure() {
        let s = Stats {
            collections: 3,
            pause_max_ns: 9,
            rss_bytes: None,
            rss_peak_bytes: Some(4096),
            ..Stats::default()
        };
        let mut text = String::new();
        write(
            &mut text,
            42,
            Mode::Reclaim,
            &s,
            [(9, 2), (31, 1)].into_iter(),
        )
        .unwrap();
        let v: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(v["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&v["pid"], &v["mode"]), (&42.into(), &"reclaim".into()));
        assert_eq!(
            (&v["collections"], &v["pause_max_ns"]),
            (&3.into(), &9.into())
        );
        assert_eq!(
            (&v["rss_bytes"], &v["rss_peak_bytes"]),
            (&serde_json::Value::Null, &4096.into())
        );
        assert_eq!(v["pause_histogram"], serde_json::json!([[9, 2], [31, 1]]));
        assert_eq!(v.as_object().unwrap().len(), 20);
        let mut empty = String::new();
        write(&mut empty, 1, Mode::Malloc, &s, core::iter::empty()).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&empty).unwrap()["pause_histogram"],
            serde_json::json!([])
        );
    }
}
