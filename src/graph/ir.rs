//! The data of the tensor IR.
//!
//! A value has a *set* of axes, never an order: transposition, broadcasting and batching are no operators here.
//! All regions of a graph share one arena of nodes and one of axes; a node may use nodes of the regions around it.

use std::hash::{Hash, Hasher};

use cranelift_entity::{PrimaryMap, entity_impl};
use smallvec::SmallVec;

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::ops::ScalarFn;
use crate::tensor::{DType, Sorted};

/// An axis: a range of indices `0..size` with an identity of its own. Two axes of equal size are different axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Axis(u32);
entity_impl!(Axis, "a");

/// A value and the operation that makes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);
entity_impl!(Node, "%");

/// A list of nodes in order of execution: the whole graph, the body of a scan, a fused group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(u32);
entity_impl!(Region, "region");

/// The axes of a value, sorted by id, without repetition.
pub type AxisSet = SmallVec<[Axis; 6]>;

/// What is known of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisData {
    /// For people: the name in the source. It has no meaning.
    pub name: Name,
    /// Number of indices, over the symbolic dims of the program.
    pub size: Dim,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeData {
    pub op: Op,
    pub args: SmallVec<[Node; 3]>,
    pub dtype: DType,
    pub axes: AxisSet,
    /// The expression of the source that it came from.
    pub span: Span,
}

/// A region's nodes and results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionData {
    /// The values that come from outside at each execution: the carries of a scan. Their op is `Op::Carry`.
    pub params: Vec<Node>,
    /// In order of execution: a node stands behind its arguments.
    pub nodes: Vec<Node>,
    pub results: Vec<Node>,
}

/// A program on tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub axes: PrimaryMap<Axis, AxisData>,
    pub nodes: PrimaryMap<Node, NodeData>,
    pub regions: PrimaryMap<Region, RegionData>,
    pub root: Region,
    /// In the order of `Op::Input`.
    pub inputs: Vec<Input>,
    /// The root's results in the same order, with what people know of them.
    pub outputs: Vec<Output>,
}

/// What a graph is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// `x`, `linear_0.w`, `optim.m.linear_0.w`.
    pub name: Name,
    pub role: Role,
    pub dtype: DType,
    /// The axes in the order that people and files see.
    pub order: Vec<Axis>,
    /// An `Idx[N]` input: every entry lies in `0..bound`, checked where data enters.
    pub bound: Option<Dim>,
}

/// Why an input is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Given anew at each call.
    Argument,
    /// Trained.
    Param,
    /// Kept from call to call, written by the program: running statistics, moments of an optimizer.
    State,
    /// Scalar i64: the seed of all random draws.
    Seed,
    /// Scalar i64: the number of the training step, from 0.
    Step,
    /// Scalar i64: the number of steps of the whole training.
    Steps,
}

/// What a graph gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: Name,
    pub order: Vec<Axis>,
    /// The input (by index) that this output replaces: a trained parameter, a state. It may be written in place.
    pub updates: Option<usize>,
}

/// The primitives. Each has its file in `ops`, which holds its law.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The graph's input of this index.
    Input(u32),
    /// The region's parameter of this index.
    Carry(u32),
    /// A scalar.
    Constant(Literal),
    /// The value of a dim, as a number of the node's dtype.
    Size(Dim),
    /// The index along the axis: 0, 1, 2 … An integer.
    Position(Axis),
    /// One scalar function, entry by entry, over the union of the arguments' axes.
    Map(ScalarFn),
    /// Combines all entries along the axes, which must belong to the argument.
    Reduce { op: Reducer, over: AxisSet },
    /// The argument, the same at every index of these axes: for results, carries and gradients that must have them.
    /// Never needed between the arguments of a map.
    Broadcast(AxisSet),
    /// `out[o…] = arg[map(o…)]`; axes of the argument that the map does not name pass through.
    View(IndexMap),
    /// The transpose of the view with this map: `out[map(o…)] += arg[o…]`.
    Fold(IndexMap),
    /// args `x, index`: `x` read along `axis` at the entries of `index`, which are in range. Other axes that both have are shared.
    Gather { axis: Axis },
    /// args `values, index`: `out[…, n] = combine over `over` where index == n`. `into` is the new axis; `over` vanishes.
    /// The entries of `index` are in range.
    Scatter { op: Reducer, into: Axis, over: AxisSet },
    /// The entries along `axis` in order, whose places are the axis `into`. See `ops/sort.rs`.
    Sort { what: Sorted, axis: Axis, into: Axis, descending: bool },
    /// args `seed, step`: an entry depends on seed, site, step and the coordinates along `order` only.
    Random { draw: Draw, site: u64, order: Vec<Axis> },
    /// A loop along an axis with carried values; args are the carries' first values. Its value is a tuple, read by `Project`:
    /// the final carries, then the yields, which have `axis`. See `ops/scan.rs`.
    Scan(Scan),
    /// A group of nodes that becomes one kernel; its value is a tuple, read by `Project`: the region's results.
    Fused(Region),
    /// One component of a tuple.
    Project(u32),
    /// The argument; derivatives stop here. `simplify` removes it.
    StopGradient,
    /// args `y, g, x…, p…`: `y`, with a derivative that the program says. See `ops/custom.rs`. `simplify` removes it.
    Custom,
    /// The argument, as a new value: what `grad` differentiates by. `simplify` removes it.
    Alias,
}

