//! The module dune (`kmod/`) builds without warnings for the newest kernel that Debian offers for this release, in its backports. What is missing here is a failure.

use std::path::Path;

use dunegc_tests::kmod;

#[test]
fn the_module_builds_for_the_newest_kernel() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("newest-kernel");
    let headers = kmod::newest_headers(&dir);
    let module = kmod::build(&headers, &dir.join("build"));
    let version = headers.file_name().expect("a name").to_string_lossy();
    println!("{}: for {version}", module.display());
}
