//! The headers of libgc: each compiles alone, and they say the same as Debian's libgc-dev, name by name and type by type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use dunegc_tests::{Run, compile_shared, need, oracle, scratch, workspace};

/// Headers for C. Those for C++ only are compared by running programs that use them.
const C_HEADERS: &[&str] = &[
    "gc.h",
    "gc/gc.h",
    "gc/gc_typed.h",
    "gc/gc_mark.h",
    "gc/gc_inline.h",
    "gc/gc_gcj.h",
    "gc/gc_disclaim.h",
    "gc/gc_backptr.h",
    "gc/gc_tiny_fl.h",
    "gc/gc_version.h",
    "gc/gc_config_macros.h",
    "gc/gc_pthread_redirects.h",
    "gc/javaxfc.h",
    "gc/leak_detector.h",
];
const CXX_HEADERS: &[&str] = &["gc_cpp.h", "gc/gc_cpp.h", "gc/gc_allocator.h"];
/// Debian's headers with functions, variables and types, in one file.
const ALL: &[&str] = &[
    "gc/gc.h",
    "gc/gc_typed.h",
    "gc/gc_mark.h",
    "gc/gc_inline.h",
    "gc/gc_gcj.h",
    "gc/gc_disclaim.h",
    "gc/gc_backptr.h",
    "gc/javaxfc.h",
];
/// What a program may define before it includes the headers.
const VARIANTS: &[&[&str]] = &[&[], &["-DGC_THREADS"], &["-DGC_DEBUG", "-DGC_THREADS"]];

fn ours() -> PathBuf {
    workspace().join("ffi-c/libgc/include")
}

/// Runs the compiler on `source`; `own` selects this project's headers, else Debian's are found. Returns what it prints.
fn compiler(program: &str, source: &str, own: bool, args: &[&str]) -> String {
    let language = if program == "g++" { "c++" } else { "c" };
    let mut run = Run::new(program).args(args).args(["-x", language]);
    if own {
        run = run.arg("-I").arg(ours());
    }
    run.arg("-").stdin(source).ok().stdout
}

/// Compiles `source` and returns what the program prints.
fn printed(compiler_name: &str, source: &str, own: bool, args: &[&str]) -> String {
    let dir = scratch("headers");
    let program = dir.join("program");
    let output = program.display().to_string();
    compiler(
        compiler_name,
        source,
        own,
        &[&["-o", &output], args].concat(),
    );
    let text = Run::new(&program).ok().stdout;
    let _ = fs::remove_dir_all(dir);
    text
}

fn includes(headers: &[&str]) -> String {
    headers
        .iter()
        .map(|header| format!("#include <{header}>\n"))
        .collect()
}

#[test]
fn each_header_compiles_alone() {
    let strict = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"];
    for variant in VARIANTS {
        for header in C_HEADERS.iter().chain(CXX_HEADERS) {
            assert!(ours().join(header).is_file(), "{header}: no such file");
            let source = format!("#include <{header}>\nint main(void) {{ return 0; }}\n");
            if !CXX_HEADERS.contains(header) {
                let args = [&["-std=c11"], &strict[..], variant].concat();
                compiler("gcc", &source, true, &args);
            }
            for standard in ["-std=c++98", "-std=c++17", "-std=c++20"] {
                let args = [&[standard], &strict[..], variant].concat();
                compiler("g++", &source, true, &args);
            }
        }
    }
}

/// The names that Debian's headers declare, by sort.
#[derive(Default)]
struct Names {
    objects: BTreeSet<String>,
    types: BTreeSet<String>,
    constants: BTreeSet<String>,
    /// Fields of each structure.
    structures: BTreeMap<String, Vec<String>>,
}

/// Identifiers, with the first character that follows each.
fn identifiers(text: &str) -> Vec<(String, char)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let tail = &rest[start..];
        let end = tail
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(tail.len());
        let next = tail[end..].trim_start().chars().next().unwrap_or(' ');
        found.push((tail[..end].to_owned(), next));
        rest = &tail[end..];
    }
    found
}

