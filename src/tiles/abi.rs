//! The interface between generated code and a contraction's machine code.
//!
//! This file is compiled twice: into the compiler, which writes a [`Tile`] from generated code by the offsets below, and into the blobs,
//! which read it. So it uses nothing but `core`, and knows neither.

/// What all calls of one contraction have in common. Strides and offsets are in bytes.
///
/// A contraction's code has the signature of [`Contraction`]. It computes, for o < `mo`, i < m and j < n,
/// `C[o, i, j] (+)= Σ_q Σ_p A_q[o, i, p] * B_q[p, j]`, q < `nb`, p < `k`, with
/// - `A_q[o, i, p]` at `a + ao[q] + o * rao + i * ras + p * cas`,
/// - `B_q[p, j]` at `b + bo[q] + p * brs + j * bcs`,
/// - `C[o, i, j]` at `c + o * rco + i * ldc + 4 * j`.
///
/// With [`COPY`] it only copies, `C[p, j] = B[p, j]` for p < `k` and j < n, with `ldc` from p to p, whatever m and the blocks are.
///
/// **Order.** Each entry starts as zero, as its bias or as what C held, and takes one fused multiply-add for each (q, p), q outermost, both
/// ascending; at last [`RELU`] is applied. So its bits depend neither on the tile that holds it, nor on m and n, nor on the vector width; and
/// cutting k into several calls that [`ACCUMULATE`] changes no bits.
///
/// **Bounds.** Exactly the entries named above are read and written. `mo`, `m`, `n`, `nb` or `k` of zero (or less) name none: with `nb` or `k`
/// zero C becomes its start. Pointers need the alignment of f32 only. C must not overlap A, B or the bias.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Number of blocks: the further summed axes, such as a convolution's taps.
    pub nb: i64,
    /// Offset of each block in A; null: all zero.
    pub ao: *const i64,
    /// Offset of each block in B; null: all zero.
    pub bo: *const i64,
    /// Steps in each block.
    pub k: i64,
    /// From row to row of A: 4 reads A transposed.
    pub ras: i64,
    /// From step to step in A.
    pub cas: i64,
    /// From step to step in B.
    pub brs: i64,
    /// From column to column of B: 4, or B is copied piece by piece.
    pub bcs: i64,
    /// From row to row of C.
    pub ldc: i64,
    /// How many groups of m rows there are: the rows of an image, of m places each.
    pub mo: i64,
    /// From group to group in A.
    pub rao: i64,
    /// From group to group in C.
    pub rco: i64,
    /// `n` numbers, the start of each row, unless [`ACCUMULATE`]; null: zero.
    pub bias: *const f32,
    /// A set of [`ACCUMULATE`] and [`RELU`], or [`COPY`].
    pub flags: i64,
    /// [`ROOM`] bytes for copies of parts of the operands, of this thread's own, at a multiple of 64; not read for [`COPY`].
    pub room: *mut u8,
}

/// Bytes of [`Tile::room`].
pub const ROOM: usize = 6 << 16;

/// C's entries start as what C holds; `bias` is not read.
pub const ACCUMULATE: i64 = 1;
/// Negative entries become 0. NaN and -0 stay.
pub const RELU: i64 = 2;
/// B is copied to C.
pub const COPY: i64 = 4;

/// `(tile, a, b, c, m, n)`. The System V convention on every x86-64 system, so that the same bytes serve them all; elsewhere that of C.
#[cfg(target_arch = "x86_64")]
pub type Contraction = unsafe extern "sysv64" fn(*const Tile, *const u8, *const u8, *mut u8, i64, i64);
/// `(tile, a, b, c, m, n)`. The System V convention on every x86-64 system, so that the same bytes serve them all; elsewhere that of C.
#[cfg(not(target_arch = "x86_64"))]
pub type Contraction = unsafe extern "C" fn(*const Tile, *const u8, *const u8, *mut u8, i64, i64);
