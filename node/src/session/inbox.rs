//! What reaches the loop, and the one way to it.
//!
//! Never here: what is done about it.
