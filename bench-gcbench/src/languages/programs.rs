//! The programs: from `tests/programs/libgc`, and w3m with a page that is made here.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A program. All is run in one directory of its own.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What must be found on the path, and the Debian package that has it.
    pub needs: (&'static str, &'static str),
    /// Command lines to be run before, with Debian's library.
    pub prepare: Vec<Vec<String>>,
    /// The command line that is measured.
    pub line: Vec<String>,
    /// Its exit status.
    pub code: i32,
}

impl Program {
    /// The names of all.
    pub const NAMES: [&str; 5] = ["guile", "ecl", "nim", "objc", "w3m"];

    /// Whether it can be run here.
    pub fn is_installed(&self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.needs.0).exists())
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// All of them, with `scale` times some 0.1 s of work.
pub fn all(sources: &Path, scale: u32) -> Vec<Program> {
    let source = |name: &str| sources.join(name).display().to_string();
    let times = scale.to_string();
    let compile = format!(
        "(progn (compile-file {:?} :output-file \"work.fas\") (ext:quit 0))",
        source("work.lisp")
    );
    let run = format!("(progn (load \"work.fas\") (setf *scale* {scale}) (run) (ext:quit 4))");
    let nim = words([
        "nim",
        "c",
        "--gc:boehm",
        "--hints:off",
        "-d:release",
        "--threads:on",
        "--nimcache:nim-cache",
        "-o:work-nim",
        &source("work.nim"),
    ]);
    let objc = words([
        "gcc",
        "-std=gnu11",
        "-O1",
        "-x",
        "objective-c",
        &source("work.m"),
        "-x",
        "none",
        "-lobjc_gc",
        "-o",
        "work-objc",
    ]);
    vec![
        Program {
            name: "guile",
            needs: ("guile-3.0", "guile-3.0"),
            prepare: vec![],
            line: words([
                "guile-3.0",
                "--no-auto-compile",
                &source("work.scm"),
                &times,
            ]),
            code: 7,
        },
        Program {
            name: "ecl",
            needs: ("ecl", "ecl"),
            prepare: vec![words(["ecl", "--norc", "--eval", &compile])],
            line: words(["ecl", "--norc", "--eval", &run]),
            code: 4,
        },
        Program {
            name: "nim",
            needs: ("nim", "nim"),
            prepare: vec![nim],
            line: words(["./work-nim", &times]),
            code: 5,
        },
        Program {
            name: "objc",
            needs: ("gcc", "gobjc"),
            prepare: vec![objc],
            line: words(["./work-objc", &times]),
            code: 3,
        },
        Program {
            name: "w3m",
            needs: ("w3m", "w3m"),
            prepare: vec![],
            line: words([
                "w3m",
                "-dump",
                "-T",
                "text/html",
                "-cols",
                "120",
                "page.html",
            ]),
            code: 0,
        },
    ]
}

/// Writes the page for w3m: tables inside of tables, and lists.
pub fn write_page(dir: &Path, scale: u32) -> Result<()> {
    let mut page = String::from("<html><head><title>Page</title></head><body>");
    for i in 0..scale * 60 {
        page.push_str("<table border=1>");
        for j in 0..20 {
            // Writing into a String does not fail.
            let _ = writeln!(
                page,
                "<tr><td>{i}<td align=right>{}<td>cell &eacute;&#8212;{j} <b>bold</b> <i>text</i>\
                 <td><a href=\"page{j}.html\">link {j}</a></tr>",
                (i * 20 + j) * 7919 % 10007
            );
        }
        let _ = writeln!(
            page,
            "<tr><td><table border><tr><th>inner<th>{i}<tr><td rowspan=2>tall<td>b<tr><td>c</table></table>\
             <ul><li>item {i} with words that are wrapped at the right margin of the page, &lt;{i}&gt; &amp; more of them\
             <ol><li>one<li>two <em>em</em></ol></ul><pre>  preformatted\t{i}\n    text</pre>"
        );
    }
    page.push_str("</body></html>");
    let file = dir.join("page.html");
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))
}
