//! `fold(x) i := 2*a + k`: the transpose of the view with this map, `out[map(o…)] += x[o…]`; entries that nothing reaches are 0.
//! What the view would read outside of its argument is dropped.

use super::array::{Array, EvalCx, EvalError, combine};
use super::view::{Reading, well_formed};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, Shape, Transpose, Typing};
use crate::graph::sets::{common, union, without};
use crate::graph::{Builder, Index, IndexMap, Node, NodeData, Op, Outside, Reducer};
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "fold",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::Fold(map) = node.op else { unreachable!("a fold") };
    well_formed(map)?;
    if arg.dtype == DType::Bool || arg.dtype.computed() != arg.dtype {
        return Err(format!("adds up {}", arg.dtype));
    }
    let mentioned = map.mentioned();
    if let Some(axis) = mentioned.iter().find(|axis| !arg.axes.contains(axis)) {
        return Err(format!("mentions {}, which its argument does not have", node.name(*axis)));
    }
    let (kept, named) = (without(&arg.axes, &mentioned), map.named());
    if let Some(axis) = common(&kept, &named).first() {
        return Err(format!("makes {}, which its argument has already", node.name(*axis)));
    }
    Ok(Shape { axes: union(&kept, &named), dtype: arg.dtype })
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let Op::Fold(map) = b.op(node).clone() else { unreachable!("a fold") };
    Some(b.fold(tangents[0]?, map))
}

fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::Fold(map) = &pullback.node.op else { unreachable!("a fold") };
    Cotangent::plain(b.view(pullback.cotangent.value, map.clone())).alone()
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Fold(map) = &node.op else { unreachable!("a fold") };
    let (x, axes) = (&args[0], cx.free(&node.axes));
    let reading = Reading::new(cx, map, &axes, &x.axes)?;
    let shape = cx.shape(&axes)?;
    let mut hits: ndarray::ArrayD<Vec<Number>> = ndarray::ArrayD::default(shape);
    for (at, entry) in x.values.indexed_iter() {
        if let Some(place) = reading.find(cx, ndarray::Dimension::slice(&at))? {
            hits[ndarray::IxDyn(&place)].push(*entry);
        }
    }
    let values = hits.mapv(|entries| combine(Reducer::Sum, node.dtype, entries.into_iter()));
    Ok(Array { axes, dtype: node.dtype, values })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, j) = (b.axis("i", 2.into()), b.axis("j", 4.into()));
    let x = b.position(j, DType::I32);
    // Halves of the positions: 0 and 1 meet, 2 and 3 meet.
    let half = Index::axis(j).div(&2.into());
    (b.fold(x, IndexMap::new([(i, half)], Outside::Never)), vec![1.0, 5.0])
}
