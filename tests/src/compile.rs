//! The programs of `tests/c`, compiled when a test needs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::library::{library, target, workspace};
use crate::run::{Run, scratch};

/// Compiles `tests/c/NAME.c` into a program.
pub fn compile(name: &str) -> PathBuf {
    build("gcc", &format!("{name}.c"), name, &["-std=gnu17"])
}

/// As [`compile`], with further compiler arguments; `variant` tells its output apart.
pub fn compile_with(name: &str, variant: &str, args: &[&str]) -> PathBuf {
    let args = [&["-std=gnu17"], args].concat();
    build(
        "gcc",
        &format!("{name}.c"),
        &format!("{name}-{variant}"),
        &args,
    )
}

/// Compiles one of the benchmarks' programs: one whose memory is all collected, linked with the library under test, or one with `malloc` and `free`.
pub fn compile_benchmark(program: &str, collected: bool) -> PathBuf {
    let args = link_with_library();
    let mut all = vec!["-std=gnu17", "-O2", "-I/usr/include/libxml2"];
    if collected {
        all.push("-DCOLLECTED");
        all.extend(args.iter().map(String::as_str));
    }
    if program == "xml" {
        all.push("-lxml2");
    }
    let source = format!("../../bench-gcbench/c/{program}.c");
    let output = format!(
        "{program}-{}",
        if collected { "collected" } else { "malloc" }
    );
    build("gcc", &source, &output, &all)
}

/// Compiles `tests/c/NAME.cpp` into a program.
pub fn compile_cxx(name: &str) -> PathBuf {
    build("g++", &format!("{name}.cpp"), name, &["-std=c++17"])
}

/// Compiles `tests/c/NAME.c` into a shared object called `output`, with further arguments.
pub fn compile_shared(name: &str, output: &str, args: &[&str]) -> PathBuf {
    let args = [&["-std=gnu17", "-shared", "-fPIC"], args].concat();
    build("gcc", &format!("{name}.c"), output, &args)
}

/// Compiles `tests/c/SOURCE` into a program or library called `output`; `include` holds the headers, if not the system's.
pub(crate) fn compile_including(
    source: &str,
    output: &str,
    include: Option<&Path>,
    args: &[&str],
) -> PathBuf {
    let (compiler, standard) = match source.ends_with(".cpp") {
        true => ("g++", "-std=c++17"),
        false => ("gcc", "-std=gnu17"),
    };
    build_once(output, || {
        build_anew(
            compiler,
            source,
            output,
            include,
            &[&[standard], args].concat(),
        )
    })
}

/// Runs the compiler, once in a test process for each output: a program that is replaced while it runs finds its own file
/// no more, and its leak report then has no function names.
fn build(compiler: &str, source: &str, output: &str, args: &[&str]) -> PathBuf {
    let include = workspace().join("ffi-c/include");
    build_once(output, || {
        build_anew(compiler, source, output, Some(&include), args)
    })
}

fn build_once(output: &str, make: impl FnOnce() -> PathBuf) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(output.to_owned()).or_insert_with(make).clone()
}

/// The output appears under its name in one step, so that test processes may share it.
fn build_anew(
    compiler: &str,
    source: &str,
    output: &str,
    include: Option<&Path>,
    args: &[&str],
) -> PathBuf {
    let sources = workspace().join("tests/c");
    let bin = target().join("dunegc-tests/bin");
    fs::create_dir_all(&bin).expect("create the directory for test programs");
    let fresh = scratch("cc");
    let made = fresh.join("out");
    // The compiler may not object to what the programs do wrong on purpose. Frame pointers and no inlining of allocation calls: what a test says it does, happens.
    // Functions are looked up when the program starts: at its first call the dynamic linker would save registers on the stack, with
    // whatever addresses are left in them, and a collection then finds what the program has forgotten.
    let common = [
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wl,-z,now",
        "-Wno-alloc-size-larger-than",
        "-Wno-use-after-free",
        "-Wno-free-nonheap-object",
        "-fno-builtin",
        "-fno-omit-frame-pointer",
        "-pthread",
    ];
    Run::new(compiler)
        .args(common)
        .args(include.map(|dir| format!("-I{}", dir.display())))
        .arg("-o")
        .arg(&made)
        .arg(sources.join(source))
        .args(args)
        .arg("-ldl")
        .arg("-lrt")
        .ok();
    let path = bin.join(output);
    fs::rename(&made, &path).expect("move the program to its place");
    let _ = fs::remove_dir_all(fresh);
    path
}

/// The arguments that link a program with the library under test.
pub fn link_with_library() -> Vec<String> {
    let library = library();
    let dir = library.parent().unwrap_or(Path::new("."));
    vec![
        library.display().to_string(),
        format!("-Wl,-rpath,{}", dir.display()),
    ]
}
