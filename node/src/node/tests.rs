//! Whole nodes in this process.
