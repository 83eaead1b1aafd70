//! `dune-engine NAME`: the engine that is chosen here has this name, and passes its self-test.

use libdune::Dune;

fn main() {
    let wanted = std::env::args().nth(1).expect("a name");
    match Dune::probe() {
        Ok(caps) => {
            assert_eq!(caps.engine, wanted);
            println!(
                "{}: {} address bits, {} chunks, INT reaches gates: {}",
                caps.engine, caps.limits.address_bits, caps.limits.slots, caps.software_interrupts
            );
        }
        Err(e) => panic!("{e}"),
    }
}
