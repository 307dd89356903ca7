//! `shoald`: the node.

fn main() {}
