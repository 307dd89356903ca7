//! bitfield
