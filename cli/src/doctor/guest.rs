//! Guest mode: whether the program could run in it, and what it would cost.

use super::report::Check;
use libdune::Dune;

/// What the engine on /dev/dune or /dev/kvm can do here, by its self-test.
pub fn kvm() -> Check {
    let note = "for programs that use libdune; the collector does not need it";
    match Dune::probe() {
        Ok(caps) => {
            let flush = if caps.software_interrupts {
                "a flush needs no exit"
            } else {
                "a flush is an exit"
            };
            let value = format!(
                "works ({}): code at {} % of the time outside, a system call {} ticks, {flush}",
                caps.engine, caps.speed, caps.system_call
            );
            Check::ok("guest mode", value, note)
        }
        Err(e) => Check::ok("guest mode", format!("refused: {e}"), note),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn guest_mode_comes_to_a_verdict() {
        let value = super::kvm().value;
        let known = ["works (", "refused: "];
        assert!(known.iter().any(|k| value.starts_with(k)), "{value}");
    }
}
