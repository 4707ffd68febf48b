//! `custom(y, g, x…, p…)`: `y`, whose derivative by each `x` is what its program says: where the cotangent of `y` is `g`, that of `x` is `p`.
//!
//! The `p` are computed from `g`, a placeholder made by `alias` with all axes of `y`, and linear in it. So the tangent of `y` is the transpose
//! of the map from `g` to the `p`, applied to the tangents of the `x`: `autodiff` appends it, as ordinary nodes, which in reverse mode are
//! transposed back to the `p`. `simplify` removes the operator.

use super::array::{Array, EvalCx, EvalError};
use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::{Builder, Node, NodeData};

pub static OP: OpDef = OpDef {
    name: "custom",
    shape,
    jvp: Jvp::Body,
    transpose: Transpose::Never,
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    if node.args.len() < 4 || !node.args.len().is_multiple_of(2) {
        return Err(format!("takes y, g, and an x and a p for each argument, not {}", node.args.len()));
    }
    let [y, g] = [node.args[0], node.args[1]].map(|arg| &node.graph.nodes[arg]);
    // Inside of a loop `y` may have the loop's axis, which `g` lacks.
    if y.dtype != g.dtype {
        return Err("its cotangent is of another type".into());
    }
    Ok(Shape { axes: y.axes.clone(), dtype: y.dtype })
}

fn eval(_: &EvalCx, _: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    Ok(args[0].clone())
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let x = b.constant(3.0, crate::tensor::DType::F32);
    let g = b.alias(x);
    let twice = b.add(g, g);
    (b.custom(x, g, &[x], &[twice]), vec![3.0])
}
