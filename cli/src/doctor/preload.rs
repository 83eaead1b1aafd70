//! The library: found, and really loaded into a program.

use super::report::{Check, Status};
use crate::library;
use std::path::Path;
use std::process::Command;

pub fn check(option: Option<&Path>) -> Check {
    let fail = |value: String, note: &str| Check::new("library", Status::Fail, value, note);
    let (path, source) = match library::find(option) {
        Ok(found) => found,
        Err(why) => return fail(why, ""),
    };
    let value = format!("{} ({source})", path.display());
    // The loader prints a line and goes on without a library that it cannot load; so the child looks into its own maps.
    let child = Command::new("/bin/cat")
        .arg("/proc/self/maps")
        .env("LD_PRELOAD", &path)
        .output();
    let output = match child {
        Ok(output) => output,
        Err(e) => {
            return Check::warn(
                "library",
                value,
                format!("could not be tried: /bin/cat: {e}"),
            );
        }
    };
    let loaded = String::from_utf8_lossy(&output.stdout).contains(&*path.to_string_lossy());
    let mut said = String::from_utf8_lossy(&output.stderr)
        .lines()
        .next()
        .unwrap_or("")
        .to_owned();
    if said.is_empty() {
        said = format!("/bin/cat ended with {}", output.status);
    }
    match (loaded, output.status.success()) {
        (true, true) => Check::ok("library", value, "loads"),
        (true, false) => fail(value, &format!("a program under it fails: {said}")),
        (false, _) => fail(value, &format!("does not load: {said}")),
    }
}