/// Sorts the declarations of a preprocessed text into `names`.
fn declared(text: &str) -> Names {
    let mut names = Names::default();
    // Statements at the outermost level; bodies of structures and enumerations stay in theirs.
    let mut statement = String::new();
    let mut depth = 0;
    for c in text.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ';' && depth == 0 {
            sort(&statement, &mut names);
            statement.clear();
        } else {
            statement.push(c);
        }
    }
    names
}

fn sort(statement: &str, names: &mut Names) {
    let words = identifiers(statement);
    let own: Vec<&(String, char)> = words.iter().filter(|w| w.0.starts_with("GC_")).collect();
    let Some(last) = own.last() else { return };
    match words[0].0.as_str() {
        "extern" => {
            // A function's name is followed by its parameters; that of a pointer to one by a parenthesis.
            let function = own.iter().find(|word| word.1 == '(');
            let pointer = own.iter().find(|word| word.1 == ')');
            let name = match (
                statement.contains("( *") || statement.contains("(*"),
                function,
            ) {
                (false, Some(name)) => &name.0,
                (true, Some(name)) if words.iter().all(|w| w.0 != name.0 || w.1 == '(') => &name.0,
                _ => pointer.map_or(&last.0, |word| &word.0),
            };
            names.objects.insert(name.clone());
        }
        "typedef" if statement.contains("enum") => {
            let (constants, name) = own.split_at(own.len() - 1);
            names
                .constants
                .extend(constants.iter().map(|w| w.0.clone()));
            names.types.insert(name[0].0.clone());
        }
        "typedef" => {
            let pointer = own.iter().find(|word| word.1 == ')');
            names
                .types
                .insert(pointer.map_or(&last.0, |word| &word.0).clone());
        }
        "struct" if statement.contains('{') => {
            let body = &statement[statement.find('{').unwrap_or(0)..];
            let fields = body
                .split(';')
                .filter_map(|field| Some(identifiers(field).last()?.0.clone()))
                .collect();
            names.structures.insert(own[0].0.clone(), fields);
        }
        _ => {}
    }
}

/// A program that prints what the headers say of each name.
fn report(names: &Names) -> String {
    let mut source = String::from("#include <cstdio>\n#include <cstddef>\n#include <typeinfo>\n");
    source.push_str(&includes(ALL));
    source.push_str("int main() {\n");
    for name in &names.objects {
        source.push_str(&format!(
            "std::printf(\"{name}: %s\\n\", typeid(decltype(&{name})).name());\n"
        ));
    }
    for name in &names.types {
        source.push_str(&format!(
            "std::printf(\"{name}: %s %zu\\n\", typeid({name}).name(), sizeof({name}));\n"
        ));
    }
    for name in &names.constants {
        source.push_str(&format!("std::printf(\"{name}: %d\\n\", (int){name});\n"));
    }
    for (name, fields) in &names.structures {
        source.push_str(&format!(
            "std::printf(\"{name}: %zu\\n\", sizeof(struct {name}));\n"
        ));
        for field in fields {
            source.push_str(&format!(
                "std::printf(\"{name}.{field}: %zu %s\\n\", offsetof(struct {name}, {field}), \
                 typeid((({name} *)nullptr)->{field}).name());\n"
            ));
        }
    }
    source.push_str("}\n");
    source
}

#[test]
fn declarations_have_debians_types() {
    need("/usr/include/gc/gc.h", "libgc-dev");
    for variant in VARIANTS {
        let args = [&["-E", "-P"], *variant].concat();
        let text = compiler("gcc", &includes(ALL), false, &args);
        let names = declared(&text);
        assert!(
            names.objects.len() > 210 && names.types.len() > 20 && names.structures.len() >= 4,
            "{} objects, {} types, {} structures: {:?}",
            names.objects.len(),
            names.types.len(),
            names.structures.len(),
            names.objects
        );
        // The libraries need not have what the headers declare: nothing is called or read.
        let source = report(&names);
        let fixed = [
            "-std=c++17",
            "-w",
            "-O1",
            "-Wl,--unresolved-symbols=ignore-all",
        ];
        let args = [&fixed[..], variant].concat();
        let debian = printed("g++", &source, false, &args);
        let own = printed("g++", &source, true, &args);
        assert!(debian.contains("GC_malloc: PFPvmE\n"), "{debian}");
        for (debian, own) in debian.lines().zip(own.lines()) {
            assert_eq!(debian, own, "{variant:?}");
        }
    }
}

