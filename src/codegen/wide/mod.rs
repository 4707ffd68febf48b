//! Lane loops as machine code on vectors of 512 bits: all sixteen lanes are one register.
//!
//! The other code of a kernel is Cranelift's, on 128 bits; it calls a wide loop with a table of what the loop reads: pointers, numbers that
//! are the same in all lanes, and room for accumulators. The code is bytes without relocations, which stand behind those of the kernel.
//!
//! **Invariant:** each lane sees the same instructions with the same roundings as on 128 bits. **Because** then results have the same bits
//! on every machine. What this room does not know (other types, gathers, conditions) it leaves to Cranelift, loop by loop.
//!
//! It knows the kernel IR. It must never know what a graph is, nor a module or the process that the code will run in.

mod encode;
mod emit;
mod instructions;
mod registers;

use crate::kernel::{Address, Arg, Kernel, Loop, Size, Val};

/// What an entry of the table holds, eight bytes each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word<'a> {
    /// Where an address is at the first lane of the loop's first turn, without the inner loops' shares.
    Pointer(Arg, &'a Address),
    /// A number that is the same in all lanes: the bits of an f32 or i32, a truth as 0 or -1.
    Number(Val),
    /// How often an inner loop runs.
    Count(Size),
    /// A stride in elements of so many bytes, in bytes.
    Stride(Size, i64),
}

/// A lane loop's code: `fn(table, count)`, System V, for `count >= 0` turns of one lane each.
pub struct Wide<'a> {
    pub bytes: Vec<u8>,
    pub words: Vec<Word<'a>>,
    /// The accumulators of all lanes stand from this byte of the table on, 64 bytes each: words of 32 bits, truths as 0 or -1.
    pub accumulators: usize,
    /// Bytes of the table.
    pub table: usize,
}

/// Whether this machine runs the code.
pub fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("bmi2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The code of a lane loop; `None` where it has something that this room does not know. `outside` are the values that are known before
/// the loop.
pub fn lane_loop<'a>(
    kernel: &'a Kernel,
    l: &'a Loop,
    outside: &dyn Fn(Val) -> Option<Outside>,
) -> Option<Wide<'a>> {
    emit::lane_loop(kernel, l, outside)
}

/// A value that is known before a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outside {
    Const(crate::kernel::Const),
    Number,
}
