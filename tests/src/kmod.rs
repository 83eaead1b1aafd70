//! The module dune (`kmod/`): how it is built for a machine, and what runs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::compile::{compile, compile_benchmark};
use crate::initrd::test_program;
use crate::kernel::debian_kernel;
use crate::library::{build_preload, library, workspace};
use crate::run::only_one;

/// Runs a command: what it printed, and whether it succeeded.
fn output(program: &str, args: &[&str], dir: &Path) -> (String, bool) {
    let out = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = [out.stdout, out.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        out.status.success(),
    )
}

/// The headers of the very kernel that will run; as root they are installed if they are missing.
fn headers(dir: &Path) -> PathBuf {
    let kernel = debian_kernel(dir).unwrap_or_else(|e| panic!("{e}"));
    let name = kernel.file_name().expect("a name").to_string_lossy();
    let version = name.strip_prefix("vmlinuz-").expect("vmlinuz-VERSION");
    let package = format!("linux-headers-{version}");
    let folder = Path::new("/usr/src").join(&package);
    if !folder.exists() {
        let args = [
            "-y",
            "-q",
            "-o",
            "DPkg::Lock::Timeout=300",
            "install",
            "--no-install-recommends",
            &package,
        ];
        let (text, _) = output("apt-get", &args, dir);
        assert!(
            folder.exists(),
            "the module cannot be built without the package {package}, and it cannot be installed here:\n{text}"
        );
    }
    folder
}