/// The macros that a preprocessor knows after including `header`: name, and parameters as far as there are any.
fn macros(header: &str, own: bool, variant: &[&str]) -> BTreeMap<String, Option<usize>> {
    let args = [&["-E", "-dM"], variant].concat();
    let run = |source: &str| compiler("gcc", source, own, &args);
    let before = run("");
    let before: BTreeSet<&str> = before.lines().collect();
    run(&format!("#include <{header}>\n"))
        .lines()
        .filter(|line| !before.contains(line))
        .filter_map(|line| {
            let rest = line.strip_prefix("#define ")?;
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            let arity = rest[end..].strip_prefix('(').map(|parameters| {
                let list = parameters.split(')').next().unwrap_or_default();
                list.split(',').filter(|p| !p.trim().is_empty()).count()
            });
            Some((rest[..end].to_owned(), arity))
        })
        .collect()
}

#[test]
fn macros_have_debians_names_and_parameters() {
    need("/usr/include/gc/gc.h", "libgc-dev");
    for variant in VARIANTS {
        for header in C_HEADERS {
            let own = macros(header, true, variant);
            for (name, arity) in macros(header, false, variant) {
                if name.starts_with("GC_") || name == "CHECK_LEAKS" {
                    assert_eq!(
                        own.get(&name),
                        Some(&arity),
                        "{header} {variant:?}: {name} and its number of parameters"
                    );
                }
            }
        }
    }
}

/// Constants have Debian's values; those that are no numbers do not compile into the table and are left out in both.
#[test]
fn constants_have_debians_values() {
    need("/usr/include/gc/gc.h", "libgc-dev");
    let mut names: Vec<String> = Vec::new();
    for header in ALL.iter().chain(&["gc/gc_tiny_fl.h"]) {
        let found = macros(header, false, &["-DGC_THREADS"]);
        names.extend(
            found
                .into_iter()
                .filter(|(name, arity)| arity.is_none() && name.starts_with("GC_"))
                .map(|(name, _)| name),
        );
    }
    names.sort();
    names.dedup();
    let values = |own: bool| -> String {
        let mut source = includes(ALL) + "#include <gc/gc_tiny_fl.h>\n";
        for name in &names {
            source.push_str(&format!("\"{name}\" {name}\n"));
        }
        let text = compiler("gcc", &source, own, &["-E", "-P", "-DGC_THREADS"]);
        // Arithmetic on literals only: hand it to the compiler.
        let literal: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix('"')?.split_once("\" "))
            .filter(|(_, value)| {
                value.contains(|c: char| c.is_ascii_digit())
                    && value
                        .chars()
                        .all(|c| c.is_ascii_hexdigit() || "x()<-+* ".contains(c))
            })
            .collect();
        assert!(literal.len() > 25, "{literal:?}");
        let mut program = String::from("#include <stdio.h>\nint main(void) {\n");
        for (name, value) in literal {
            program.push_str(&format!("printf(\"{name} %ld\\n\", (long)({value}));\n"));
        }
        program.push_str("return 0; }\n");
        printed("gcc", &program, own, &[])
    };
    assert_eq!(values(false), values(true));
}

/// Programs that are built with either set of headers do the same with Debian's library: macros, inline functions and classes
/// included. They are also what this project's library is compared with.
#[test]
fn programs_built_with_either_headers_do_the_same() {
    compile_shared("libgc/library", "libgc-library.so", &[]);
    let folder = workspace().join("tests/c/libgc");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("list the programs") {
        let name = entry.expect("list the programs").file_name();
        let name = name.to_string_lossy();
        if name != "library.c" && (name.ends_with(".c") || name.ends_with(".cpp")) {
            oracle(&name).same_headers();
            count += 1;
        }
    }
    assert!(count > 25, "{count} programs");
}
