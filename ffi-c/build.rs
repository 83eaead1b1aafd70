//! Link options of the shared library.

fn main() {
    for arg in [
        "-Wl,-Bsymbolic-functions", // calls inside the library never go through the PLT
        "-Wl,-z,now",               // no lazy binding inside an allocation
        "-Wl,-z,nodelete",          // dlclose must not unload an allocator whose memory is in use
        "-Wl,-z,relro",
        "-Wl,-soname,libdunegc.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
