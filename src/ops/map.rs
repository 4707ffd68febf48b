//! `map f(a, b…)`: one scalar function, entry by entry, over the union of the arguments' axes.

use super::array::{Array, EvalCx, EvalError};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, ScalarFn, Shape, Transpose, Typing};
use crate::graph::sets::union;
use crate::graph::{AxisSet, Builder, Node, NodeData, Op};
use crate::tensor::DType;

pub static OP: OpDef = OpDef {
    name: "map",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let Op::Map(function) = node.op else { unreachable!("a map") };
    let dtypes: smallvec::SmallVec<[DType; 3]> =
        node.args.iter().map(|arg| node.graph.nodes[*arg].dtype).collect();
    let dtype = function.dtype(&dtypes)?;
    let axes = node.args.iter().fold(AxisSet::new(), |all, arg| union(&all, &node.graph.nodes[*arg].axes));
    Ok(Shape { axes, dtype })
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let (op, args) = (b.op(node).clone(), b.args(node));
    let Op::Map(function) = op else { unreachable!("a map") };
    function.def().derivative.tangent(b, &args, node, tangents)
}

/// The functions that are linear in some argument, and what their transposes are.
fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::Map(function) = pullback.node.op else { unreachable!("a map") };
    let Cotangent { value: ct, mask } = pullback.cotangent;
    let linear = |k: usize| pullback.known[k].is_none();
    let mut out = |value| Some(Cotangent { value, mask });
    match function {
        ScalarFn::Neg => {
            let ct = b.neg(ct);
            [out(ct)].into_iter().collect()
        }
        ScalarFn::Cast(_) => {
            // The argument's dtype is that of its cotangent; the driver converts.
            [out(ct)].into_iter().collect()
        }
        ScalarFn::Add => (0..2).map(|k| linear(k).then_some(Cotangent { value: ct, mask })).collect(),
        ScalarFn::Sub => {
            let right = linear(1).then(|| b.neg(ct)).and_then(&mut out);
            [linear(0).then_some(Cotangent { value: ct, mask }), right].into_iter().collect()
        }
        ScalarFn::Mul => match (pullback.known[0], pullback.known[1]) {
            (Some(factor), None) => {
                let factor = unmasked(b, factor, mask, 0.0);
                let ct = b.mul(factor, ct);
                [None, out(ct)].into_iter().collect()
            }
            (None, Some(factor)) => {
                let factor = unmasked(b, factor, mask, 0.0);
                let ct = b.mul(ct, factor);
                [out(ct), None].into_iter().collect()
            }
            _ => unreachable!("a product of two tangents is not linear"),
        },
        ScalarFn::Div => {
            let divisor = pullback.known[1].expect("a quotient is not linear in its divisor");
            let divisor = unmasked(b, divisor, mask, 1.0);
            let ct = b.div(ct, divisor);
            [out(ct), None].into_iter().collect()
        }
        ScalarFn::Select => {
            let condition = pullback.known[0].expect("a condition is no tangent");
            let zero = b.constant(0.0, pullback.node.dtype);
            let then = linear(1).then(|| {
                let mask = both(b, mask, condition);
                Cotangent { value: b.select(condition, ct, zero), mask }
            });
            let otherwise = linear(2).then(|| {
                let not = b.map1(ScalarFn::Not, condition);
                let mask = both(b, mask, not);
                Cotangent { value: b.select(condition, zero, ct), mask }
            });
            [None, then, otherwise].into_iter().collect()
        }
        function => unreachable!("{} of tangents", function.name()),
    }
}

/// The factor, harmless where a selection has left its product out.
fn unmasked(b: &mut Builder, factor: Node, mask: Option<Node>, harmless: f64) -> Node {
    match mask {
        Some(mask) if !matches!(b.op(factor), Op::Constant(_) | Op::Size(_)) => {
            let harmless = b.constant(harmless, b.dtype(factor));
            b.select(mask, factor, harmless)
        }
        _ => factor,
    }
}

fn both(b: &mut Builder, mask: Option<Node>, condition: Node) -> Option<Node> {
    Some(match mask {
        Some(mask) => b.map2(ScalarFn::And, mask, condition),
        None => condition,
    })
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Map(function) = node.op else { unreachable!("a map") };
    let axes = cx.free(&node.axes);
    let shape = cx.shape(&axes)?;
    let dtype = args.last().map_or(node.dtype, |arg| arg.dtype);
    let columns: Vec<_> = args.iter().map(|arg| arg.spread(&axes, &shape)).collect();
    let mut entries = smallvec::SmallVec::<[_; 3]>::new();
    let mut at = 0;
    Array::from_fn(cx, axes, node.dtype, |_| {
        entries.clear();
        entries.extend(columns.iter().map(|column| column[at]));
        at += 1;
        Ok(function.eval(dtype, &entries))
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, j) = (b.axis("i", 2.into()), b.axis("j", 2.into()));
    let (x, y) = (b.position(i, DType::I32), b.position(j, DType::I32));
    (b.sub(x, y), vec![0.0, -1.0, 1.0, 0.0])
}
