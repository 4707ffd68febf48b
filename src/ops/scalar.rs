//! The scalar functions: one table with value, derivative and expansion of each.

/// A function of one entry of each argument. The table in this file holds its law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarFn {
    Neg,
    Abs,
    /// -1, 0 or 1; NaN stays.
    Sign,
    Sqrt,
    Exp,
    Log,
    Sin,
    Cos,
    Tanh,
    /// 1 / (1 + exp(-x)), without overflow.
    Sigmoid,
    Erf,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Not,
    /// Saturating conversion to a dtype.
    Cast(crate::tensor::DType),
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Pow,
    /// NaN if either is NaN; the derivative is split evenly at ties.
    Max,
    Min,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Or,
    /// `cond, a, b`: the side that is not taken gives derivative 0.
    Select,
}
