//! A peer that breaks one rule at a time: what it does, and what a whole node must do about it, in
//! two tables. After each row an honest peer is served as ever. Never here: how the peer speaks
//! ([`wire`]), or what takes a timeout to see.

mod downloading;
mod seeding;
mod wire;

use shoal_core::{ids::PieceIndex, wire::BlockRange};

/// Bytes of a block.
const BLOCK: u32 = 16 * 1024;

const fn range(piece: u32, offset: u32, len: u32) -> BlockRange {
    BlockRange { piece: PieceIndex(piece), offset, len }
}
