//! The C headers: every declared function exists with the library, layouts agree, both headers compile as C and C++.
mod common;
use common::*;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

/// Names of the functions that a header declares.
fn functions(header: &str) -> Vec<String> {
    let text = std::fs::read_to_string(crate_dir().join("include").join(header)).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.contains("typedef") && l.contains('('))
        .flat_map(|l| {
            l.match_indices('(').filter_map(|(at, _)| {
                let name = l[..at]
                    .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()?;
                (name.starts_with("GC_") || name.starts_with("dunegc_")).then(|| name.to_string())
            })
        })
        .filter(|n| !n.ends_with("_proc") && !n.ends_with("_func"))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn link_all(header: &str, minimum: usize) {
    let names = functions(header);
    assert!(
        names.len() >= minimum,
        "only {} functions found in {header}: {names:?}",
        names.len()
    );
    let mut source =
        format!("#include <stdio.h>\n#include <{header}>\nvoid *volatile all[] = {{\n");
    for n in &names {
        writeln!(source, "(void *)&{n},").unwrap();
    }
    source.push_str("};\nint main(void) { for (unsigned i = 0; i < sizeof all / sizeof *all; i++) if (!all[i]) return 1; puts(\"ok\"); return 0; }\n");
    for extension in ["c", "cc"] {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "all_{}_{}.{extension}",
            header.replace(['/', '.'], "_"),
            std::process::id()
        ));
        std::fs::write(&file, &source).unwrap();
        let dir = library().parent().unwrap().to_path_buf();
        let search = format!("-L{}", dir.display());
        let rpath = format!("-Wl,-rpath,{}", dir.display());
        let program = build_file(&file, &[&search, "-ldunegc", &rpath]);
        assert_ok(&Command::new(program).output().unwrap());
    }
}

#[test]
fn every_function_of_dunegc_h_links() {
    link_all("dunegc.h", 15);
}

#[test]
fn every_function_of_gc_h_links() {
    link_all("gc/gc.h", 90);
}

#[test]
fn layouts() {
    let file =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("layout_{}.c", std::process::id()));
    let fields = "size collections allocated_bytes live_bytes heap_bytes pause_max_ns pause_p99_ns pause_p50_ns pause_total_ns mark_ns sweep_ns";
    let mut source = String::from(
        "#include <dunegc.h>\n#include <gc.h>\n_Static_assert(sizeof(struct dunegc_stats) == 88, \"\");\n_Static_assert(sizeof(struct GC_stack_base) == 8, \"\");\n",
    );
    for (i, f) in fields.split(' ').enumerate() {
        writeln!(
            source,
            "_Static_assert(offsetof(struct dunegc_stats, {f}) == {}, \"{f}\");",
            i * 8
        )
        .unwrap();
    }
    source.push_str("int main(void) { return 0; }\n");
    std::fs::write(&file, source).unwrap();
    build_file(&file, &[]);
}
