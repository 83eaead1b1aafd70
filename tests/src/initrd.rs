//! What an emulated machine finds when it starts: programs, modules, and a script that runs them and turns it off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kernel::KERNEL;
use crate::library::workspace;
use crate::qemu::Machine;

/// The programs with their libraries, busybox, modules and the init script.
/// `small`: without what debuggers want of the programs.
pub(crate) fn make(machine: &Machine, small: bool) -> PathBuf {
    let dir = &machine.dir.join(machine.name);
    let kernel = &machine.dir.join(KERNEL).join("kernel");
    let root = dir.join("root");
    let _ = fs::remove_dir_all(&root);
    for folder in ["bin", "proc", "dev", "tmp", "modules"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.iter().find(|p| Path::new(p).exists());
    fs::copy(busybox.expect("busybox"), root.join("bin/busybox")).expect("busybox");
    let mut load = String::new();
    for module in machine.modules {
        let name = module.split(' ').next().expect("a first word");
        let file = format!("{name}.ko");
        let path = find_below(kernel, &file).unwrap_or_else(|| panic!("no {file}"));
        fs::copy(path, root.join("modules").join(&file)).expect("a module");
        let parameters = &module[name.len()..];
        load += &format!("/bin/busybox insmod /modules/{file}{parameters}\n");
    }
    for (name, program) in machine.programs {
        fs::copy(program, root.join(name)).expect("a program");
        if small {
            let what = if name.ends_with(".ko") { "-g" } else { "-s" };
            output("strip", &[what, name], &root).expect("strip");
        }
        if name.ends_with(".ko") {
            continue;
        }
        let libraries = output("ldd", &[&program.display().to_string()], dir).expect("ldd");
        for word in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
            let to = root.join(&word[1..]);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(word, to).expect("a library");
        }
    }
    let init = format!(
        r#"#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
{load}(
{}
)
rc=$?
echo "status: $rc"
/bin/busybox sleep 1
/bin/busybox printf "\\x$((10 + (rc != 0)))" | /bin/busybox dd of=/dev/port bs=1 seek=244 2>/dev/null
/bin/busybox poweroff -f
"#,
        machine.script
    );
    fs::write(root.join("init"), init).expect("init");
    output("chmod", &["+x", "init"], &root).expect("chmod");
    output("sh", &["-c", "find . | cpio -o -H newc > ../initrd"], &root).expect("cpio");
    dir.join("initrd")
}

/// A test program of the workspace, built now.
///
/// # Panics
/// It cannot be built.
pub fn test_program(package: &str, test: &str) -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = [
        "test",
        "--package",
        package,
        "--test",
        test,
        "--no-run",
        "--message-format=json",
    ];
    let messages = output(&cargo, &args, workspace()).expect("the suite builds");
    let path = messages.lines().find_map(|line| {
        // `"target":{..,"name":"NAME",..}` and `"executable":"PATH"` of one message.
        let named = line.contains(&format!("\"name\":\"{test}\""));
        let (_, after) = line.split_once("\"executable\":\"")?;
        named.then(|| PathBuf::from(after.split('"').next().unwrap_or_default()))
    });
    path.expect("cargo names the program")
}

/// Standard output of a command that must succeed; the error says which did not.
pub(crate) fn output(program: &str, args: &[&str], dir: &Path) -> Result<String, String> {
    let run = Command::new(program).args(args).current_dir(dir).output();
    let out = run.map_err(|e| format!("{program}: {e}"))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(format!("{program} {}: {text}", args.join(" ")));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A file of `dir` whose name starts with `start`.
pub(crate) fn find(dir: &Path, start: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    entries.filter_map(|e| Some(e.ok()?.path())).find(|p| {
        p.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with(start))
    })
}

/// A file of a name, somewhere below `dir`.
fn find_below(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(dir)
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    let here = entries
        .iter()
        .find(|p| p.file_name().is_some_and(|n| n == name));
    let below = || {
        let folders = entries.iter().filter(|p| p.is_dir() && !p.is_symlink());
        folders.filter_map(|p| find_below(p, name)).next()
    };
    here.cloned().or_else(below)
}
