//! Debian's programs that use libgc1: output and exit status are the same with this project's library.

use std::fs;
use std::path::Path;

use dunegc_tests::{Outcome, Run, need, same_program, workspace};

fn nothing(_: &Path, _: &Outcome) -> String {
    String::new()
}

/// A page with a table of `rows` rows, and nested tables.
fn tables(rows: usize) -> String {
    let mut page = String::from("<html><head><title>Tables</title></head><body>");
    page.push_str("<table border=1><caption>Large</caption>");
    for i in 0..rows {
        page.push_str(&format!(
            "<tr><td>{i}<td align=right>{}<td colspan=2>cell &eacute;&#8212;{i} <b>bold</b> <i>text</i>\
             <td><a href=\"page{i}.html\">link {i}</a></tr>\n",
            i * 7919 % 10007
        ));
    }
    page.push_str("</table>");
    for i in 0..rows / 20 {
        page.push_str(&format!(
            "<table border><tr><td>outer {i}<td><table border><tr><th>inner<th>{i}<tr><td rowspan=2>tall<td>b<tr><td>c</table></table>"
        ));
    }
    page.push_str("</body></html>");
    page
}

/// A page of lists, preformatted text, forms and broken markup.
fn lists(items: usize) -> String {
    let mut page = String::from("<html><body><h1>Lists</h1><ul>");
    for i in 0..items {
        page.push_str(&format!(
            "<li>item {i} with some words that must be wrapped at the right margin of the page, &lt;{i}&gt; &amp; more\
             <ol><li>one<li>two <em>em</em></ol>\n"
        ));
        if i % 10 == 0 {
            page.push_str(&format!(
                "<pre>  preformatted\t{i}\n    text</pre><form action=x><input name=a value={i}><select><option>a\
                 <option selected>b{i}</select><textarea rows=2>text {i}</textarea></form><dl><dt>term<dd>definition</dl>\
                 <p>unclosed <b>bold <i>and </b> crossed</i><hr>"
            ));
        }
    }
    page.push_str("</ul>");
    page
}

#[test]
fn w3m() {
    need("w3m", "w3m");
    for (name, page) in [("tables", tables(1500)), ("lists", lists(4000))] {
        for columns in ["80", "200"] {
            same_program(
                "w3m",
                |dir| {
                    let file = dir.join(format!("{name}.html"));
                    fs::write(&file, &page).expect("write the page");
                    Run::new("w3m")
                        .args(["-dump", "-T", "text/html", "-cols", columns])
                        .arg(file)
                        .env("HOME", dir)
                },
                nothing,
            );
        }
    }
}

#[test]
fn mmv() {
    need("mmv", "mmv");
    same_program(
        "mmv",
        |dir| {
            for i in 0..400 {
                fs::write(dir.join(format!("a-{i:03}.text")), i.to_string()).expect("write a file");
            }
            Run::new("mmv")
                .args(["-v", "a-?*.text", "b#2#1.txt"])
                .dir(dir)
        },
        |dir, _| {
            let mut names: Vec<String> = fs::read_dir(dir)
                .expect("list the files")
                .map(|entry| {
                    entry
                        .expect("a file")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            names.sort();
            names.join("\n")
        },
    );
}

#[test]
fn debfoster() {
    need("debfoster", "debfoster");
    for args in [&["-d", "w3m"][..], &["-e", "libgc1"], &["-n", "-q", "-s"]] {
        same_program(
            "debfoster",
            |dir| {
                Run::new("debfoster")
                    .arg("-k")
                    .arg(dir.join("keepers"))
                    .args(args)
            },
            nothing,
        );
    }
}

#[test]
fn fauhdlc() {
    need("fauhdlc", "fauhdlc");
    same_program(
        "fauhdlc",
        |dir| {
            Run::new("fauhdlc")
                .args(["-o", "gates.fauhdl"])
                .arg(workspace().join("tests/programs/libgc/gates.vhdl"))
                .dir(dir)
        },
        |dir, _| {
            // It walks sets of pointers: the order of its declarations, and their numbers, are those of the addresses.
            let text = fs::read_to_string(dir.join("gates.fauhdl")).expect("the translation");
            let text = text.replace(|c: char| c.is_ascii_digit(), "");
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        },
    );
}
