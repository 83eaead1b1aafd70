//! gcc and g++ under the library: the objects they make are the same, and the programs work.

use std::fs;
use std::path::Path;

use dunegc_tests::{Mode, Run, need, scratch, workspace};

/// A large C file: headers, and many generated functions.
fn large_c_file() -> String {
    let mut text = String::new();
    for header in [
        "stdio",
        "stdlib",
        "string",
        "math",
        "pthread",
        "signal",
        "sys/socket",
        "netinet/in",
        "time",
    ] {
        text.push_str(&format!("#include <{header}.h>\n"));
    }
    for i in 0..700 {
        text.push_str(&format!(
            "struct s{i} {{ int a[{n}]; double b; struct s{i} *next; }};\n\
             static long f{i}(struct s{i} *s, long n) {{\n\
             long t = n * {i};\n\
             for (int i = 0; i < {n}; i++) {{ s->a[i] = (int)(t >> (i % 7)); t += s->a[i] ^ n; \
             if (t & 1) t *= 3; else t /= 2; s->b += (double)t / (i + 1); }}\n\
             switch (n % 5) {{ case 0: t ^= 0x55; break; case 1: t += (long)s->b; break; case 2: t -= {i}; break; \
             default: t = t * 31 + strlen(\"function {i}\"); }}\n\
             return t; }}\n",
            n = i % 17 + 3
        ));
    }
    text.push_str("int main(void) { unsigned long t = 1;\n");
    for i in 0..700 {
        text.push_str(&format!("{{ struct s{i} s = {{0}}; t = t * 33 + (unsigned long)f{i}(&s, {i} + (long)(t % 1000)); }}\n"));
    }
    text.push_str("printf(\"%lu\\n\", t); return 0; }\n");
    text
}

/// Compiles in a fresh directory; returns the object's bytes and the program's output.
fn compile(source: &Path, compiler: &str, args: &[&str], mode: Option<Mode>) -> (Vec<u8>, String) {
    let dir = scratch("compile");
    let under = |run: Run| mode.map_or(run.clone(), |mode| run.mode(mode));
    under(
        Run::new(compiler)
            .args(args)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(dir.join("object.o"))
            // Debug information names the working directory.
            .dir(workspace())
            .limit(300),
    )
    .ok();
    under(
        Run::new(compiler)
            .args(["object.o", "-o", "program", "-lm"])
            .dir(&dir),
    )
    .ok();
    let object = fs::read(dir.join("object.o")).expect("the object");
    let output = under(Run::new(dir.join("program"))).ok().stdout;
    let _ = fs::remove_dir_all(dir);
    (object, output)
}

fn same_object(source: &Path, compiler: &str, args: &[&str]) {
    let (object, output) = compile(source, compiler, args, None);
    assert!(!output.is_empty());
    for mode in Mode::ALL {
        let (under, printed) = compile(source, compiler, args, Some(mode));
        assert!(
            object == under,
            "{compiler} in mode {} makes another object",
            mode.name()
        );
        assert_eq!(output, printed);
    }
}

#[test]
fn gcc_compiles_a_large_file() {
    need("gcc", "gcc");
    let source = scratch("source").join("large.c");
    fs::write(&source, large_c_file()).expect("write the source");
    same_object(&source, "gcc", &["-O1", "-g", "-w"]);
}

#[test]
fn gxx_compiles_templates() {
    need("g++", "g++");
    same_object(
        &workspace().join("tests/programs/templates.cpp"),
        "g++",
        &["-std=c++17", "-O2"],
    );
}
