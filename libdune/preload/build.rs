//! Link options of the shared library.

fn main() {
    for arg in [
        "-Wl,-z,now",      // no lazy binding between two runs of a vCPU
        "-Wl,-z,nodelete", // dlclose must not unload what threads run in
        "-Wl,-z,relro",
        "-Wl,-soname,libdune.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
