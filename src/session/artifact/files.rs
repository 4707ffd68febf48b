//! A second header beside that of an object file: C code that reads and writes its weights as safetensors files.
//!
//! It is C, not code of the library, since files want the C library, which the library does without.

use std::fmt::Write;

use super::Weight;
use crate::formats::safetensors::dtype_name;

/// The text of `PREFIX_files.h`.
pub fn header(weights: &[Weight], prefix: &str) -> String {
    let rank = weights.iter().map(|weight| weight.shape.len()).max().unwrap_or(0).max(1);
    let mut rows = String::new();
    for Weight { path, dtype, shape, of_optimizer, given } in weights {
        let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
        let sizes = if sizes.is_empty() { "0".to_owned() } else { sizes.join(", ") };
        let _ = writeln!(
            rows,
            "    {{\"{path}\", \"{}\", {}, {given}, {}, {{{sizes}}}}},",
            dtype_name(*dtype),
            i32::from(*of_optimizer),
            shape.len()
        );
    }
    include_str!("files.h")
        .replace("@rank@", &rank.to_string())
        .replace("@rows@", &rows)
        .replace("@p@", prefix)
        .replace("@P@", &prefix.to_uppercase())
}
