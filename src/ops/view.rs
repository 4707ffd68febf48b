//! `view(x) i := 2*a + k`: `out[o…] = x[map(o…)]`, a reading of `x` at computed places: rename, window, slice, flip, split,
//! merge, diagonal.

use super::array::{Array, EvalCx, EvalError};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, ScalarFn, Shape, Transpose, Typing};
use crate::axes::Dim;
use crate::graph::sets::{common, union, without};
use crate::graph::{Axis, AxisSet, Builder, Index, IndexMap, Node, NodeData, Op, Outside};
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "view",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::View(map) = node.op else { unreachable!("a view") };
    well_formed(map)?;
    if let Some((axis, _)) = map.at.iter().find(|(axis, _)| !arg.axes.contains(axis)) {
        return Err(format!("reads along {}, which its argument does not have", node.name(*axis)));
    }
    let (kept, mentioned) = (without(&arg.axes, &map.named()), map.mentioned());
    if let Some(axis) = common(&kept, &mentioned).first() {
        return Err(format!("mentions {}, which its argument keeps: it must be named too", node.name(*axis)));
    }
    Ok(Shape { axes: union(&kept, &mentioned), dtype: arg.dtype })
}

/// Named axes ascend, terms of affine indices too.
pub(super) fn well_formed(map: &IndexMap) -> Result<(), String> {
    use crate::graph::Index;
    fn index_is_well_formed(index: &Index) -> bool {
        match index {
            Index::Affine(affine) => affine.terms.is_sorted_by(|(a, _), (b, _)| a < b),
            Index::Div(index, _) | Index::Rem(index, _) => index_is_well_formed(index),
            Index::Sum(parts) => parts.iter().all(|(_, part)| index_is_well_formed(part)),
        }
    }
    if !map.at.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err("the map's axes are not in ascending order, each once".into());
    }
    if !map.at.iter().all(|(_, index)| index_is_well_formed(index)) {
        return Err("the terms of an index are not in ascending order of their axes, each once".into());
    }
    Ok(())
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let Op::View(map) = b.op(node).clone() else { unreachable!("a view") };
    Some(b.view(tangents[0]?, map))
}

fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::View(map) = &pullback.node.op else { unreachable!("a view") };
    let Cotangent { value, mask } = pullback.cotangent;
    if !common(&map.mentioned(), &b.bound()).is_empty() {
        return Cotangent::plain(fold_of_step(b, value, map)).alone();
    }
    let value = b.fold(value, map.clone());
    // Nothing is added up by a renaming, so the mask can go along.
    let mask = mask.zip(map.as_rename()).map(|(mask, pairs)| {
        let back: Vec<(Axis, Axis)> = pairs.into_iter().map(|(from, to)| (to, from)).collect();
        b.rename(mask, &back)
    });
    Cotangent { value, mask }.alone()
}

/// The transpose of a view that mentions an axis which a scan has bound, at this step alone:
/// `out[n…] = Σ over o with n == map(o) of ct[o]`, the sum over all that the map mentions but the bound axes.
fn fold_of_step(b: &mut Builder, ct: Node, map: &IndexMap) -> Node {
    let bound = b.bound();
    let free = without(&map.mentioned(), &bound);
    let pairs: Vec<(Axis, Axis)> = free.iter().map(|axis| (*axis, b.fresh(*axis))).collect();
    let ct = b.rename(ct, &pairs);
    let mut hit = b.constant(1.0, DType::Bool);
    for (axis, index) in &map.at {
        let fresh = |axis: Axis| pairs.iter().find(|(from, _)| *from == axis).map_or(axis, |(_, to)| *to);
        let index = index_value(b, index, &fresh);
        let own = b.position(*axis, DType::I64);
        let equal = b.map2(ScalarFn::Eq, own, index);
        hit = b.map2(ScalarFn::And, hit, equal);
    }
    let zero = b.constant(0.0, b.dtype(ct));
    let kept = b.select(hit, ct, zero);
    let over: AxisSet = pairs.iter().map(|(_, to)| *to).collect();
    b.sum(kept, &over)
}

