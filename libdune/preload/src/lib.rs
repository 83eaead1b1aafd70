//! `libdune.so`: preloaded (`dunegc run --engine`), it takes the program into guest mode before `main`.

use libdune::{Choice, Config, Dune};

/// For a collector in the same process, which finds it by name.
#[unsafe(no_mangle)]
pub static dune_interface: &libdune::interface::Interface = &libdune::interface::INTERFACE;

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// Whether `DUNE` is unset, or something else than `off`.
fn wanted() -> bool {
    std::env::var_os("DUNE").is_none_or(|value| value != "off")
}

/// What `DUNE_ENGINE` names; without it, KVM.
fn engine() -> Option<Choice> {
    let Some(name) = std::env::var_os("DUNE_ENGINE") else {
        return Some(Choice::Kvm);
    };
    match name.to_str() {
        Some("kvm") => Some(Choice::Kvm),
        Some("kmod") => Some(Choice::Kmod),
        _ => {
            eprintln!(
                "dune: DUNE_ENGINE={}: neither kvm nor kmod; going on natively",
                name.display()
            );
            None
        }
    }
}

extern "C" fn start() {
    if !wanted() {
        return;
    }
    let Some(engine) = engine() else { return };
    let config = Config {
        whole: true,
        threads: 1024,
        engine,
        full_flush: std::env::var_os("DUNE_FLUSH").is_some_and(|value| value == "full"),
        ..Config::default()
    };
    if let Err(e) = Dune::enter(config) {
        eprintln!("dune: {e}; going on natively");
        return;
    }
    if std::env::var_os("DUNE").is_some_and(|value| value == "stats") {
        // SAFETY: registers a function for the program's end.
        unsafe { atexit(report) };
    }
}

unsafe extern "C" {
    fn atexit(f: extern "C" fn()) -> i32;
}

extern "C" fn report() {
    if let Some(dune) = Dune::get() {
        let place = if Dune::inside() { "inside" } else { "native" };
        eprintln!("dune: {place} at the end, {:?}", dune.stats());
    }
}
