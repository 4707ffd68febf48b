//! The scalar functions: one table with dtype rule, value and derivative of each.

use crate::tensor::DType;

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
    Cast(DType),
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

/// What is known of a scalar function: no field is optional.
pub struct ScalarDef {
    /// The name in nn and in the graph's text.
    pub name: &'static str,
    pub arity: usize,
    pub dtype: DTypeRule,
}

/// What dtypes a function takes, and what it gives. Arguments are never converted: where a rule says "one", all have the same.
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
    /// All functions; `Cast` stands for all casts.
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
            Cast(DType::F32),
        ]
    };

    /// The function's row.
    pub const fn def(self) -> ScalarDef {
        use DTypeRule as D;
        const fn row(name: &'static str, arity: usize, dtype: DTypeRule) -> ScalarDef {
            ScalarDef { name, arity, dtype }
        }
        match self {
            ScalarFn::Neg => row("neg", 1, D::Number),
            ScalarFn::Abs => row("abs", 1, D::Number),
            ScalarFn::Sign => row("sign", 1, D::Number),
            ScalarFn::Sqrt => row("sqrt", 1, D::Float),
            ScalarFn::Exp => row("exp", 1, D::Float),
            ScalarFn::Log => row("log", 1, D::Float),
            ScalarFn::Sin => row("sin", 1, D::Float),
            ScalarFn::Cos => row("cos", 1, D::Float),
            ScalarFn::Tanh => row("tanh", 1, D::Float),
            ScalarFn::Sigmoid => row("sigmoid", 1, D::Float),
            ScalarFn::Erf => row("erf", 1, D::Float),
            ScalarFn::Floor => row("floor", 1, D::Float),
            ScalarFn::Ceil => row("ceil", 1, D::Float),
            ScalarFn::Round => row("round", 1, D::Float),
            ScalarFn::Not => row("not", 1, D::Logic),
            ScalarFn::Cast(to) => row(to.name(), 1, D::Cast(to)),
            ScalarFn::Add => row("add", 2, D::Number),
            ScalarFn::Sub => row("sub", 2, D::Number),
            ScalarFn::Mul => row("mul", 2, D::Number),
            ScalarFn::Div => row("div", 2, D::Number),
            ScalarFn::Rem => row("rem", 2, D::Number),
            ScalarFn::Pow => row("pow", 2, D::Float),
            ScalarFn::Max => row("max", 2, D::Number),
            ScalarFn::Min => row("min", 2, D::Number),
            ScalarFn::Lt => row("lt", 2, D::Order),
            ScalarFn::Le => row("le", 2, D::Order),
            ScalarFn::Eq => row("eq", 2, D::Equality),
            ScalarFn::Ne => row("ne", 2, D::Equality),
            ScalarFn::And => row("and", 2, D::Logic),
            ScalarFn::Or => row("or", 2, D::Logic),
            ScalarFn::Select => row("select", 3, D::Select),
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
        let ScalarDef { name, arity, dtype: rule } = self.def();
        if args.len() != arity {
            return Err(format!("{name} takes {arity} arguments, not {}", args.len()));
        }
        let values = if rule == DTypeRule::Select { &args[1..] } else { args };
        let one = values.iter().all(|dtype| *dtype == values[0]);
        let dtype = values[0];
        let result = match rule {
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
