//! Benchmarks against the floor of the machine.

fn main() {}
