//! What the simulator needs of a program, twice: `terminal` lends it files, threads and a terminal
//! for `shoald sim`; `place` runs simulations of callers beside a node that goes on working. Never
//! here: what is simulated.

pub mod place;
pub mod terminal;
