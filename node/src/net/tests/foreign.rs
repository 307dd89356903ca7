//! What a scripted peer does to a node.
