//! The input is a program: each step calls the C interface and the model, and compares.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| dunegc_fuzz::run(data));
