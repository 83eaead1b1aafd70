//! Link options of the shared library, and the name by which programs find it.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Only the name is recorded: an empty library stands for libgc.so.1, which cargo may not have built yet.
    let stub = out.join("libgc-stub.so");
    let made = Command::new("cc")
        .args(["-shared", "-nostdlib", "-Wl,-soname,libgc.so.1", "-o"])
        .arg(&stub)
        .args(["-x", "c", "/dev/null"])
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "cc, which links Rust programs too, cannot link a shared library"
    );
    let stub = stub.display().to_string();
    for arg in [
        "-Wl,-z,now",
        "-Wl,-z,relro",
        "-Wl,-soname,libgccpp.so.1",
        "-Wl,--push-state,--no-as-needed",
        &stub,
        "-l:libstdc++.so.6",
        "-Wl,--pop-state",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    // target/PROFILE/build/PACKAGE-HASH/out: the library appears in target/PROFILE.
    let profile = out
        .ancestors()
        .nth(3)
        .expect("OUT_DIR lies in the target directory");
    let link = profile.join("libgccpp.so.1");
    if link.symlink_metadata().is_err() {
        // Another build of the same profile may be faster.
        let _ = std::os::unix::fs::symlink("libgccpp.so", &link);
    }
}
