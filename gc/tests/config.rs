//! The one configuration of a process: installed, sealed, and refused. One test function: the state is the process's.

use dunegc::config::{self, Config, Mode};

#[test]
fn install_and_seal() {
    config::init_from_env();
    let first = config::get();
    config::init_from_env();
    assert!(std::ptr::eq(first, config::get()), "idempotent");

    Config::builder()
        .mode(Mode::Reclaim)
        .log(1)
        .build()
        .unwrap()
        .install()
        .unwrap();
    assert_eq!(config::get().mode, Mode::Reclaim);
    assert_eq!(config::get().log, 1);
    assert_eq!(*first, { *first }, "the first reference still reads");

    let mut bad = *config::get();
    bad.markers = Some(0);
    assert_eq!(
        bad.install().unwrap_err().to_string(),
        "DUNEGC_MARKERS=0: expected auto or a number from 1 to 64"
    );

    config::seal();
    let error = Config::builder()
        .mode(Mode::Malloc)
        .build()
        .unwrap()
        .install()
        .unwrap_err();
    assert_eq!(error.option(), "DUNEGC_MODE");
    assert_eq!(
        error.to_string(),
        "DUNEGC_MODE=malloc: expected the value it has: a collection has taken place"
    );
    assert_eq!(config::get().mode, Mode::Reclaim);
    Config::builder()
        .max_heap(Some(1 << 30))
        .build()
        .unwrap()
        .install()
        .unwrap();
    assert_eq!(config::get().max_heap, Some(1 << 30));

    let full = (0..16)
        .find_map(|_| config::get().install().err())
        .expect("places run out");
    assert_eq!(
        full.to_string(),
        "Config::install: expected at most 8 configurations in one process"
    );
}
