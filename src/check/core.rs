//! The typed core: what a definition means, after names, static arguments, static loops and calls are resolved.
//!
//! A value has *visible* axes, in the order of its type, and depends on *hidden* ones: the binders and mapped axes in whose
//! scope it was made. `Tabulate` makes a hidden axis visible, `Read` at a point hides one. Axis ids are fresh for every
//! binder and every mapping, so an id is never hidden and visible in one scope.
//! Every rule about symmetry and flow is a rule over these forms, in `rules.rs`, and nowhere else.

use std::sync::Arc;

use cranelift_entity::{PrimaryMap, entity_impl};

use crate::axes::{Dim, DimVar};
use crate::base::{Name, Span};
use crate::graph::{Draw, Literal};
use crate::ops::ScalarFn;
use crate::tensor::{DType, Sorted};

use super::kind::Kind;
use super::origin::Origin;

/// An axis that the certificate speaks of: a name in the signature of the definition that is checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Root(u32);
entity_impl!(Root, "root");

/// One range of indices: a visible axis of values, a binder, a mapped axis.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisVar(u32);
entity_impl!(AxisVar, "axis");

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(u32);
entity_impl!(Val, "v");

/// Values in order of evaluation: the definition's body, the body of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(u32);
entity_impl!(BlockId, "block");

#[derive(Clone, Debug)]
pub struct RootInfo {
    pub name: Name,
    /// The name as a dim; what it is given where it is a static parameter.
    pub size: Dim,
    /// As declared; `None`: what the body needs is inferred.
    pub kind: Option<(Kind, Span)>,
    /// Where the axis was first named.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct AxisInfo {
    /// For people.
    pub name: Name,
    /// `None` while a binder's range is not known yet.
    pub size: Option<Dim>,
    /// The root whose positions this axis runs over; `None` for arithmetic and literal sizes.
    pub root: Option<Root>,
    /// The axis whose declared kind this one shares: the one that it was copied from, or whose name its size is made of.
    /// `None`: itself.
    pub family: Option<AxisVar>,
    pub span: Span,
    pub origin: Arc<Origin>,
}

impl CallPath {
    /// The call in the definition that is checked.
    pub fn outermost(&self) -> &CallPath {
        std::iter::successors(Some(self), |call| call.outer.as_deref()).last().unwrap_or(self)
    }
}

/// What an entry of a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Elem {
    Of(DType),
    /// A position on an axis of this size (of this root).
    Idx(Dim, Option<Root>),
}

impl Elem {
    /// The dtype that holds it.
    pub fn dtype(&self) -> DType {
        match self {
            Elem::Of(dtype) => *dtype,
            Elem::Idx(..) => DType::I32,
        }
    }

    /// The element in the dtype that it is computed in.
    pub fn computed(&self) -> Elem {
        match self {
            Elem::Of(dtype) => Elem::Of(dtype.computed()),
            position => position.clone(),
        }
    }

    pub fn is_float(&self) -> bool {
        self.dtype().is_float()
    }
}

/// The calls that lead from the definition being checked to a place, outermost first.
#[derive(Debug)]
pub struct CallPath {
    pub outer: Option<Arc<CallPath>>,
    /// The call's place.
    pub span: Span,
    pub callee: Name,
    /// The path of the layer whose body this is: `enc.linear_0`; empty in the model itself.
    pub instance: Option<Name>,
}

/// A layer that was applied, for people: nothing is decided by it.
#[derive(Clone, Debug)]
pub struct AppliedLayer {
    /// `enc.linear_0`, `stack_0.*.linear_0`
    pub path: Name,
    /// The definition's name.
    pub callee: Name,
    pub outputs: Vec<Val>,
}

#[derive(Clone, Debug)]
pub struct ValData {
    pub form: Form,
    pub elem: Elem,
    pub visible: Vec<AxisVar>,
    pub span: Span,
    pub path: Option<Arc<CallPath>>,
}

impl ValData {
    /// Its place in the file of the definition that is compiled: of an expression of another file, such as the library's, the call that
    /// leads to it.
    pub fn place(&self) -> Span {
        let mut calls = Vec::new();
        let mut path = self.path.as_ref();
        while let Some(call) = path {
            calls.push(call.span);
            path = call.outer.as_ref();
        }
        let Some(own) = calls.last().map(|outermost| outermost.file) else { return self.span };
        let places = std::iter::once(self.span).chain(calls);
        places.into_iter().find(|place| place.file == own).unwrap_or(self.span)
    }
}

