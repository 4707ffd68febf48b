//! Values without arguments: inputs, carries, constants, sizes, positions.

use super::array::{Array, EvalCx, EvalError};
use super::value::saturate;
use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::sets::set;
use crate::graph::{AxisSet, Builder, Input, Literal, Node, NodeData, Op, Role};
use crate::tensor::{DType, Number};

/// The graph's input of this index; its axes are those of `Input::order`.
pub static INPUT: OpDef = OpDef {
    name: "input",
    shape: input,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Body,
    example: input_example,
};

/// A region's parameter; its type is its own (the verifier compares it with what the scan gives it).
pub static CARRY: OpDef = OpDef {
    name: "carry",
    shape: carry,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Body,
    example: carry_example,
};

/// A scalar of the node's dtype.
pub static CONSTANT: OpDef = OpDef {
    name: "constant",
    shape: constant,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Rule(constant_value),
    example: constant_example,
};

/// The value of a dim as a scalar of the node's dtype, a number.
pub static SIZE: OpDef = OpDef {
    name: "size",
    shape: size,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Rule(size_value),
    example: size_example,
};

/// The index along an axis, of the node's dtype, an integer.
pub static POSITION: OpDef = OpDef {
    name: "position",
    shape: position,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Rule(position_value),
    example: position_example,
};

fn input(node: &Typing) -> Result<Shape, String> {
    let [] = node.args()?;
    let Op::Input(index) = node.op else { unreachable!("an input") };
    let input = node.graph.inputs.get(*index as usize).ok_or("the graph has no such input")?;
    Ok(Shape { axes: set(input.order.iter().copied()), dtype: input.dtype })
}

fn carry(_: &Typing) -> Result<Shape, String> {
    Err("a carry stands only among the parameters of a region".into())
}

fn constant(node: &Typing) -> Result<Shape, String> {
    let [] = node.args()?;
    let fits = match node.op {
        Op::Constant(Literal::Float(_)) => node.dtype.is_float(),
        Op::Constant(Literal::Int(value)) => match node.dtype {
            DType::I32 => i32::try_from(*value).is_ok(),
            DType::U8 => u8::try_from(*value).is_ok(),
            dtype => dtype == DType::I64,
        },
        _ => node.dtype == DType::Bool,
    };
    if !fits {
        return Err(format!("the literal does not fit {}", node.dtype));
    }
    Ok(Shape { axes: AxisSet::new(), dtype: node.dtype })
}

fn size(node: &Typing) -> Result<Shape, String> {
    let [] = node.args()?;
    if node.dtype == DType::Bool {
        return Err("a size is no bool".into());
    }
    Ok(Shape { axes: AxisSet::new(), dtype: node.dtype })
}

fn position(node: &Typing) -> Result<Shape, String> {
    let [] = node.args()?;
    let Op::Position(axis) = node.op else { unreachable!("a position") };
    if !matches!(node.dtype, DType::I32 | DType::I64) {
        return Err(format!("a position is i32 or i64, not {}", node.dtype));
    }
    Ok(Shape { axes: AxisSet::from_slice(&[*axis]), dtype: node.dtype })
}

fn constant_value(_: &EvalCx, node: &NodeData, _: &[Array]) -> Result<Array, EvalError> {
    let Op::Constant(literal) = node.op else { unreachable!("a constant") };
    let number = match literal {
        Literal::Float(value) => Number::Float(value),
        Literal::Int(value) => Number::Int(value),
        Literal::Bool(value) => Number::Int(value.into()),
    };
    Ok(Array::scalar(node.dtype, saturate(number, node.dtype)))
}

fn size_value(cx: &EvalCx, node: &NodeData, _: &[Array]) -> Result<Array, EvalError> {
    let Op::Size(dim) = &node.op else { unreachable!("a size") };
    Ok(Array::scalar(node.dtype, saturate(Number::Int(cx.dim(dim)?), node.dtype)))
}

fn position_value(cx: &EvalCx, node: &NodeData, _: &[Array]) -> Result<Array, EvalError> {
    let Op::Position(axis) = node.op else { unreachable!("a position") };
    match cx.bound[axis] {
        Some(at) => Ok(Array::scalar(node.dtype, Number::Int(at))),
        None => Array::from_fn(cx, node.axes.clone(), node.dtype, |at| Ok(Number::Int(at[0] as i64))),
    }
}

fn input_example(b: &mut Builder) -> (Node, Vec<f64>) {
    let input =
        Input { name: "seed".into(), role: Role::Seed, dtype: DType::I64, order: vec![], bound: None };
    let seed = b.input(input);
    // The walk over the examples gives every input zeros.
    (seed, vec![0.0])
}

fn carry_example(b: &mut Builder) -> (Node, Vec<f64>) {
    let t = b.axis("t", 3.into());
    let first = b.constant(5.0, DType::F32);
    let carries = b.begin_scan(t, &[first]);
    let scan = b.end_scan(false, &[first], &carries, &[]);
    (scan.carries[0], vec![5.0])
}

fn constant_example(b: &mut Builder) -> (Node, Vec<f64>) {
    (b.constant(1.5, DType::F64), vec![1.5])
}

fn size_example(b: &mut Builder) -> (Node, Vec<f64>) {
    let five = crate::axes::Dim::from(5);
    (b.size(five, DType::F32), vec![5.0])
}

fn position_example(b: &mut Builder) -> (Node, Vec<f64>) {
    let i = b.axis("i", 3.into());
    (b.position(i, DType::I32), vec![0.0, 1.0, 2.0])
}
