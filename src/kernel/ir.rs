//! The data of the kernel IR: loops over buffers, in SSA form.
//!
//! A kernel knows buffers, strides and scalar instructions. It never knows what an operator, an axis or a layer is.

use cranelift_entity::{PrimaryMap, entity_impl};

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::tensor::{DType, Sorted};

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(u32);
entity_impl!(Buffer, "buf");
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(u32);
entity_impl!(KernelId, "kernel");
/// A loop variable, an i64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(u32);
entity_impl!(Var, "i");
/// A scalar value inside a kernel: 16 lanes of it inside a lane loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(u32);
entity_impl!(Val, "v");
/// A pointer argument or scratch array of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arg(u32);
entity_impl!(Arg, "arg");
/// A row of the kernel's table of sizes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeId(u32);
entity_impl!(SizeId, "n");

/// Number of lanes of a lane loop, on every machine: results do not depend on the width of its vectors.
pub const LANES: i64 = 16;

/// A compiled unit: what runs in which order on which buffers.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub buffers: PrimaryMap<Buffer, BufferDecl>,
    pub kernels: PrimaryMap<KernelId, Kernel>,
    /// What is run before the steps, once for as long as the inputs that it reads stay as they are.
    pub prepared: Vec<Step>,
    pub steps: Vec<Step>,
    /// In the order of the graph's inputs and outputs.
    pub inputs: Vec<Buffer>,
    pub outputs: Vec<Buffer>,
}

/// A dense array in row-major order of its layout.
#[derive(Clone, Debug)]
pub struct BufferDecl {
    pub name: Name,
    pub dtype: DType,
    /// Number of elements.
    pub len: Dim,
    pub kind: BufferKind,
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// The caller's, read only.
    Input(u32),
    /// The caller's, written.
    Output(u32),
    /// The caller's: output `1` is written over input `0` (a parameter that is updated in place).
    InOut(u32, u32),
    /// The arena's; the memory plan places it by its first and last use.
    Temp,
    /// Written by `prepared`, read by `steps`, and kept from run to run. Its length is a constant.
    Kept,
}

/// One step of the schedule.
#[derive(Clone, Debug)]
pub enum Step {
    Run {
        kernel: KernelId,
        args: Vec<BufferRef>,
    },
    /// Runs `body` `count` times. `var` numbers the turns, upwards or downwards.
    Loop {
        var: StepVar,
        count: Dim,
        reverse: bool,
        body: Vec<Step>,
    },
    /// Sorts `rows` rows of `len` elements that follow each other.
    Sort {
        what: Sorted,
        descending: bool,
        from: BufferRef,
        to: BufferRef,
        rows: Dim,
        len: Dim,
    },
    /// Copies all of `from` to `to`: a carry's first value, the next carry.
    Copy {
        from: BufferRef,
        to: BufferRef,
        dtype: DType,
        len: Dim,
    },
}

/// The number of a turn of a `Step::Loop`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepVar(u32);
entity_impl!(StepVar, "turn");

/// A buffer from some element on: `offset + Σ stride * turn`.
#[derive(Clone, Debug)]
pub struct BufferRef {
    pub buffer: Buffer,
    pub offset: Dim,
    pub turns: Vec<(StepVar, Dim)>,
}

/// A function on buffers. Its machine code has the signature
/// `fn(args: *const *mut u8, sizes: *const i64, begin: i64, end: i64, scratch: *mut u8)`
/// and executes the points `begin..end` of the flattened grid, in order.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub name: Name,
    /// The expression of the source that costs this kernel.
    pub span: Span,
    pub args: PrimaryMap<Arg, ArgDecl>,
    /// Every symbolic extent and stride, evaluated when sizes are bound.
    pub sizes: PrimaryMap<SizeId, Dim>,
    /// The parallel iteration space, row-major: the points are independent, in any order, on any thread.
    pub grid: Vec<(Var, Size)>,
    pub vars: PrimaryMap<Var, ()>,
    pub vals: PrimaryMap<Val, DType>,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArgDecl {
    pub dtype: DType,
    pub kind: ArgKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// A buffer that is only read.
    Read,
    /// A buffer that is written (and may be read).
    Write,
    /// An array of `len` elements of this thread's own, 64-byte aligned, undefined at the start of a grid point.
    Scratch { len: Size },
}

/// A number that is known when sizes are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    Const(i64),
    Sym(SizeId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    Let(Val, Inst),
    /// To an argument of 16-bit floats the low half of an i32, as `Inst::Load` gives it.
    Store {
        arg: Arg,
        at: Address,
        value: Val,
    },
    Loop(Loop),
    /// Only where the condition is uniform over the lanes, or outside of lane loops.
    If {
        cond: Val,
        then: Vec<Stmt>,
    },
    Contract(Box<Contract>),
    Transpose(Box<Transpose>),
}

