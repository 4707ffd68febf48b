//! The primitives of the tensor IR, one file each, and the scalar functions.
//!
//! This file is the list. Graph and ops are one floor: an operator's payload is `graph::Op`, its law stands here.
//! Must never know the language, nor how values are laid out or computed by machine code.

mod alias;
mod array;
mod broadcast;
mod custom;
mod derivative;
mod fold;
mod fused;
mod gather;
mod map;
mod project;
mod random;
mod reduce;
mod scalar;
mod scan;
mod scatter;
mod sort;
mod source;
mod stop_gradient;
mod value;
mod view;

pub use array::{Array, EvalCx, EvalError};
pub use derivative::Derivative;
pub use scalar::{DTypeRule, ScalarDef, ScalarFn};
pub use value::{Value, saturate};

use smallvec::SmallVec;

use crate::graph::{AxisSet, Builder, Graph, Node, NodeData, Op, Reducer};
use crate::tensor::DType;

/// What is known of an operator: no field is optional, so that a primitive without a rule does not compile.
pub struct OpDef {
    /// As it is printed.
    pub name: &'static str,
    /// The axes and the dtype of its value, or what is wrong with its arguments.
    pub shape: fn(&Typing) -> Result<Shape, String>,
    pub jvp: Jvp,
    pub transpose: Transpose,
    pub eval: Eval,
    /// A use of the operator and the entries of its value, row-major in ascending order of axes.
    pub example: fn(&mut Builder) -> (Node, Vec<f64>),
}

/// The forward derivative.
pub enum Jvp {
    /// No derivative passes.
    Zero,
    /// The value's tangent from the arguments' (`None` is zero; not all are). What it appends is linear in the tangents.
    /// The tangent may lack axes of the value, along which it is then constant.
    Rule(fn(&mut Builder, Node, &[Option<Node>]) -> Option<Node>),
    /// The operator has a body, or is part of one that has: `autodiff` does it.
    Body,
}

/// The transpose in those arguments in which the operator is linear.
pub enum Transpose {
    /// No rule for a derivative makes the operator of tangents.
    Never,
    /// The arguments' cotangents. They may have more axes than the argument, over which they are then summed.
    Rule(fn(&mut Builder, &Pullback) -> Pulled),
    /// As for `Jvp`.
    Body,
}

/// The value for values of the arguments.
pub enum Eval {
    Rule(fn(&EvalCx, &NodeData, &[Array]) -> Result<Array, EvalError>),
    /// The operator has a body, or its value is given: the interpreter does it.
    Body,
}

/// What a transpose rule sees.
pub struct Pullback<'a> {
    /// The node that is transposed.
    pub node: &'a NodeData,
    /// For each argument its value, or `None` where the operator is linear in it.
    pub known: &'a [Option<Node>],
    pub cotangent: Cotangent,
    /// Whether the argument is a product that is summed up: a contraction, in which nothing is masked.
    pub contraction: bool,
}

/// A cotangent. Where the mask (a bool, if there is one) is false, a selection has left the value out: the cotangent is 0 there, and a factor
/// that is infinite or NaN must not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cotangent {
    pub value: Node,
    pub mask: Option<Node>,
}

/// One cotangent for each argument; `None` for those that are no tangents.
pub type Pulled = SmallVec<[Option<Cotangent>; 3]>;

impl Cotangent {
    pub fn plain(value: Node) -> Cotangent {
        Cotangent { value, mask: None }
    }

    /// For the only argument.
    fn alone(self) -> Pulled {
        std::iter::once(Some(self)).collect()
    }
}

/// What a shape rule sees.
#[derive(Clone, Copy)]
pub struct Typing<'a> {
    pub graph: &'a Graph,
    pub op: &'a Op,
    pub args: &'a [Node],
    /// The dtype that the node has or shall have: read only by rules of operators whose arguments do not fix it.
    pub dtype: DType,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub axes: AxisSet,
    pub dtype: DType,
}

impl Shape {
    /// Tuples are read by `Project` only; their dtype and axes say nothing and are these.
    pub fn tuple() -> Shape {
        Shape { axes: AxisSet::new(), dtype: DType::Bool }
    }
}

