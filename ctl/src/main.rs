//! `shoalctl`: every command of a node from the shell.

fn main() {}
