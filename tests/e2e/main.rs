//! Whole nodes, over real TCP, disk and gRPC.

#[expect(dead_code, reason = "the tests here use less of it than those of foreign clients")]
mod harness;

mod python;
