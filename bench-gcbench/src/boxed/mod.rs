//! `Box` everywhere: what the global allocator does for an ordinary Rust program.

mod gcbench;
mod hashmap;
mod list;
mod xml;

/// GCBench once in this process, with its usual sizes; its checksum.
pub fn gcbench_once() -> u64 {
    gcbench::once(16)
}

/// Runs the program that the first argument names.
pub fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("gcbench") => gcbench::main(),
        Some("list") => list::main(),
        Some("hashmap") => hashmap::main(),
        Some("xml") => xml::main(),
        _ => {
            eprintln!("the first argument is one of gcbench, list, hashmap, xml");
            return std::process::ExitCode::from(2);
        }
    }
    std::process::ExitCode::SUCCESS
}
