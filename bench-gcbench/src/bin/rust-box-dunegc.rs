//! The Rust programs with `Box`, dunegc as global allocator.

#[global_allocator]
static ALLOCATOR: dunegc::DuneGc = dunegc::DuneGc::new();

fn main() -> std::process::ExitCode {
    bench_gcbench::boxed::main()
}
