//! Whole nodes over gRPC.
