//! Programs that know nothing of guest mode: the same output under `libdune.so` as without it.

use dunegc_tests::{Run, build_command, compile_with, preload_dune, scratch, workspace};

/// Runs a command outside and inside. Output and status are the same; `inside`: no thread left guest mode.
fn same(library: &std::path::Path, run: &Run, inside: bool) {
    let outside = run.clone().output();
    let guest = run
        .clone()
        .env("LD_PRELOAD", library)
        .env("DUNE", "stats")
        .output();
    assert_eq!(
        guest.stdout, outside.stdout,
        "{}: {}",
        guest.shown, guest.stderr
    );
    assert_eq!(
        guest.status, outside.status,
        "{}: {}",
        guest.shown, guest.stderr
    );
    if inside {
        assert!(
            guest.stderr.contains("dune: inside at the end"),
            "{}: {}",
            guest.shown,
            guest.stderr
        );
    }
}

#[test]
fn a_program_sees_no_difference() {
    let Some(library) = preload_dune() else {
        return;
    };
    let program = compile_with("guest", "math", &["-lm"]);
    same(&library, &Run::new(&program), true);
    same(&library, &Run::new(&program).arg("faults"), false);
}

#[test]
fn handlers_see_the_program_and_not_the_run_loop() {
    let Some(library) = preload_dune() else {
        return;
    };
    let program = compile_with("guest_signals", "guest", &[]);
    for _ in 0..5 {
        same(&library, &Run::new(&program), true);
    }
    // It ends by a signal, so it says nothing at its end.
    let program = compile_with("guest_handlers", "handlers", &["-lm"]);
    for _ in 0..3 {
        same(&library, &Run::new(&program), false);
    }
}

#[test]
fn edges_look_as_they_do_natively() {
    let Some(library) = preload_dune() else {
        return;
    };
    let program = compile_with("guest_edges", "edges", &["-pthread"]);
    // The end of the stack, which the program handles; a child that shares descriptors.
    same(&library, &Run::new(&program).arg("stack"), false);
    same(&library, &Run::new(&program).arg("files"), true);
    same(&library, &Run::new(&program).arg("cancel"), true);
    // Bases that the kernel did not set.
    same(&library, &Run::new(&program).arg("bases"), false);
    // What a program that is executed inherits.
    same(&library, &Run::new(&program), false);
    // More threads than guest mode has room for: the program has them natively.
    same(&library, &Run::new(&program).arg("threads"), false);
}

#[test]
fn the_command_runs_programs_in_guest_mode() {
    let Some(library) = preload_dune() else {
        return;
    };
    let program = build_command();
    // The collector's library is found as without guest mode.
    let collector = dunegc_tests::library();
    let command = |args: &[&str]| {
        let own = ["run", "--engine", "kvm", "--lib"];
        let run = Run::new(&program).args(own).arg(&library);
        run.env("DUNEGC_LIB", &collector)
            .args(args)
            .dir(workspace())
            .output()
    };
    let outcome = command(&[
        "--env",
        "DUNE=stats",
        "--",
        "perl",
        "-e",
        "print 6 * 7; exit 3",
    ]);
    assert_eq!(outcome.stdout, "42", "{outcome}");
    assert_eq!(outcome.status.code(), Some(3), "{outcome}");
    assert!(
        outcome.stderr.contains("dune: inside at the end"),
        "{outcome}"
    );
    let outcome = command(&["--env", "DUNE=off", "--", "echo", "native"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("native\n", ""),
        "{outcome}"
    );
    let print = ["--", "perl", "-e", "print 6 * 7"];
    let outcome = command(&[&["--env", "DUNE=stats", "--stats"], &print[..]].concat());
    assert_eq!(outcome.stdout, "42", "{outcome}");
    assert!(
        outcome.stderr.contains("dune: inside at the end")
            && outcome.stderr.contains("statistics, mode malloc"),
        "{outcome}"
    );
}

#[test]
fn real_programs_print_the_same() {
    let Some(library) = preload_dune() else {
        return;
    };
    let dir = scratch("dune-run");
    let shell = |script: &str| Run::new("bash").args(["-c", script]).dir(&dir);
    for script in [
        "seq 20000 | sort -R --random-source=/dev/zero | sort -n | md5sum",
        "seq 200000 > numbers; xz -T2 -k -f numbers; xz -dc numbers.xz | md5sum; ls",
        "awk 'BEGIN { for (i = 0; i < 50000; i++) s += i * i; print s }'",
        "find /usr/include -name '*.h' | sort | head -100 | xargs cat | gzip -9 | gzip -dc | sha256sum",
        "printf 'int main(void) { return 42; }' > a.c; gcc -O2 a.c -o a; ./a; echo $?",
        "perl -e 'my %h; $h{$_ % 1000} += $_ for 1..50000; print join(\",\", map { $h{$_} } sort keys %h), \"\\n\"'",
        "python3 -c 'import json; print(len(json.dumps({str(i): i * i for i in range(20000)})))'",
        "sqlite3 :memory: 'with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) select sum(i) from n'",
        "tar cf - -C /usr/include linux | tar tf - | wc -l",
        "(exit 3); echo $?; sh -c 'kill -9 $$'; echo $?",
    ] {
        same(&library, &shell(script), false);
    }
    for command in [
        &["perl", "-e", "print 6 * 7"][..],
        &["python3", "-c", "print(sum(i * i for i in range(10000)))"],
        &["sqlite3", ":memory:", "select 6 * 7"],
        &[
            "bash",
            "-c",
            "trap 'echo trapped' USR1; kill -USR1 $$; (exit 3); echo $?",
        ],
    ] {
        let run = Run::new(command[0]).args(&command[1..]).dir(&dir);
        same(&library, &run, true);
    }
}
