//! Values without arguments: inputs, carries, constants, sizes, positions.

use super::{OpDef, Shape, Typing};
use crate::graph::sets::set;
use crate::graph::{AxisSet, Literal, Op};
use crate::tensor::DType;

/// The graph's input of this index; its axes are those of `Input::order`.
pub static INPUT: OpDef = OpDef { name: "input", shape: input };

/// A region's parameter; its type is its own (the verifier compares it with what the scan gives it).
pub static CARRY: OpDef = OpDef { name: "carry", shape: carry };

/// A scalar of the node's dtype.
pub static CONSTANT: OpDef = OpDef { name: "constant", shape: constant };

/// The value of a dim as a scalar of the node's dtype, a number.
pub static SIZE: OpDef = OpDef { name: "size", shape: size };

/// The index along an axis, of the node's dtype, an integer.
pub static POSITION: OpDef = OpDef { name: "position", shape: position };

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
