//! Scalar functions: constants, neutral elements, broadcasts.

use smallvec::SmallVec;

use super::{Rewrite, Rewriting};
use crate::graph::sets::union;
use crate::graph::{AxisSet, Literal, Node, Op, Region};
use crate::ops::ScalarFn;
use crate::tensor::{DType, Number};

/// A number that is an element of this dtype, as a literal.
pub(super) fn literal(number: Number, dtype: DType) -> Literal {
    match number {
        Number::Int(value) if dtype == DType::Bool => Literal::Bool(value != 0),
        Number::Int(value) => Literal::Int(value),
        Number::Float(value) => Literal::Float(value),
    }
}

fn number(literal: Literal, dtype: DType) -> Number {
    let number = match literal {
        Literal::Float(value) => Number::Float(value),
        Literal::Int(value) => Number::Int(value),
        Literal::Bool(value) => Number::Int(value.into()),
    };
    crate::ops::saturate(number, dtype)
}

impl Rewriting {
    pub(super) fn map(&mut self, node: Node, function: ScalarFn, region: Region) -> Rewrite {
        if let Some(rewrite) = self.without_broadcasts(node, function, region) {
            return rewrite;
        }
        let data = &self.graph.nodes[node];
        let (args, dtype) = (data.args.clone(), data.dtype);
        let known: SmallVec<[Option<Literal>; 3]> = args.iter().map(|arg| self.constant(*arg)).collect();
        if known.iter().all(Option::is_some) {
            let of_last = self.graph.nodes[args[args.len() - 1]].dtype;
            let numbers = args
                .iter()
                .zip(&known)
                .filter_map(|(arg, known)| Some(number((*known)?, self.graph.nodes[*arg].dtype)));
            let value = function.eval(of_last, &numbers.collect::<SmallVec<[Number; 3]>>());
            return Rewrite::Op(Op::Constant(literal(value, dtype)), SmallVec::new());
        }
        self.neutral(&args, &known, function, dtype)
            .or_else(|| self.nested(&args, function))
            .or_else(|| self.power(node, &args, &known, function, region))
            .unwrap_or(Rewrite::Keep)
    }

    /// A broadcast argument is not needed where others have the axes; where none has, the result is broadcast instead.
    fn without_broadcasts(&mut self, node: Node, function: ScalarFn, region: Region) -> Option<Rewrite> {
        let args = self.graph.nodes[node].args.clone();
        let stripped: SmallVec<[Node; 3]> = (args.iter())
            .map(|arg| match &self.graph.nodes[*arg] {
                data if matches!(data.op, Op::Broadcast(_)) => data.args[0],
                _ => *arg,
            })
            .collect();
        if stripped == args {
            return None;
        }
        let own = &self.graph.nodes[node].axes;
        let axes = stripped.iter().fold(AxisSet::new(), |all, arg| union(&all, &self.graph.nodes[*arg].axes));
        if axes == *own {
            return Some(Rewrite::Op(Op::Map(function), stripped));
        }
        let wide = own.clone();
        let narrow = self.insert(Op::Map(function), &stripped, node, region)?;
        let narrow = match self.map(narrow, function, region) {
            Rewrite::Keep => narrow,
            Rewrite::Same(other) => other,
            Rewrite::Op(op, args) => {
                (self.graph.nodes[narrow].op, self.graph.nodes[narrow].args) = (op, args);
                narrow
            }
        };
        Some(Rewrite::Op(Op::Broadcast(wide), [narrow].into_iter().collect()))
    }

    /// A constant argument that changes nothing, or decides everything.
    fn neutral(
        &self,
        args: &[Node],
        known: &[Option<Literal>],
        function: ScalarFn,
        dtype: DType,
    ) -> Option<Rewrite> {
        let is = |k: usize, value: f64| match known.get(k).copied().flatten() {
            Some(Literal::Float(x)) => x == value,
            Some(Literal::Int(x)) => x as f64 == value,
            _ => false,
        };
        let truth = |k: usize| match known.get(k).copied().flatten() {
            Some(Literal::Bool(value)) => Some(value),
            _ => None,
        };
        let integer = !dtype.is_float();
        let constant = |value: Literal| Some(Rewrite::Op(Op::Constant(value), SmallVec::new()));
        let op = |function: ScalarFn, args: &[Node]| Some(Rewrite::Op(Op::Map(function), args.into()));
        // A value with other axes than the node's cannot stand for it; constants are scalars here.
        match function {
            ScalarFn::Add if is(0, 0.0) => Some(Rewrite::Same(args[1])),
            ScalarFn::Add | ScalarFn::Sub if is(1, 0.0) => Some(Rewrite::Same(args[0])),
            ScalarFn::Sub if is(0, 0.0) => op(ScalarFn::Neg, &args[1..]),
            ScalarFn::Mul if is(0, 1.0) => Some(Rewrite::Same(args[1])),
            ScalarFn::Mul | ScalarFn::Div if is(1, 1.0) => Some(Rewrite::Same(args[0])),
            ScalarFn::Mul if is(0, -1.0) => op(ScalarFn::Neg, &args[1..]),
            ScalarFn::Mul | ScalarFn::Div if is(1, -1.0) => op(ScalarFn::Neg, &args[..1]),
            ScalarFn::Mul if integer && self.scalar(args) && (is(0, 0.0) || is(1, 0.0)) => {
                constant(Literal::Int(0))
            }
            ScalarFn::And | ScalarFn::Or | ScalarFn::Max | ScalarFn::Min if args[0] == args[1] => {
                Some(Rewrite::Same(args[0]))
            }
            ScalarFn::And => match (truth(0), truth(1)) {
                (Some(true), _) => Some(Rewrite::Same(args[1])),
                (_, Some(true)) => Some(Rewrite::Same(args[0])),
                _ => None,
            },
            ScalarFn::Or => match (truth(0), truth(1)) {
                (Some(false), _) => Some(Rewrite::Same(args[1])),
                (_, Some(false)) => Some(Rewrite::Same(args[0])),
                _ => None,
            },
            ScalarFn::Select => match truth(0) {
                Some(value) => self.if_alone(args, if value { args[1] } else { args[2] }),
                None if args[1] == args[2] => self.if_alone(args, args[1]),
                None => None,
            },
            ScalarFn::Cast(to) if self.graph.nodes[args[0]].dtype == to => Some(Rewrite::Same(args[0])),
            _ => None,
        }
    }

