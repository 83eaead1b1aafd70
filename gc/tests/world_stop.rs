//! Stopping threads of every sort, and letting them run on.
mod support;
use dunegc::world;
use std::collections::BTreeSet;
use std::time::Duration;
use support::*;

#[test]
fn every_thread_is_listed_and_stands_still() {
    let _one = alone();
    let r = Runners::start(8, None);
    r.assert_stands_still_then_moves();
    // A thread of the harness that just ended a test is listed for a moment.
    std::thread::sleep(Duration::from_millis(20));
    let w = world::stop().unwrap();
    let tids: Vec<i32> = w.threads().iter().map(|t| t.tid).collect();
    let all_have_sp = w
        .threads()
        .iter()
        .all(|t| t.sp != 0 && t.fs_base != 0 && t.registers.0 < t.registers.1);
    let (first_is_caller, own) = (w.threads()[0].is_caller, w.threads()[0].tid);
    w.resume();
    // Both lists are of this moment: the harness' main thread and test thread sleep, the runners live.
    let kernel: BTreeSet<i32> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(tids.len(), kernel.len());
    assert_eq!(tids.into_iter().collect::<BTreeSet<_>>(), kernel);
    assert!(all_have_sp && first_is_caller);
    assert_eq!(own, gettid());
}

#[test]
fn sixty_four_threads_two_thousand_times() {
    let _one = alone();
    let r = Runners::start(64, Some(Duration::from_micros(50)));
    let (mut before, mut after, mut times) = (vec![0; 64], vec![0; 64], vec![0; 2000]);
    for (i, t) in times.iter_mut().enumerate() {
        let w = world::stop().unwrap();
        *t = w.stop_ns();
        if i % 20 == 0 {
            r.fill(&mut before);
            spin(Duration::from_micros(200));
            r.fill(&mut after);
            w.resume();
            assert_eq!(before, after);
        }
    }
    times.sort_unstable();
    eprintln!(
        "64 busy threads: median {} ns, p99 {} ns",
        times[1000], times[1980]
    );
    r.assert_moves();
}

#[test]
fn eight_threads_stop_in_less_than_a_millisecond() {
    let _one = alone();
    for (what, pause) in [("busy", None), ("sleeping", Some(Duration::from_secs(1)))] {
        let r = Runners::start(8, pause);
        let mut times: Vec<u64> = (0..500).map(|_| world::stop().unwrap().stop_ns()).collect();
        times.sort_unstable();
        eprintln!(
            "8 {what} threads: fastest {} ns, median {} ns, p99 {} ns",
            times[0], times[250], times[495]
        );
        // A loaded machine delays most of them, not all.
        assert!(times[0] < 1_000_000);
        drop(r);
    }
}
