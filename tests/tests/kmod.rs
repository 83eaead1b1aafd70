//! The module dune (`kmod/`) on a Debian kernel in QEMU, whose emulated processor has AMD's virtualisation with nested paging. What is missing here is a failure,
//! not a reason to skip: nobody may take an untested module for a tested one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use dunegc_tests::{Machine, debian_kernel, test_program, workspace};

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

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
fn headers() -> PathBuf {
    let kernel = debian_kernel(scratch()).unwrap_or_else(|e| panic!("{e}"));
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
        let (text, _) = output("apt-get", &args, scratch());
        assert!(
            folder.exists(),
            "the module cannot be built without the package {package}, and it cannot be installed here:\n{text}"
        );
    }
    folder
}

/// The module, built in a copy of its sources. A warning is an error.
fn module() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let headers = headers();
        let to = scratch().join("kmod-build");
        let _ = fs::remove_dir_all(&to);
        let (text, good) = output(
            "cp",
            &["-r", "kmod", &to.display().to_string()],
            workspace(),
        );
        assert!(good, "{text}");
        let kernel = format!("KDIR={}", headers.display());
        let (text, good) = output("make", &["clean", &kernel], &to);
        assert!(good, "{text}");
        let (text, good) = output("make", &[&kernel], &to);
        assert!(good && !text.contains("warning"), "{text}");
        to.join("dune.ko")
    };
    BUILT.get_or_init(build).clone()
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
try() { echo "== $(cut -d" " -f1 /proc/uptime) $*"; timeout 3600 "$@" || { echo "FAILED: $*"; bad=1; }; }
never() { echo "== not: $*"; if "$@" 2>/dev/null; then echo "FAILED to be refused: $*"; bad=1; fi; }
try insmod /dune.ko
"#;
const END: &str = r#"
try rmmod dune
echo "== $(cut -d' ' -f1 /proc/uptime) end"
dmesg | grep -E 'BUG|WARN|Oops|Call Trace|stall|lockup|general protection|page allocation failure' && { bad=1; dmesg | tail -200; }
[ $(cat /proc/sys/kernel/tainted) = 12288 ] || { echo taint; bad=1; }
[ $bad = 0 ]
"#;

fn boot(name: &str, cpus: u32, modules: &[&str], programs: &[(&str, PathBuf)], script: &str) {
    let module = module();
    let mut all = programs.to_vec();
    all.push(("dune.ko", module));
    let script = format!("{BEGIN}{script}{END}");
    let machine = Machine {
        name,
        dir: scratch(),
        programs: &all,
        modules,
        script: &script,
        cpu: "max,+svm,-la57",
        cpus,
        // Emulated by threads of their own, two processors lose dirty bits in guests, under kvm-amd as well.
        parallel: false,
        limit: 400 + fuzz_seconds(),
    };
    let text = machine.run().unwrap_or_else(|e| panic!("{e}"));
    for missing in ["skipped", "FAILED"] {
        assert!(!text.contains(missing), "{text}");
    }
    for line in text.lines().filter(|l| l.starts_with("fuzz:")) {
        println!("{line}");
    }
}

/// How long the fuzzer runs: by hand longer.
fn fuzz_seconds() -> u32 {
    let set = std::env::var("KMOD_FUZZ_SECONDS").ok();
    set.map_or(20, |s| s.parse().expect("KMOD_FUZZ_SECONDS"))
}

fn program(path: &str) -> PathBuf {
    PathBuf::from(path)
}

/// The suites of libdune and the reference programs that count exits, on the engine kmod.
#[test]
fn guest_mode_works_on_the_module() {
    let programs = [
        ("guest", test_program("libdune", "guest")),
        ("threads", test_program("libdune", "threads")),
        ("trouble", test_program("libdune", "trouble")),
        ("engine", program(env!("CARGO_BIN_EXE_dune-engine"))),
        ("counts", program(env!("CARGO_BIN_EXE_dune-counts"))),
        ("invlpg", program(env!("CARGO_BIN_EXE_dune-invlpg"))),
        ("traps", program(env!("CARGO_BIN_EXE_dune-traps"))),
    ];
    let script = r#"
/bin/busybox ln -s /bin/busybox /tmp/echo
try /engine kmod
try /guest --test-threads=1
try /threads --test-threads=1
try /trouble --test-threads=1
/counts > /tmp/counts; cat /tmp/counts
try grep -x '1000 system calls: 1000 exits' /tmp/counts
try grep -x '1000 first writes to clean pages: 0 exits' /tmp/counts
try grep -x '1000 faults handled: 0 exits' /tmp/counts
try /invlpg
try /traps
echo "== two at once"
/guest --test-threads=1 > /tmp/one 2>&1 & one=$!
try /guest --test-threads=1
wait $one || { cat /tmp/one; bad=1; }
"#;
    boot("kmod-suites", 1, &[], &programs, script);
}

/// What guests may not do, what processes may do to guests, and requests that make no sense; beside a kernel whose own hypervisor is loaded.
#[test]
fn the_module_keeps_its_promises() {
    let programs = [
        ("safety", program(env!("CARGO_BIN_EXE_kmod-safety"))),
        ("fuzz", program(env!("CARGO_BIN_EXE_kmod-fuzz"))),
    ];
    let script = r#"
for part in registers arguments forbidden rights outside copies changing signals foreign traced ends kill memory other-hypervisor; do
    try /safety $part
done
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
try /fuzz $FUZZ_SECONDS $FUZZ_SEED
"#;
    let seed = std::env::var("KMOD_FUZZ_SEED").unwrap_or_else(|_| "1".to_owned());
    let script = script
        .replace("$FUZZ_SECONDS", &fuzz_seconds().to_string())
        .replace("$FUZZ_SEED", &seed);
    let modules = ["irqbypass", "ccp", "kvm", "kvm-amd npt=1"];
    boot("kmod-safety", 2, &modules, &programs, &script);
}