    fn scalar(&self, args: &[Node]) -> bool {
        args.iter().all(|arg| self.graph.nodes[*arg].axes.is_empty())
    }

    /// One argument, broadcast to the axes of all.
    fn if_alone(&self, args: &[Node], chosen: Node) -> Option<Rewrite> {
        let axes = args.iter().fold(AxisSet::new(), |all, arg| union(&all, &self.graph.nodes[*arg].axes));
        if self.graph.nodes[chosen].axes == axes {
            return Some(Rewrite::Same(chosen));
        }
        Some(Rewrite::Op(Op::Broadcast(axes), [chosen].into_iter().collect()))
    }

    /// Pairs of functions that undo each other, and negations that can be taken into their reader.
    fn nested(&self, args: &[Node], function: ScalarFn) -> Option<Rewrite> {
        let inner = |k: usize| {
            let data = &self.graph.nodes[*args.get(k)?];
            match data.op {
                Op::Map(function) => Some((function, data.args.as_slice())),
                _ => None,
            }
        };
        let op = |function: ScalarFn, args: &[Node]| Some(Rewrite::Op(Op::Map(function), args.into()));
        match (function, inner(0), inner(1)) {
            (ScalarFn::Neg, Some((ScalarFn::Neg, x)), _) | (ScalarFn::Not, Some((ScalarFn::Not, x)), _) => {
                Some(Rewrite::Same(x[0]))
            }
            (ScalarFn::Neg, Some((ScalarFn::Sub, x)), _) => op(ScalarFn::Sub, &[x[1], x[0]]),
            (ScalarFn::Add, _, Some((ScalarFn::Neg, y))) => op(ScalarFn::Sub, &[args[0], y[0]]),
            (ScalarFn::Add, Some((ScalarFn::Neg, x)), _) => op(ScalarFn::Sub, &[args[1], x[0]]),
            (ScalarFn::Sub, _, Some((ScalarFn::Neg, y))) => op(ScalarFn::Add, &[args[0], y[0]]),
            (ScalarFn::Mul | ScalarFn::Div, Some((ScalarFn::Neg, x)), Some((ScalarFn::Neg, y))) => {
                op(function, &[x[0], y[0]])
            }
            (ScalarFn::Select, Some((ScalarFn::Not, c)), _) => {
                op(ScalarFn::Select, &[c[0], args[2], args[1]])
            }
            _ => None,
        }
    }

    /// Small integer powers are products.
    fn power(
        &mut self,
        node: Node,
        args: &[Node],
        known: &[Option<Literal>],
        function: ScalarFn,
        region: Region,
    ) -> Option<Rewrite> {
        let (ScalarFn::Pow, Some(Literal::Float(exponent))) = (function, known.get(1).copied().flatten())
        else {
            return None;
        };
        let x = args[0];
        let product =
            |x: Node, y: Node| Some(Rewrite::Op(Op::Map(ScalarFn::Mul), [x, y].into_iter().collect()));
        if exponent == 1.0 {
            return Some(Rewrite::Same(x));
        }
        if exponent == 2.0 {
            return product(x, x);
        }
        if exponent == 3.0 || exponent == 4.0 {
            let square = self.insert(Op::Map(ScalarFn::Mul), &[x, x], node, region)?;
            return product(square, if exponent == 3.0 { x } else { square });
        }
        if exponent == -1.0 {
            let one = self.insert(Op::Constant(Literal::Float(1.0)), &[], node, region)?;
            return Some(Rewrite::Op(Op::Map(ScalarFn::Div), [one, x].into_iter().collect()));
        }
        None
    }
}
