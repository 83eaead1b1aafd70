//! Memory goes back to the system after a spike.

use dunegc_tests::{Mode, Run, compile};

fn falls_back(arguments: &[&str], modes: &[Mode]) {
    for &mode in modes {
        let outcome = Run::new(compile("memory_return"))
            .args(arguments)
            .mode(mode)
            .no_zeal()
            .ok();
        assert!(outcome.stdout.ends_with("ok\n"), "{outcome}");
        println!(
            "{} {arguments:?}: {}",
            mode.name(),
            outcome.stdout.lines().next().unwrap_or("")
        );
    }
}

#[test]
fn after_freeing_small_blocks() {
    falls_back(&["100"], &Mode::ALL);
}

#[test]
fn after_freeing_middle_blocks() {
    falls_back(&["5000"], &Mode::ALL);
}

#[test]
fn after_freeing_large_blocks() {
    falls_back(&["1000000"], &Mode::ALL);
}

#[test]
fn after_reclaiming_leaked_blocks() {
    falls_back(&["100", "leak"], &[Mode::Reclaim]);
    falls_back(&["1000000", "leak"], &[Mode::Reclaim]);
}