/// A sequential loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    pub var: Var,
    pub range: Range,
    /// The loop handles `LANES` consecutive values of `var` at a time (the last chunk fewer); its body then computes lanes.
    /// Lane loops do not nest; a plain loop may stand inside a lane loop and around one.
    pub lanes: bool,
    pub accs: Vec<Acc>,
    pub body: Vec<Stmt>,
}

/// The values of a loop's variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// `0..n`
    Full(Size),
    /// `index * by .. min(of, (index + 1) * by)`: a chunk, for grids over long axes.
    Chunk { of: Size, by: i64, index: Var },
}

/// A value that a loop carries: starts as `init`, is `next` after each turn, and is `result` behind the loop.
/// In the loop's own lane loop there are `LANES` partial values that start at `op`'s neutral element, entry `i` going to lane `i % LANES`;
/// they are combined by the fixed tree (lane l with lane l + 8, then + 4, + 2, + 1), at last with `init`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acc {
    pub result: Val,
    pub init: Val,
    pub op: AccOp,
    /// The body's value that is combined with the accumulator in each turn.
    pub term: Val,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccOp {
    Sum,
    Prod,
    /// NaN if any is NaN.
    Max,
    Min,
    Any,
    All,
    /// The first index of the largest: the accumulator pairs with the `Max` accumulator that stands right before it.
    /// `term` is the index (i32).
    ArgMax,
    ArgMin,
}

/// An element: `base + Σ factor * index`, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Address {
    pub base: Option<Size>,
    pub terms: Vec<(Coord, Size)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coord {
    Var(Var),
    /// An integer value (i32 or i64): gathers, divisions. Must be in range.
    Val(Val),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    Const(crate::kernel::Const),
    Size(Size),
    /// The loop variable as i64 (lane by lane inside its lane loop).
    Index(Var),
    /// Of an argument of 16-bit floats the bits, as an i32.
    Load {
        arg: Arg,
        at: Address,
    },
    /// Loads only where the mask is true, else zero; the address may be wild there.
    LoadIf {
        arg: Arg,
        at: Address,
        mask: Val,
    },
    Op(KOp, Vec<Val>),
}

/// Equal where dtype and bits are: a NaN equals itself, zeros of two signs differ.
#[derive(Clone, Copy, Debug)]
pub enum Const {
    F32(f32),
    F64(f64),
    I32(i32),
    I64(i64),
    U8(u8),
    Bool(bool),
}

/// Machine-level scalar instructions; the dtype is that of the operands. Everything else is expanded into these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KOp {
    Add,
    Sub,
    Mul,
    /// Floats: IEEE. Integers: floor division, i / 0 = 0.
    Div,
    /// Integers: the remainder of floor division; by zero 0.
    Rem,
    Neg,
    Abs,
    /// `a * b + c`, rounded once where the machine has it (else twice).
    Fma,
    Sqrt,
    Floor,
    Ceil,
    Trunc,
    /// Half to even.
    Nearest,
    /// NaN if either is NaN; of equal ones (zeros of two signs) the first.
    Max,
    Min,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Or,
    Not,
    Xor,
    Shl,
    /// Logical.
    ShrU,
    /// Arithmetic.
    ShrS,
    /// High 32 bits of the unsigned 32x32 product (i32 operands).
    MulHiU,
    /// `cond ? a : b`
    Select,
    /// Saturating, to this dtype.
    Cast(DType),
    /// The low 32 bits of an i64, as an i32.
    Low,
    /// Same width.
    Bitcast(DType),
}

/// `C[g, m, n] (+)= Σ_blocks Σ_k A[g, m, k] * B[k, n] (+ bias[n])`, f32, by tiles. Strides in elements; `n` is contiguous in C and bias.
/// Each entry is accumulated in order of (block, k) by one fused multiply-add a step, whatever the tile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contract {
    pub m: Range,
    pub n: Range,
    /// The variables of `m`, `n` and `k`: not in scope anywhere, they only name the strides below.
    pub k: Range,
    pub a: Address,
    pub a_arg: Arg,
    pub a_m: Size,
    pub a_k: Size,
    pub b: Address,
    pub b_arg: Arg,
    pub b_k: Size,
    pub b_n: Size,
    pub c: Address,
    pub c_arg: Arg,
    pub c_m: Size,
    /// Groups of rows, such as the rows of an image: range, stride in A, stride in C.
    pub groups: Option<(Range, Size, Size)>,
    /// Further summed axes (the taps of a convolution), outermost first: range, stride in A, stride in B. Only the first may be a chunk.
    pub blocks: Vec<(Range, Size, Size)>,
    /// Adds to what C holds.
    pub accumulate: bool,
    pub bias: Option<(Arg, Address)>,
    pub relu: bool,
}

/// `to[i, j] = from[i, j]` for i in `m` and j in `n`, f32, where `j` is contiguous in `to` only. Strides in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transpose {
    pub m: Range,
    pub n: Range,
    pub from: Address,
    pub from_arg: Arg,
    pub from_m: Size,
    pub from_n: Size,
    pub to: Address,
    pub to_arg: Arg,
    pub to_m: Size,
}
