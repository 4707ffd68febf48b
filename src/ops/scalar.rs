//! The scalar functions: one table with dtype rule, value and derivative of each.

use super::derivative::{self, Derivative};
use super::value::{self, Value};
use crate::tensor::DType;

/// A function of one entry of each argument. The table in this file holds its law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarFn {
    /// Integers wrap.
    Neg,
    Abs,
    /// -1, 0 or 1; NaN stays, and so does the sign of a zero.
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
    Cast(DType),
    /// Integers wrap, here and below.
    Add,
    Sub,
    Mul,
    /// Integers: rounded towards minus infinity; `x / 0` is 0.
    Div,
    /// `x - y * floor(x / y)`, of the sign of `y`; integers: by 0 it is 0.
    Rem,
    /// Of floats: `x` to the power `y`.
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

/// What is known of a scalar function: no field is optional.
#[derive(Clone, Copy)]
pub struct ScalarDef {
    /// The name in nn and in the graph's text.
    pub name: &'static str,
    pub arity: usize,
    pub dtype: DTypeRule,
    pub value: Value,
    pub derivative: Derivative,
}

/// What dtypes a function takes, and what it gives. Arguments are never converted: where a rule says "one", all have the same. The floats of
/// 16 bits are selected and cast, and nothing else is computed with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DTypeRule {
    /// One float dtype, which is the result's.
    Float,
    /// One number dtype, which is the result's.
    Number,
    /// One number dtype; gives bool.
    Order,
    /// One dtype; gives bool.
    Equality,
    Logic,
    /// bool and twice one dtype, which is the result's.
    Select,
    /// Any; gives this.
    Cast(DType),
}

impl ScalarFn {
    /// All functions; one cast stands for all.
    pub const ALL: [ScalarFn; 31] = {
        use ScalarFn::*;
        [
            Neg,
            Abs,
            Sign,
            Sqrt,
            Exp,
            Log,
            Sin,
            Cos,
            Tanh,
            Sigmoid,
            Erf,
            Floor,
            Ceil,
            Round,
            Not,
            Cast(DType::F32),
            Add,
            Sub,
            Mul,
            Div,
            Rem,
            Pow,
            Max,
            Min,
            Lt,
            Le,
            Eq,
            Ne,
            And,
            Or,
            Select,
        ]
    };

