//! Configuration space of arbitrary bytes: no panic, no walk without an end, nothing out of bounds.
#![no_main]

#[path = "../../tests/common/random.rs"]
mod random;

libfuzzer_sys::fuzz_target!(|input: &[u8]| random::drive(input));
