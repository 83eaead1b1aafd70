//! Programs for libgc, run against Debian's libgc1 and against this project's: output and exit status must be the same.

use std::path::{Path, PathBuf};

use crate::compile::compile_including;
use crate::libgc::{libgc_dir, with_libgc};
use crate::library::{target, workspace};
use crate::run::{Outcome, Run};

/// A program of `tests/c/libgc` and what is compared.
pub struct Oracle {
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    filter: fn(&str) -> String,
    stderr: fn(&str) -> String,
    limit: u64,
}

/// The program of `tests/c/libgc/NAME`, a C or C++ source. Standard error is left out of the comparison.
pub fn oracle(name: &str) -> Oracle {
    Oracle {
        name: name.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        filter: str::to_owned,
        stderr: |_| String::new(),
        limit: 120,
    }
}

impl Oracle {
    /// Adds an argument of the program.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets an environment variable for each run.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what of standard output is compared, if not all.
    pub fn filter(mut self, filter: fn(&str) -> String) -> Self {
        self.filter = filter;
        self
    }

    /// Sets what of standard error is compared.
    pub fn stderr(mut self, filter: fn(&str) -> String) -> Self {
        self.stderr = filter;
        self
    }

    /// Compiles the program with Debian's headers and with this project's, runs the first with Debian's library and both with
    /// this project's, and demands the same of all three.
    ///
    /// # Panics
    /// When they differ, or when a library is not the one it should be.
    pub fn same(&self) {
        let debian = self.build("debian", None);
        let ours = libgc_dir();
        let build = target();
        let loads = |run: &Run, dir: &Path| {
            let loaded = run.clone().env("LD_TRACE_LOADED_OBJECTS", "1").output();
            loaded.stdout.contains(&*dir.to_string_lossy())
        };
        let run = self.start(&debian);
        assert!(!loads(&run, &build), "not Debian's library: {run:?}");
        let expected = run.output();
        for program in [debian, self.build_own()] {
            let run = with_libgc(self.start(&program));
            assert!(loads(&run, &ours), "not this project's library: {run:?}");
            self.compare(&expected, &run.output());
        }
    }

    /// Compiles the program with Debian's headers and with this project's, runs both with Debian's library, and demands the same
    /// of both: what the headers say is what Debian's library does.
    ///
    /// # Panics
    /// When they differ.
    pub fn same_headers(&self) {
        let expected = self.start(&self.build("debian", None)).output();
        let got = self.start(&self.build_own()).output();
        self.compare(&expected, &got);
    }

    /// Compiles the program with this project's headers and runs it with this project's library only.
    pub fn own(&self) -> Outcome {
        with_libgc(self.start(&self.build_own())).output()
    }

    fn build_own(&self) -> PathBuf {
        let ours = workspace().join("ffi-c/libgc/include");
        self.build("own", Some(&ours))
    }

    /// Every program is linked with Debian's library: what is loaded is chosen when it runs.
    fn build(&self, variant: &str, include: Option<&Path>) -> PathBuf {
        let mut args: Vec<&str> = vec!["-rdynamic"];
        if self.name.ends_with(".cpp") {
            args.push("-lgccpp");
        }
        args.extend(["-lgc", "-ldl"]);
        let stem = self.name.split('.').next().unwrap_or(&self.name);
        let source = format!("libgc/{}", self.name);
        compile_including(&source, &format!("libgc-{stem}-{variant}"), include, &args)
    }

    fn start(&self, program: &Path) -> Run {
        let mut run = Run::new(program)
            .args(&self.args)
            .dir(workspace().join("tests/c/libgc"))
            .env("LIBGC_TEST_BIN", target().join("dunegc-tests/bin"))
            .limit(self.limit);
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        run
    }

    fn compare(&self, expected: &Outcome, got: &Outcome) {
        let shown = |outcome: &Outcome| {
            format!(
                "exit status {}\n{}{}",
                outcome.code(),
                (self.filter)(&outcome.stdout),
                (self.stderr)(&outcome.stderr)
            )
        };
        let (left, right) = (shown(expected), shown(got));
        let differs = left
            .lines()
            .zip(right.lines())
            .find(|(left, right)| left != right);
        assert!(
            left == right,
            "first difference: {differs:?}\n=== expected\n{expected}\n=== got\n{got}"
        );
    }
}