/// `sum`, `max` …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reducer {
    Sum,
    Prod,
    Max,
    Min,
    Any,
    All,
    /// The first index of the largest entry, along one axis: an i32.
    ArgMax,
    /// The first index of the smallest entry, along one axis: an i32.
    ArgMin,
}

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Draw {
    /// In [0, 1).
    Uniform,
    /// Mean 0, variance 1.
    Normal,
}

/// A scalar. Floats are equal when their bits are: the IR tells -0 from 0, and a NaN equals itself.
#[derive(Clone, Copy, Debug)]
pub enum Literal {
    Float(f64),
    Int(i64),
    Bool(bool),
}

impl Literal {
    fn key(self) -> (u8, u64) {
        match self {
            Literal::Float(x) => (0, x.to_bits()),
            Literal::Int(x) => (1, x as u64),
            Literal::Bool(x) => (2, u64::from(x)),
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The loop of `Op::Scan`.
///
/// Inside `body`, `axis` is bound to the current step: a value (also one from outside) that has `axis` stands for its entry at this step.
/// So a carry never has `axis`, and nothing inside may consume it (reduce over it, name it in a view or a gather); a view's
/// index may mention it. Whether a value inside has a bound axis in its set is of no account where sets are compared.
/// `body.params` are the carries; `body.results` the next carries, then the yields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    pub axis: Axis,
    /// From the last index to the first.
    pub reverse: bool,
    /// A derivative computes again what it needs of the body, from the carries and what comes from outside, instead of storing it.
    /// So the body holds all that was computed in it, also what does not change from step to step.
    pub recompute: bool,
    pub body: Region,
    pub carries: usize,
}

/// How a view finds its argument's entry: for each axis of the argument that it names, an index over the view's axes.
///
/// The view's axes are the argument's axes that the map does not name, and those that its indices mention. These two sets
/// have nothing in common: a map that mentions an axis which the argument keeps names it too (the diagonal of `x[i, j]` is
/// `i := i, j := i`). So the fold's axes are known from the map: its argument's less the mentioned ones, and the named ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct IndexMap {
    /// Argument's axis -> index expression, sorted by axis. Axes of the argument that do not stand here pass through unchanged.
    pub at: SmallVec<[(Axis, Index); 2]>,
    /// What is read outside of the argument's range.
    pub outside: Outside,
}

/// Reads outside of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Outside {
    /// Proved not to happen.
    #[default]
    Never,
    /// Zero (false for bool).
    Zero,
}

/// An integer expression over axes: affine, with floor division and remainder by dims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// `constant + Σ coefficient * axis`. Axes sorted, no repetition, no zero coefficient that is known to be one.
    Affine(Affine),
    /// Floor division by a positive dim.
    Div(Box<Index>, Dim),
    /// Remainder by a positive dim, in `0..dim`.
    Rem(Box<Index>, Dim),
    /// A sum that contains divisions or remainders: the parts with their factors.
    Sum(Vec<(Dim, Index)>),
}

/// `constant + Σ coefficient * axis`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    pub constant: Dim,
    pub terms: SmallVec<[(Axis, Dim); 3]>,
}
