//! The Rust programs with `Box`, under malloc and free: of the C library, or of what is preloaded.

fn main() -> std::process::ExitCode {
    bench_gcbench::boxed::main()
}
