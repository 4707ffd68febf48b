//! The primitives of the tensor IR and the scalar functions: one file each.

mod scalar;

pub use scalar::ScalarFn;
