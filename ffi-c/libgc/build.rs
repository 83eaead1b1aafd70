//! Link options of the shared library, and the name by which programs find it.

use std::path::PathBuf;

fn main() {
    for arg in [
        "-Wl,-Bsymbolic-functions", // calls inside the library never go through the PLT
        "-Wl,-z,now",               // no lazy binding inside an allocation
        "-Wl,-z,nodelete",          // dlclose must not unload a heap that is in use
        "-Wl,-z,relro",
        "-Wl,-soname,libgc.so.1",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    // target/PROFILE/build/PACKAGE-HASH/out: the library appears in target/PROFILE.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let profile = out
        .ancestors()
        .nth(3)
        .expect("OUT_DIR lies in the target directory");
    let link = profile.join("libgc.so.1");
    if link.symlink_metadata().is_err() {
        // Another build of the same profile may be faster.
        let _ = std::os::unix::fs::symlink("libgc.so", &link);
    }
}
