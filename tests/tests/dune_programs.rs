//! Larger programs, all of them in guest mode (`dunegc run --engine kvm`): they give what they give natively.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dunegc_tests::{Run, compile_benchmark, engine_kvm, need, redis_session, scratch, workspace};

/// One test at a time: where KVM has no hardware behind it, a thread in guest mode gets little of a processor that another thread wants.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// redis-server, which forks to save, and its clients, one of which has threads.
#[test]
fn redis() {
    let _alone = alone();
    let Some(kvm) = engine_kvm() else { return };
    let (native, _) = redis_session(&|run| run);
    let (guest, errors) = redis_session(&|run| kvm(run).env("DUNE", "stats"));
    assert_eq!(native, guest);
    // The server, and no child of it, which ends without a word.
    assert!(errors.contains("dune: inside at the end"), "{errors}");
}

/// The benchmarks' programs with malloc: all of the result but times is in the checksum. What guest mode adds to the memory of the process is little.
#[test]
fn benchmarks_give_the_same_checksum() {
    let _alone = alone();
    let Some(kvm) = engine_kvm() else { return };
    for (name, args) in [
        ("gcbench", vec![]),
        ("gcbench", vec!["--threads", "2", "--long-lived", "14"]),
        ("list", vec!["--slots", "1000"]),
        ("hashmap", vec!["--live", "100000"]),
        ("xml", vec!["--parses", "6"]),
    ] {
        let run = Run::new(compile_benchmark(name, false)).args(args);
        let native = run.ok();
        let guest = kvm(run).env("DUNE", "stats").ok();
        let checksum = |text: &str| {
            let (_, after) = text.split_once("checksum").expect("a checksum");
            after.split(',').next().map(str::to_owned)
        };
        assert_eq!(checksum(&native.stdout), checksum(&guest.stdout), "{guest}");
        let peak = |text: &str| -> Option<u64> {
            let (_, after) = text.split_once("\"rss_peak_kib\":")?;
            after.split(',').next()?.parse().ok()
        };
        let (without, with) = (peak(&native.stdout), peak(&guest.stdout));
        let (without, with) = (without.expect("a peak"), with.expect("a peak"));
        assert!(with <= without + without / 100 + (32 << 10), "{guest}");
        println!("{name}: {without} KiB without, {with} KiB with guest mode");
        let inside = guest.stderr.contains("dune: inside at the end");
        assert!(inside, "{guest}");
        println!("{name}: native {:?}, inside {:?}", native.took, guest.took);
    }
}

/// Runs a shell's script natively and in guest mode, each in a fresh folder: standard output and status are the same.
fn script(name: &str, script: &str) {
    let _alone = alone();
    let Some(kvm) = engine_kvm() else { return };
    let run = |under: &dyn Fn(Run) -> Run| {
        let dir = scratch(name);
        let run = Run::new("bash").args(["-e", "-c", script]).dir(&dir);
        let run = run.env("SOURCES", workspace()).env("DUNE", "stats");
        let outcome = under(run.limit(300)).output();
        let _ = fs::remove_dir_all(dir);
        outcome
    };
    let native = run(&|run| run);
    let guest = run(&kvm);
    assert!(native.status.success(), "{native}");
    assert!(!native.stdout.is_empty(), "{native}");
    assert_eq!(native.stdout, guest.stdout, "{guest}");
    assert_eq!(native.status, guest.status, "{guest}");
    // Each program of the script reports, by its own copy of the library.
    let reports = guest.stderr.matches("dune: inside at the end").count();
    assert!(reports >= 2, "{guest}");
}

#[test]
fn gcc_compiles_programs() {
    script(
        "dune-gcc",
        "for p in list hashmap gcbench; do
            gcc -O2 -Wall -pthread -c -o $p.o $SOURCES/bench-gcbench/c/$p.c
            md5sum < $p.o
            gcc -O1 -pthread -o $p $SOURCES/bench-gcbench/c/$p.c
         done
         ./list --slots 50 | cut -d, -f1,2",
    );
}

#[test]
fn xz_with_two_threads() {
    script(
        "dune-xz",
        "seq 3000000 > numbers
         xz -T2 --block-size=2MiB -3 -k numbers
         md5sum < numbers.xz
         xz -T2 -dc numbers.xz | cmp - numbers
         xz --list --robot numbers.xz | grep ^file | cut -f2,3",
    );
}

#[test]
fn sqlite_keeps_a_database() {
    need("sqlite3", "sqlite3");
    script(
        "dune-sqlite",
        "sqlite3 d.db 'pragma journal_mode = wal; create table t (a integer primary key, b text, c real);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000)
            insert into t select i, hex(i * 7919), i / 7.0 from n; create index x on t (b);'
         sqlite3 d.db 'begin; delete from t where a % 3 = 0; update t set c = -c where a % 5 = 0; commit;'
         sqlite3 d.db 'select count(*), sum(c), min(b), max(b) from t; pragma integrity_check; vacuum;'
         sqlite3 d.db .dump | md5sum",
    );
}

#[test]
fn perl_and_python() {
    script(
        "dune-scripts",
        r#"perl -e 'my %h; for my $i (1 .. 200000) { $h{$i % 5000} .= chr(65 + $i % 26) }
                    my $n = 0; local $SIG{ALRM} = sub { $n++ }; alarm 1; select(undef, undef, undef, 1.5);
                    print join(",", map { length $h{$_} } (sort keys %h)[0 .. 9]), " $n
"; print `echo child`'
           python3 -c 'import hashlib, subprocess, threading
out = [None] * 4
def work(k):
    d = {i: str(i * k) for i in range(30000)}
    out[k] = hashlib.sha256("".join(d.values()).encode()).hexdigest()
all = [threading.Thread(target=work, args=(k,)) for k in range(4)]
[t.start() for t in all]; [t.join() for t in all]
print(out, subprocess.check_output(["uname"]))
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool: print(sum(pool.map(abs, range(-2000, 0))))'"#,
    );
}
