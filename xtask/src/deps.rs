//! The Debian packages that the demo and the tests need.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;

/// Compilers, and the peers that the benchmark compares with.
pub const DEMO: &[&str] = &[
    "gcc",
    "g++",
    "libc6-dev",
    "libgc-dev",
    "libjemalloc2",
    "libmimalloc2.0",
    "libxml2-dev",
    "pkg-config",
];

/// Everything: the above and the programs that are run under the library.
pub const ALL: &[&str] = &[
    "gcc",
    "g++",
    "libc6-dev",
    "libgc-dev",
    "libjemalloc2",
    "libmimalloc2.0",
    "liburing-dev",
    "libxml2-dev",
    "pkg-config",
    "binutils",
    "bochs",
    "bochsbios",
    "busybox-static",
    "cpio",
    "debfoster",
    "ecl",
    "fauhdlc",
    "git",
    "gobjc",
    "grub-common",
    "grub-pc-bin",
    "guile-3.0",
    "jq",
    "mmv",
    "mtools",
    "nim",
    "openssl",
    "perl",
    "procps",
    "python3",
    "python3.11",
    "libpython3.11-testsuite",
    "linux-headers-amd64",
    "make",
    "qemu-system-x86",
    "redis-server",
    "redis-tools",
    "sqlite3",
    "tmux",
    "util-linux",
    "vgabios",
    "w3m",
    "xorriso",
    "xz-utils",
];

/// The sources of Debian's python3.11, and their checksum in Debian's signed index. Its package
/// libpython3.11-testsuite leaves `test_sqlite3` out.
const PYTHON_SOURCE: &str =
    "http://deb.debian.org/debian/pool/main/p/python3.11/python3.11_3.11.2.orig.tar.gz";
const PYTHON_SHA256: &str =
    "SHA256:2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849";

/// Everything for `cargo xtask test`: the packages, and CPython's own tests of sqlite3.
pub fn install_all(context: &Context) -> Result<()> {
    install(context, ALL)?;
    let tests = context.root.join("target/python-3.11.2-tests");
    if tests.join("test_sqlite3/__init__.py").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&tests)?;
    let archive = tests.join("source.tar.gz").display().to_string();
    context
        .command(
            "/usr/lib/apt/apt-helper",
            &["download-file", PYTHON_SOURCE, &archive, PYTHON_SHA256],
        )
        .run()?;
    let into = tests.display().to_string();
    context
        .command(
            "tar",
            &[
                "-xzf",
                &archive,
                "-C",
                &into,
                "--strip-components=3",
                "--wildcards",
                "*/Lib/test/test_sqlite3/*",
            ],
        )
        .run()?;
    fs::remove_file(archive)?;
    Ok(())
}

/// Installs what is missing of `packages`, as root; otherwise fails with the command to run.
pub fn install(context: &Context, packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        println!("all {} Debian packages are installed", packages.len());
        return Ok(());
    }
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        bail!(
            "missing Debian packages; run this, then start again:\n  sudo apt-get install -y --no-install-recommends {}",
            missing.join(" ")
        );
    }
    println!("installing {}", missing.join(" "));
    let limit = Duration::from_secs(15 * 60);
    let apt = |args: &[&str]| {
        context
            .command("apt-get", args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .limit(limit)
            .run()
    };
    let mut args = vec![
        "-y",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
        "install",
        "--no-install-recommends",
    ];
    args.extend(&missing);
    apt(&["-q", "update"])?;
    apt(&args)
}

/// Those of `packages` that dpkg does not list as installed.
fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let listed = duct::cmd(
        "dpkg-query",
        ["-W", "-f", "${db:Status-Status} ${Package}\n"],
    )
    .stdin_null()
    .read()
    .context("dpkg-query failed: this runs on Debian 12; elsewhere install the packages listed in xtask/src/deps.rs by hand")?;
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    Ok(packages
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect())
}
