//! Sequences of C calls against a naive model of what must be alive, where, and with what content.
//!
//! The collector may keep an unreachable object as long as it likes, so the model only claims: what it reaches is intact, is
//! found from any byte, overlaps nothing else; what is finalized or loses its links was unreachable; and finalizers come in
//! order. The model itself holds addresses inverted, so that it keeps nothing alive.

mod calls;
mod finalizers;
mod helper;
mod input;
mod links;
mod memory;
mod model;
mod steps;

use input::Input;
use model::Model;

/// Runs one input as a program; panics where the library and the model disagree.
pub fn run(data: &[u8]) {
    memory::set_up();
    let mut model = Model::default();
    let mut input = Input(data);
    while let Some(step) = input.next() {
        steps::step(&mut model, step, &mut input);
    }
    steps::finish(&mut model);
}