impl<'a> Typing<'a> {
    /// The arguments, where there are exactly this many.
    fn args<const N: usize>(&self) -> Result<[&'a NodeData; N], String> {
        let args: [Node; N] =
            self.args.try_into().map_err(|_| format!("takes {N} arguments, not {}", self.args.len()))?;
        Ok(args.map(|arg| &self.graph.nodes[arg]))
    }

    fn name(&self, axis: crate::graph::Axis) -> String {
        match self.graph.axes.get(axis) {
            Some(data) => format!("`{}` ({axis:?})", data.name),
            None => format!("{axis:?}, which does not exist"),
        }
    }
}

/// All primitives.
pub static ALL: [&OpDef; 20] = [
    &source::INPUT,
    &source::CARRY,
    &source::CONSTANT,
    &source::SIZE,
    &source::POSITION,
    &map::OP,
    &reduce::OP,
    &broadcast::OP,
    &view::OP,
    &fold::OP,
    &gather::OP,
    &scatter::OP,
    &sort::OP,
    &random::OP,
    &scan::OP,
    &fused::OP,
    &project::OP,
    &stop_gradient::OP,
    &alias::OP,
    &custom::OP,
];

impl Op {
    /// The operator's law.
    pub fn def(&self) -> &'static OpDef {
        match self {
            Op::Input(_) => &source::INPUT,
            Op::Carry(_) => &source::CARRY,
            Op::Constant(_) => &source::CONSTANT,
            Op::Size(_) => &source::SIZE,
            Op::Position(_) => &source::POSITION,
            Op::Map(_) => &map::OP,
            Op::Reduce { .. } => &reduce::OP,
            Op::Broadcast(_) => &broadcast::OP,
            Op::View(_) => &view::OP,
            Op::Fold(_) => &fold::OP,
            Op::Gather { .. } => &gather::OP,
            Op::Scatter { .. } => &scatter::OP,
            Op::Sort { .. } => &sort::OP,
            Op::Random { .. } => &random::OP,
            Op::Scan(_) => &scan::OP,
            Op::Fused(_) => &fused::OP,
            Op::Project(_) => &project::OP,
            Op::StopGradient => &stop_gradient::OP,
            Op::Alias => &alias::OP,
            Op::Custom => &custom::OP,
        }
    }

    /// Whether the value is a tuple, which only `Project` may read.
    pub fn is_tuple(&self) -> bool {
        matches!(self, Op::Scan(_) | Op::Fused(_))
    }

    /// The region that the operator executes.
    pub fn region(&self) -> Option<crate::graph::Region> {
        match self {
            Op::Scan(scan) => Some(scan.body),
            Op::Fused(region) => Some(*region),
            _ => None,
        }
    }

    /// The axes of its arguments that the operator consumes: where one is bound by a scan, the whole of it is meant.
    pub fn consumed(&self) -> AxisSet {
        match self {
            Op::Reduce { over, .. } | Op::Scatter { over, .. } => over.clone(),
            Op::View(map) => map.named(),
            Op::Fold(map) => map.mentioned(),
            Op::Gather { axis } | Op::Sort { axis, .. } => AxisSet::from_slice(&[*axis]),
            _ => AxisSet::new(),
        }
    }
}

impl Reducer {
    pub const ALL: [Reducer; 8] = [
        Reducer::Sum,
        Reducer::Prod,
        Reducer::Max,
        Reducer::Min,
        Reducer::Any,
        Reducer::All,
        Reducer::ArgMax,
        Reducer::ArgMin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reducer::Sum => "sum",
            Reducer::Prod => "prod",
            Reducer::Max => "max",
            Reducer::Min => "min",
            Reducer::Any => "any",
            Reducer::All => "all",
            Reducer::ArgMax => "argmax",
            Reducer::ArgMin => "argmin",
        }
    }

    /// The dtype of the combination of values of `dtype`.
    fn dtype(self, dtype: DType) -> Result<DType, String> {
        let logical = matches!(self, Reducer::Any | Reducer::All);
        if logical != (dtype == DType::Bool) || dtype.computed() != dtype {
            return Err(format!("{} of {dtype}", self.name()));
        }
        Ok(if matches!(self, Reducer::ArgMax | Reducer::ArgMin) { DType::I32 } else { dtype })
    }
}

#[cfg(test)]
mod tests;