/// An index into one visible axis of a value that is read.
#[derive(Clone, Debug)]
pub enum At {
    /// The axis stays visible.
    Keep,
    Point(Point),
    /// An entry of type `Idx`; its value has no visible axes.
    Entry(Val),
}

/// An integer expression over index variables.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// `constant + Σ coefficient * axis`
    Affine(AffinePoint),
    /// Floor division by a positive dim.
    Div(Box<Point>, Dim),
    /// Remainder by a positive dim.
    Rem(Box<Point>, Dim),
    /// A sum with divisions or remainders in it.
    Sum(Vec<(Dim, Point)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct AffinePoint {
    pub constant: Dim,
    pub terms: Vec<(AxisVar, Dim)>,
}

/// What lies outside of an axis that is read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    Never,
    Zero,
}

/// The reducers of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reducer {
    Sum,
    Prod,
    Mean,
    Max,
    Min,
    Any,
    All,
    ArgMax,
    ArgMin,
    LogSumExp,
    /// Keeps the axis.
    Softmax,
}

#[derive(Clone, Debug)]
pub enum Form {
    /// The item's tensor argument of this index; after it come static scalars without a value.
    Input(usize),
    Param(usize),
    State(usize),
    /// A carry of the scan whose body is this block.
    Carry(BlockId, usize),
    Seed,
    Step,
    Steps,
    Const(Literal),
    /// A dim as a number.
    Size(Dim),
    /// The place on an axis as a number; the value depends on the axis, which is hidden.
    Position(AxisVar),
    /// Any index expression as a number.
    Number(Point),
    /// Whether an index expression lies on an axis: `2*i + a in H`.
    Inside(Point, AxisVar),
    /// Entry by entry; arguments have the visible axes of the result or a suffix of them.
    Scalar(ScalarFn, Vec<Val>),
    /// A value of a static condition that is not decided: both arms are possible.
    Choice {
        condition: Val,
        then: Val,
        otherwise: Val,
    },
    /// One `At` for each visible axis.
    Read {
        of: Val,
        at: Vec<At>,
        outside: Outside,
    },
    /// The same value, its visible axes under other ids (of equal sizes).
    Rename {
        of: Val,
        to: Vec<AxisVar>,
    },
    /// Integers from data, as positions.
    AsIndex(Val),
    /// Splits and merges: the entries in row-major order under other visible axes, with the same number of entries.
    Reshape(Val),
    /// Makes hidden axes visible, in front.
    Tabulate {
        axes: Vec<AxisVar>,
        body: Val,
    },
    /// Joins along the last-named axis: the result's axis at `position`; pieces follow each other.
    Concat {
        parts: Vec<Val>,
        position: usize,
    },
    /// Over visible or hidden axes of the body.
    Reduce {
        op: Reducer,
        over: Vec<AxisVar>,
        guard: Option<Val>,
        body: Val,
    },
    /// The entries along the visible axis in order, or their positions; their places are the axis `into`.
    Sort {
        of: Val,
        axis: AxisVar,
        into: AxisVar,
        what: Sorted,
        descending: bool,
    },
    /// Draws anew for each entry of `visible` and each point of the hidden `ambient`.
    Random {
        draw: Draw,
        site: u64,
        ambient: Vec<AxisVar>,
    },
    /// The value as something to differentiate by; depends on all of `ambient`.
    Alias {
        of: Val,
        ambient: Vec<AxisVar>,
    },
    StopGradient(Val),
    /// Derivatives of a scalar by aliases: a tuple.
    Gradients {
        of: Val,
        wrt: Vec<Val>,
    },
    /// What the derivative of the value is called in a rule: all that is known of it is its type.
    Cotangent {
        like: Val,
        ambient: Vec<AxisVar>,
    },
    /// The value; its derivative by each of `wrt` is that of `pulled`, linear in `cotangent`.
    Custom {
        of: Val,
        cotangent: Val,
        wrt: Vec<Val>,
        pulled: Vec<Val>,
        ambient: Vec<AxisVar>,
    },
    /// The derivative of a value along directions, one for each alias. It has the value's type.
    Tangent {
        of: Val,
        wrt: Vec<Val>,
        along: Vec<Val>,
    },
    /// Component of a tuple form (`Gradients`, `Scan`).
    Component {
        of: Val,
        index: usize,
    },
    /// A loop along a hidden axis. Its components: the final carries, then the yields with the axis in front.
    Scan {
        axis: AxisVar,
        reverse: bool,
        inits: Vec<Val>,
        body: BlockId,
    },
    /// The values of a block, which derivatives compute again instead of storing: a tuple.
    Checkpoint {
        body: BlockId,
    },
    /// The value; what its definition claims about `root` is taken as proved.
    Assume {
        of: Val,
        property: Name,
        root: Root,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Block {
    pub vals: Vec<Val>,
    /// A scan's next carries, then yields.
    pub results: Vec<Val>,
}

/// A tensor that the program owns.
#[derive(Clone, Debug)]
pub struct Slot {
    /// `linear_0.w`
    pub path: Name,
    pub elem: Elem,
    pub axes: Vec<AxisVar>,
    /// How many of the axes, from the first, number the members of stacks.
    pub stacks: usize,
    /// Its first value, in `Core::init`'s block.
    pub init: Val,
    pub span: Span,
    /// States: the value at the end, where it is written.
    pub written: Option<Val>,
}

impl Slot {
    /// The states of a train block's optimizers are named `optim:0.m.linear_0.w`; no path in a program has a colon.
    pub const OPTIMIZER: &str = "optim:";

    /// A state of an optimizer: it is no part of the weights.
    pub fn is_of_optimizer(&self) -> bool {
        self.path.starts_with(Slot::OPTIMIZER)
    }
}

#[derive(Clone, Debug)]
pub struct InputInfo {
    pub name: Name,
    pub elem: Elem,
    pub axes: Vec<AxisVar>,
    pub span: Span,
    /// Plain integers that are used as positions: all entries lie in `0..bound`, checked where data enters.
    pub bound: Option<Dim>,
}

#[derive(Clone, Debug)]
pub struct OutputInfo {
    pub name: Name,
    pub val: Val,
}

/// A condition of a `test` block.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub holds: Val,
    /// The two sides of a comparison, shown when it fails.
    pub sides: Option<(Val, Val)>,
    pub span: Span,
}

/// A condition on dims that has to be checked when sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    pub text: String,
    pub left: Dim,
    pub op: ConstraintOp,
    pub right: Dim,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintOp {
    Eq,
    Le,
    Lt,
}

/// A definition with everything that it calls, resolved.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub roots: PrimaryMap<Root, RootInfo>,
    pub axes: PrimaryMap<AxisVar, AxisInfo>,
    pub vals: PrimaryMap<Val, ValData>,
    pub blocks: PrimaryMap<BlockId, Block>,
    /// The definition's own values. Initial values of params and states are in `init`.
    pub body: Option<BlockId>,
    pub init: Option<BlockId>,
    pub inputs: Vec<InputInfo>,
    pub params: Vec<Slot>,
    pub states: Vec<Slot>,
    pub outputs: Vec<OutputInfo>,
    pub assertions: Vec<Assertion>,
    pub constraints: Vec<Constraint>,
    /// The definition, or what it calls, is another one in training.
    pub asks_mode: bool,
    /// Operations whose `ties: any` says that of equal entries any one may be taken.
    pub any_ties: std::collections::BTreeSet<Val>,
    /// Names of sizes that agree with no other, and what they are: the places of what is sorted.
    pub fresh: Vec<(DimVar, Dim)>,
    /// What the definition's own `where` says of its dims.
    pub facts: crate::axes::Facts,
    /// In the order in which they are first applied.
    pub layers: Vec<AppliedLayer>,
    /// What the program's temporaries may take: elaboration makes derivatives compute again what does not fit.
    pub budget: Option<Budget>,
}

/// The clause `memory 512 MiB` of a train block.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub bytes: u64,
    /// The sizes at which it holds.
    pub dims: std::collections::BTreeMap<DimVar, i64>,
    pub span: Span,
}

impl Core {
    /// A dim with what its fresh names stand for, which is what it is at run time.
    pub fn expand(&self, dim: &Dim) -> Dim {
        self.fresh.iter().rev().fold(dim.clone(), |dim, (var, of)| {
            let of = std::collections::BTreeMap::from([(var.clone(), of.clone())]);
            dim.substitute(&of).unwrap_or(dim)
        })
    }

    /// Whether a compilation for training is another core than one for inference: it asks which it is, or states are written.
    pub fn is_by_mode(&self) -> bool {
        self.asks_mode || !self.states.is_empty()
    }

    pub fn size(&self, axis: AxisVar) -> Dim {
        self.axes[axis].size.clone().unwrap_or_else(|| Dim::constant(0))
    }
}
