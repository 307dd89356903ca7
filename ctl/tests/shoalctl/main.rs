//! `shoalctl` against a node that answers what each test wants.

mod coverage;