/// Fetches the headers of the newest kernel in Debian's backports into `lists`, `cache` and `root`, and prints their package's name. They name each other by
/// absolute paths, and want a tool for debugging information if they have a kernel to take some from.
const NEWEST: &str = r#"
. /etc/os-release
mkdir -p lists/partial cache/archives/partial
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] http://deb.debian.org/debian $VERSION_CODENAME-backports main" > sources
options="-q -o Dir::Etc::sourcelist=$PWD/sources -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD/cache"
apt-get $options update >&2
package=$(apt-cache $options depends linux-headers-amd64 | sed -n 's/.*Depends: //p')
version=${package#linux-headers-}
version=${version%-amd64}
apt-get $options download "$package" "linux-headers-$version-common" "linux-kbuild-$version" >&2
for archive in *.deb; do dpkg -x "$archive" root; done
rm -f ./*.deb "root/usr/src/$package/vmlinux"
sed -i "s#/usr/src/#$PWD/root/usr/src/#" "root/usr/src/$package/Makefile"
echo "$package"
"#;

/// The headers of the newest kernel that Debian offers for its release here, in a scratch folder.
///
/// # Panics
/// They cannot be had.
pub fn newest_headers(dir: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).expect("a folder");
    let script = format!("set -eu; {NEWEST}");
    let (text, good) = output("sh", &["-c", &script], dir);
    assert!(good, "no headers of a newer kernel can be had:\n{text}");
    let package = text.lines().find(|l| l.starts_with("linux-headers-"));
    dir.join("root/usr/src").join(package.expect("a name"))
}

/// The module, built in `to` from a copy of its sources, for the kernel of these headers. A warning is an error.
///
/// # Panics
/// It cannot be built.
pub fn build(headers: &Path, to: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(to);
    let (text, good) = output(
        "cp",
        &["-r", "kmod", &to.display().to_string()],
        workspace(),
    );
    assert!(good, "{text}");
    let kernel = format!("KDIR={}", headers.display());
    let (text, good) = output("make", &["clean", &kernel], to);
    assert!(good, "{text}");
    let (text, good) = output("make", &[&kernel], to);
    assert!(good && !text.contains("warning"), "{text}");
    to.join("dune.ko")
}

/// The module for the kernel that machines run, built below a scratch folder; once, until its sources change.
///
/// # Panics
/// It cannot be built.
pub fn module(dir: &Path) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let _one = only_one(&dir.join("kmod-build.lock"));
        let headers = headers(dir);
        let (to, note) = (dir.join("kmod-build"), dir.join("kmod-build.from"));
        let from = format!("{}\n{}", headers.display(), sources());
        let module = to.join("dune.ko");
        if module.exists() && fs::read_to_string(&note).is_ok_and(|was| was == from) {
            return module;
        }
        let _ = fs::remove_file(&note);
        let module = build(&headers, &to);
        fs::write(note, from).expect("a note");
        module
    };
    BUILT.get_or_init(build).clone()
}

/// What the module is made from: names and checksums.
fn sources() -> String {
    let script = "find kmod -type f -print0 | sort -z | xargs -0 sha256sum";
    let (text, good) = output("sh", &["-c", script], workspace());
    assert!(good, "{text}");
    text
}

/// What every machine begins with, and ends with: nothing in the kernel's log, and no taint beyond that of an unsigned module from elsewhere.
const BEGIN: &str = r#"
/bin/busybox mkdir -p /sys
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin
export PATH=/bin
# Whoever stops the emulator for a minute has not found a lockup; a real one ends by the machine's limit.
echo 60 > /proc/sys/kernel/watchdog_thresh
echo 150 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
bad=0
try() { echo "== $(cut -d" " -f1 /proc/uptime) $*"; timeout $LIMIT "$@" || { echo "FAILED: $*"; bad=1; }; }
# What the kernel has complained about since the last time; more words may be given.
complaints='BUG|WARN|Oops|stall|lockup|general protection|page allocation failure'
clean() { dmesg | grep -E "$complaints$1" && { bad=1; dmesg | tail -200; }; dmesg -c > /dev/null; }
never() { echo "== not: $*"; if "$@" 2>/dev/null; then echo "FAILED to be refused: $*"; bad=1; fi; }
try insmod /dune.ko
"#;
const END: &str = r#"
try rmmod dune
echo "== $(cut -d' ' -f1 /proc/uptime) end"
clean '|Call Trace'
[ $(cat /proc/sys/kernel/tainted) = 12288 ] || { echo taint; bad=1; }
[ $bad = 0 ]
"#;

/// How long the fuzzer runs, in seconds of the machine's: by hand longer than what a test asks for.
///
/// # Panics
/// `KMOD_FUZZ_SECONDS` is no number.
pub fn fuzz_seconds(usual: u32) -> u32 {
    let set = std::env::var("KMOD_FUZZ_SECONDS").ok();
    set.map_or(usual, |s| s.parse().expect("KMOD_FUZZ_SECONDS"))
}

/// A script for a machine: loads the module, does what is asked for, and ends with a look at the kernel's log. `fuzz`: seconds for the fuzzer.
pub fn script(body: &str, fuzz: u32) -> String {
    let set = |name: &str| std::env::var(name).ok();
    let seed = set("KMOD_FUZZ_SEED").unwrap_or_else(|| "1".to_owned());
    let requests = set("KMOD_FUZZ_REQUESTS").unwrap_or_default();
    format!("{BEGIN}{body}{END}")
        .replace("$LIMIT", &(3600 + fuzz).to_string())
        .replace("$FUZZ_SECONDS", &fuzz.to_string())
        .replace("$FUZZ_SEED", &seed)
        .replace("$FUZZ_REQUESTS", &requests)
}

/// What a machine wrote, checked for what the script's status does not say.
///
/// # Panics
/// Something was skipped or failed.
pub fn check(text: &str) {
    for missing in ["skipped", "FAILED"] {
        assert!(!text.contains(missing), "{text}");
    }
    for line in text.lines().filter(|l| l.starts_with("fuzz:")) {
        println!("{line}");
    }
}

/// The suites of libdune but one, and the reference programs that count exits; `$PAGES` of them are written and harvested.
pub const SUITES: &str = r#"
/bin/busybox ln -s /bin/busybox /tmp/echo
try /engine kmod
try /guest --test-threads=1
try /threads --test-threads=1
/counts $PAGES > /tmp/counts; cat /tmp/counts
try grep -x '1000 system calls: 1000 exits' /tmp/counts
try grep -x '1000 first writes to clean pages: 0 exits' /tmp/counts
try grep -x '1000 faults handled: 0 exits' /tmp/counts
try grep -x '$PAGES first writes: 0 exits' /tmp/counts
try grep -x 'harvest of $PAGES pages: $PAGES written, at most 1 exit: true' /tmp/counts
try /invlpg
try /traps
echo "== two at once"
/guest --test-threads=1 > /tmp/one 2>&1 & one=$!
try /guest --test-threads=1
wait $one || { cat /tmp/one; bad=1; }
"#;

/// The suite of libdune with an engine that makes trouble, which asks more of libdune than of the module.
pub const TROUBLE: &str = "
try /trouble --test-threads=1
";

/// What guests may not do, what processes may do to guests, and requests that make no sense; for two processors.
pub const PROMISES: &str = r#"
for part in registers arguments forbidden rights outside copies changing signals moves foreign traced steps ends kill memory unpinned other-hypervisor; do
    try /safety $part
done
clean '|Call Trace'
# The kernel says whom it kills, and where it was.
try /safety oom
dmesg | grep -q 'oom-kill:constraint=CONSTRAINT_MEMCG' || { echo "nobody was killed"; bad=1; }
clean
echo "== a guest that runs while processors come and go, the machine sleeps, and the module is to go"
/safety spin & spin=$!
sleep 1
never rmmod dune
for i in 1 2 3; do
    echo 0 > /sys/devices/system/cpu/cpu1/online || bad=1
    sleep 0.2
    echo 1 > /sys/devices/system/cpu/cpu1/online || bad=1
    sleep 0.2
done
echo 1 > /sys/module/suspend/parameters/pm_test_delay
echo core > /sys/power/pm_test
echo mem > /sys/power/state || bad=1
try /safety registers
kill -9 $spin
wait $spin 2>/dev/null
for i in 1 2 3; do
    try rmmod dune
    try insmod /dune.ko
    try /safety registers
done
try /fuzz $FUZZ_SECONDS $FUZZ_SEED $FUZZ_REQUESTS
"#;

/// What runs in [`dirty`] and [`gcbench`].
pub fn dirty_programs() -> [(&'static str, PathBuf); 6] {
    [
        ("conformance", test_program("dunegc", "dirty_conformance")),
        ("hazards", test_program("dunegc", "dirty_dune")),
        ("gcbench", compile_benchmark("gcbench", true)),
        ("mutators", compile("mutators")),
        ("libdune.so", build_preload()),
        ("libdunegc.so", library()),
    ]
}

/// The conformance suite of the dirty sources in guest mode, and who else writes to memory. The emulators take their time for the long random rounds; those of
/// `threads` do the same.
const CONFORMANCE: &str = "
try /conformance dune:: dune_wp:: --skip liar --skip ten_thousand --test-threads=1
try /hazards --test-threads=1
";

/// `beside SOURCE PROGRAM`: collections beside a program, which stays in guest mode and loses nothing.
const BESIDE: &str = r#"
export DUNE_ENGINE=kmod
# Whoever stops the emulator for some seconds has not found a thread that cannot be stopped.
export DUNEGC_STOP_TIMEOUT=120000
beside() {
    echo "== $(cut -d" " -f1 /proc/uptime) beside: $*"
    export DUNEGC_MODE=malloc DUNEGC_CONCURRENT=yes DUNEGC_MIN_HEAP=1M DUNEGC_DIRTY=$1
    shift
    LD_PRELOAD=/libdune.so:/libdunegc.so DUNE=stats "$@" > /tmp/out 2>&1 || { echo "FAILED: $*"; bad=1; }
    cat /tmp/out
    grep -q 'dune: inside at the end' /tmp/out || { echo "FAILED to stay: $*"; bad=1; }
    grep 'dunegc:' /tmp/out && { echo "FAILED: $*"; bad=1; }
}
"#;

const MUTATORS: &str = "
for source in dune dune-wp; do beside $source /mutators 2 3 5; done
";

/// What is written in guest mode is known, and collections beside programs rely on that. `gcbench`: arguments of GCBench.
pub fn dirty(gcbench: &str) -> String {
    format!("{CONFORMANCE}{BESIDE}beside dune /gcbench {gcbench}{MUTATORS}")
}

/// GCBench alone, with collections beside it.
pub fn gcbench() -> String {
    format!("{BESIDE}beside dune /gcbench --long-lived 12\n")
}
