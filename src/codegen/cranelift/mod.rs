//! Machine code for any processor that Cranelift knows.

pub mod tile;