/// An index expression as a value of i64.
fn index_value(b: &mut Builder, index: &Index, axis: &dyn Fn(Axis) -> Axis) -> Node {
    let product = |b: &mut Builder, factor: &Dim, value: Node| {
        let factor = b.size(factor.clone(), DType::I64);
        b.mul(factor, value)
    };
    match index {
        Index::Affine(affine) => {
            let mut sum = b.size(affine.constant.clone(), DType::I64);
            for (own, factor) in &affine.terms {
                let position = b.position(axis(*own), DType::I64);
                let term = product(b, factor, position);
                sum = b.add(sum, term);
            }
            sum
        }
        Index::Sum(parts) => {
            let mut sum = b.constant(0.0, DType::I64);
            for (factor, part) in parts {
                let part = index_value(b, part, axis);
                let term = product(b, factor, part);
                sum = b.add(sum, term);
            }
            sum
        }
        Index::Div(part, by) | Index::Rem(part, by) => {
            let part = index_value(b, part, axis);
            let by = b.size(by.clone(), DType::I64);
            let function = if matches!(index, Index::Div(..)) { ScalarFn::Div } else { ScalarFn::Rem };
            b.map2(function, part, by)
        }
    }
}

/// For coordinates of the view those of its argument, whose axes are `of`; `None` outside of it.
pub(super) struct Reading {
    /// For each axis of the argument the position among the view's axes, or what is computed from these.
    at: Vec<(Axis, usize, Result<usize, Index>)>,
    axes: AxisSet,
    outside: Outside,
}

impl Reading {
    pub(super) fn new(cx: &EvalCx, map: &IndexMap, of: &[Axis], axes: &[Axis]) -> Result<Reading, EvalError> {
        let mut at = Vec::new();
        for axis in of {
            let place = |axis: Axis| axes.iter().position(|own| *own == axis);
            let source = match (map.get(*axis), place(*axis)) {
                (Some(index), _) => Err(cx.resolve(index)?),
                (None, Some(place)) => Ok(place),
                // Along an axis that the argument lacks here (it is bound), there is one entry.
                (None, None) => continue,
            };
            at.push((*axis, cx.size(*axis)?, source));
        }
        Ok(Reading { at, axes: axes.into(), outside: map.outside })
    }

    pub(super) fn find(&self, cx: &EvalCx, coordinates: &[usize]) -> Result<Option<Vec<usize>>, EvalError> {
        let mut found = Vec::with_capacity(self.at.len());
        for (axis, size, source) in &self.at {
            let index = match source {
                Ok(place) => coordinates[*place] as i64,
                Err(index) => {
                    let value = |axis: Axis| {
                        let place = self.axes.iter().position(|own| *own == axis);
                        place.map_or(0, |place| coordinates[place] as i64)
                    };
                    index.eval(&value, &|dim| cx.dim(dim))?
                }
            };
            match usize::try_from(index) {
                Ok(index) if index < *size => found.push(index),
                _ if self.outside == Outside::Zero => return Ok(None),
                _ => found.push(cx.check(*axis, index)?),
            }
        }
        Ok(Some(found))
    }
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::View(map) = &node.op else { unreachable!("a view") };
    let (x, axes) = (&args[0], cx.free(&node.axes));
    let reading = Reading::new(cx, map, &x.axes, &axes)?;
    let zero = if node.dtype.is_float() { Number::Float(0.0) } else { Number::Int(0) };
    Array::from_fn(cx, axes, node.dtype, |at| {
        Ok(reading.find(cx, at)?.map_or(zero, |place| x.number(&place)))
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, j) = (b.axis("i", 3.into()), b.axis("j", 3.into()));
    let x = b.position(i, DType::I32);
    let before = Index::axis(j).minus(&Index::constant(1)).expect("a small index");
    // Every entry moved up by one: what comes in is 0.
    let one = b.constant(1.0, DType::I32);
    let x = b.add(x, one);
    (b.view(x, IndexMap::new([(i, before)], Outside::Zero)), vec![0.0, 1.0, 2.0])
}
