//! Reading a trace file.

use std::collections::BTreeMap;

use serde_json::Value;

/// The events of a complete trace.
///
/// # Panics
/// When it is none.
pub fn parse(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A field that holds text.
///
/// # Panics
/// When it does not.
pub fn text<'v>(event: &'v Value, field: &str) -> &'v str {
    event[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {event}"))
}

/// A field that holds a number.
///
/// # Panics
/// When it does not.
pub fn number(event: &Value, field: &str) -> u64 {
    event[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {event}"))
}

/// The time of an event in nanoseconds.
///
/// # Panics
/// When it has none.
pub fn ns(event: &Value) -> u64 {
    (event["ts"].as_f64().expect("a time") * 1000.0).round() as u64
}

/// What lasted, by name: duration in nanoseconds, and argument. Begin and end must be balanced and nested in each thread.
///
/// # Panics
/// When they are not.
pub fn spans(events: &[Value]) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut open: BTreeMap<u64, Vec<(&str, u64)>> = BTreeMap::new();
    let mut spans: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events {
        let stack = open.entry(number(event, "tid")).or_default();
        let name = text(event, "name");
        match text(event, "ph") {
            "B" => stack.push((name, ns(event))),
            "E" => {
                let (begun, at) = stack.pop().unwrap_or_else(|| panic!("no begin of {event}"));
                assert_eq!(begun, name, "{event} ends another event");
                let argument = event["args"].as_object().expect("arguments");
                let argument = argument.values().next().and_then(Value::as_u64);
                let duration = ns(event).checked_sub(at).expect("time goes on");
                let entry = spans.entry(name.to_owned()).or_default();
                entry.push((duration, argument.expect("a number")));
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "never ended: {open:?}");
    spans
}

/// Durations of the stops that stopped every thread.
pub fn stops(spans: &BTreeMap<String, Vec<(u64, u64)>>) -> Vec<u64> {
    let stops = spans["stop"].iter().filter(|(_, threads)| *threads > 0);
    stops.map(|(ns, _)| *ns).collect()
}
