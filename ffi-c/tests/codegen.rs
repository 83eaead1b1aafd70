//! The inlined allocation paths as machine code: no calls, no frame. Looks at an optimised build, whatever the tests' profile.
mod common;
use common::*;
use std::collections::HashMap;
use std::process::Command;

/// Instructions of each function, by the names of all symbols at its address.
fn functions() -> HashMap<String, Vec<String>> {
    let library = release_library();
    let run = |tool: &str, args: &[&str]| {
        let out = Command::new(tool)
            .args(args)
            .arg(&library)
            .output()
            .unwrap_or_else(|e| panic!("{tool} is needed: {e}"));
        String::from_utf8(out.stdout).unwrap()
    };
    let mut by_address: HashMap<u64, Vec<String>> = HashMap::new();
    let mut at = 0;
    for line in run("objdump", &["-d", "--no-show-raw-insn", "-M", "intel"]).lines() {
        if let Some((address, _)) = line.strip_suffix(">:").and_then(|l| l.split_once(" <")) {
            at = u64::from_str_radix(address, 16).unwrap();
        } else if let Some((_, code)) = line.split_once(":\t") {
            by_address
                .entry(at)
                .or_default()
                .push(code.trim().to_string());
        }
    }
    run("nm", &["-D", "--defined-only"])
        .lines()
        .filter_map(|l| {
            let mut fields = l.split_whitespace();
            let address = u64::from_str_radix(fields.next()?, 16).ok()?;
            let name = fields.nth(1)?;
            Some((name.to_string(), by_address.get(&address)?.clone()))
        })
        .collect()
}

#[test]
fn allocation_without_calls_or_frame() {
    let functions = functions();
    for (name, pushes) in [
        ("malloc", 0),
        ("_Znwm", 0),
        ("_Znam", 0),
        ("GC_malloc", 0),
        ("GC_malloc_atomic", 0),
        ("free", 2),
        ("_ZdlPv", 2),
        ("_ZdlPvm", 2),
    ] {
        let code = &functions[name];
        let text = || code.join("\n");
        assert!(code.len() > 20, "{name} has no inlined path:\n{}", text());
        assert!(
            !code.iter().any(|i| i.starts_with("call")),
            "{name} makes calls:\n{}",
            text()
        );
        let pushed = code
            .iter()
            .filter(|i| i.starts_with("push") || i.starts_with("sub    rsp"))
            .count();
        assert!(
            pushed <= pushes,
            "{name} saves {pushed} registers, at most {pushes} are expected:\n{}",
            text()
        );
        assert!(
            !code
                .iter()
                .any(|i| i.contains("lock ") || i.starts_with("xchg")),
            "{name} has locked instructions:\n{}",
            text()
        );
    }
}