    /// The function's row of the table.
    #[rustfmt::skip]
    pub const fn def(self) -> ScalarDef {
        use {DTypeRule as D, Derivative as J, ScalarFn as S, Value as V};
        const fn row(name: &'static str, arity: usize, dtype: DTypeRule, value: Value, derivative: Derivative) -> ScalarDef {
            ScalarDef { name, arity, dtype, value, derivative }
        }
        match self {
            S::Neg => row("neg", 1, D::Number, V::Number1(|x| -x, i64::wrapping_neg), J::Rule(derivative::neg)),
            S::Abs => row("abs", 1, D::Number, V::Number1(f64::abs, i64::wrapping_abs), J::Partial(derivative::abs)),
            S::Sign => row("sign", 1, D::Number, V::Number1(value::sign, i64::signum), J::Zero),
            S::Sqrt => row("sqrt", 1, D::Float, V::Float1(f32::sqrt, f64::sqrt), J::Partial(derivative::sqrt)),
            S::Exp => row("exp", 1, D::Float, V::Float1(f32::exp, f64::exp), J::Partial(derivative::exp)),
            S::Log => row("log", 1, D::Float, V::Float1(f32::ln, f64::ln), J::Rule(derivative::log)),
            S::Sin => row("sin", 1, D::Float, V::Float1(f32::sin, f64::sin), J::Partial(derivative::sin)),
            S::Cos => row("cos", 1, D::Float, V::Float1(f32::cos, f64::cos), J::Partial(derivative::cos)),
            S::Tanh => row("tanh", 1, D::Float, V::Float1(f32::tanh, f64::tanh), J::Partial(derivative::tanh)),
            S::Sigmoid => row("sigmoid", 1, D::Float, V::Float1(value::sigmoid32, value::sigmoid64), J::Partial(derivative::sigmoid)),
            S::Erf => row("erf", 1, D::Float, V::Float1(libm::erff, libm::erf), J::Partial(derivative::erf)),
            S::Floor => row("floor", 1, D::Float, V::Float1(f32::floor, f64::floor), J::Zero),
            S::Ceil => row("ceil", 1, D::Float, V::Float1(f32::ceil, f64::ceil), J::Zero),
            S::Round => row("round", 1, D::Float, V::Float1(f32::round_ties_even, f64::round_ties_even), J::Zero),
            S::Not => row("not", 1, D::Logic, V::Logic(|x, _| !x), J::Zero),
            S::Cast(to) => row(to.name(), 1, D::Cast(to), V::Cast(to), J::Rule(derivative::cast)),
            S::Add => row("add", 2, D::Number, V::Number2(|x, y| x + y, |x, y| x + y, i64::wrapping_add), J::Rule(derivative::add)),
            S::Sub => row("sub", 2, D::Number, V::Number2(|x, y| x - y, |x, y| x - y, i64::wrapping_sub), J::Rule(derivative::sub)),
            S::Mul => row("mul", 2, D::Number, V::Number2(|x, y| x * y, |x, y| x * y, i64::wrapping_mul), J::Rule(derivative::mul)),
            S::Div => row("div", 2, D::Number, V::Number2(|x, y| x / y, |x, y| x / y, value::floor_div), J::Rule(derivative::div)),
            S::Rem => row("rem", 2, D::Number, V::Number2(value::rem32, value::rem64, value::floor_rem), J::Rule(derivative::rem)),
            S::Pow => row("pow", 2, D::Float, V::Float2(f32::powf, f64::powf), J::Rule(derivative::pow)),
            S::Max => row("max", 2, D::Number, V::Number2(value::max, value::max, |x, y| if x < y { y } else { x }), J::Rule(derivative::max)),
            S::Min => row("min", 2, D::Number, V::Number2(value::min, value::min, |x, y| if y < x { y } else { x }), J::Rule(derivative::min)),
            S::Lt => row("lt", 2, D::Order, V::Compare(|x, y| x < y, |x, y| x < y), J::Zero),
            S::Le => row("le", 2, D::Order, V::Compare(|x, y| x <= y, |x, y| x <= y), J::Zero),
            S::Eq => row("eq", 2, D::Equality, V::Compare(|x, y| x == y, |x, y| x == y), J::Zero),
            S::Ne => row("ne", 2, D::Equality, V::Compare(|x, y| x != y, |x, y| x != y), J::Zero),
            S::And => row("and", 2, D::Logic, V::Logic(|x, y| x & y), J::Zero),
            S::Or => row("or", 2, D::Logic, V::Logic(|x, y| x | y), J::Zero),
            S::Select => row("select", 3, D::Select, V::Select, J::Rule(derivative::select)),
        }
    }

    pub fn name(self) -> &'static str {
        self.def().name
    }

    pub fn arity(self) -> usize {
        self.def().arity
    }

    /// The dtype of the value for arguments of these dtypes.
    pub fn dtype(self, args: &[DType]) -> Result<DType, String> {
        let ScalarDef { name, arity, dtype: rule, .. } = self.def();
        if args.len() != arity {
            return Err(format!("{name} takes {arity} arguments, not {}", args.len()));
        }
        let values = if rule == DTypeRule::Select { &args[1..] } else { args };
        let one = values.iter().all(|dtype| *dtype == values[0]);
        let dtype = values[0];
        let computes = !matches!(rule, DTypeRule::Select | DTypeRule::Cast(_));
        let result = match rule {
            _ if computes && dtype.computed() != dtype => None,
            DTypeRule::Float => (one && dtype.is_float()).then_some(dtype),
            DTypeRule::Number => (one && dtype != DType::Bool).then_some(dtype),
            DTypeRule::Order => (one && dtype != DType::Bool).then_some(DType::Bool),
            DTypeRule::Equality => one.then_some(DType::Bool),
            DTypeRule::Logic => (one && dtype == DType::Bool).then_some(DType::Bool),
            DTypeRule::Select => (one && args[0] == DType::Bool).then_some(dtype),
            DTypeRule::Cast(to) => Some(to),
        };
        result.ok_or_else(|| {
            let args: Vec<&str> = args.iter().map(|dtype| dtype.name()).collect();
            format!("{name} does not take ({})", args.join(", "))
        })
    }
}
