//! Any bytes as a policy. The corpus runs under `cargo test` too (`tests/policy/fuzzed.rs`).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_policy::fuzzing::policy(data));
