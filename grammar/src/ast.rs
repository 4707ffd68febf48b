//! The syntax tree: what was written, with the place of everything, and nothing that was concluded
//! from it. Must never know names' meanings, types or shapes.
//!
//! Parentheses leave no node: `(a + b) * c` is a product whose left operand spans `a + b`. The
//! spans that were parenthesised are kept in [`File::parens`] for the formatter.
//! Error nodes stand for parts that did not parse; each of them has been reported already, so a
//! consumer passes over them in silence.

use std::collections::HashSet;

use smol_str::SmolStr;

use crate::span::Span;

/// A name where it was written. `_` is an ordinary name here, except in patterns.
#[derive(Debug, Clone, PartialEq)]
pub struct Ident {
    pub name: SmolStr,
    pub span: Span,
}

impl Ident {
    pub fn as_str(&self) -> &str {
        self.name.as_str()
    }
}

impl std::fmt::Display for Ident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// A string literal, escapes resolved; the span includes the quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct StrLit {
    pub value: SmolStr,
    pub span: Span,
}

// ---- files and items -------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub items: Vec<Item>,
    /// Spans of the expressions that stand in parentheses of their own (without the parentheses).
    pub parens: HashSet<Span>,
    /// The whole text.
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub kind: ItemKind,
    /// The `///` lines right above it, joined by newlines, without the slashes.
    pub doc: Option<SmolStr>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    Def(Box<Def>),
    Train(Train),
    Test(Test),
    Use(Use),
    Let(Let),
    /// Did not parse. The names that it would have defined are no unknown names.
    Error {
        defines: Vec<Ident>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Head {
    Fn,
    Layer,
    Model,
    Optimizer,
}

impl Head {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Head::Fn => "fn",
            Head::Layer => "layer",
            Head::Model => "model",
            Head::Optimizer => "optimizer",
        }
    }
}

/// `layer linear(O: dim)(x: f32[I]) -> f32[O] where … { … } grad(g) { … }`
///
/// A single group of parameters is the tensor group; of two, the first is the static one.
#[derive(Debug, Clone, PartialEq)]
pub struct Def {
    pub head: Head,
    pub head_span: Span,
    pub name: Ident,
    pub statics: Vec<Param>,
    pub tensors: Vec<Param>,
    pub result: Option<Type>,
    /// The condition after `where`; several are joined by `and`.
    pub constraint: Option<Expr>,
    /// An [`ExprKind::Block`] where it was written in braces, any expression after `=`.
    pub body: Expr,
    pub grad: Option<GradRule>,
    /// The `///` lines right above it; also for a local `fn`.
    pub doc: Option<SmolStr>,
    pub span: Span,
}

/// `name: type = default`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub name: Ident,
    pub ty: Type,
    pub default: Option<Expr>,
    pub span: Span,
}

/// `grad(g) { … }`: the custom derivative, one name for the gradient of each result.
#[derive(Debug, Clone, PartialEq)]
pub struct GradRule {
    pub params: Vec<Ident>,
    pub body: Block,
    pub span: Span,
}

/// `train digits(lr: f32 = 1e-3) { clauses }`
#[derive(Debug, Clone, PartialEq)]
pub struct Train {
    pub name: Option<Ident>,
    pub statics: Vec<Param>,
    pub clauses: Vec<Clause>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    pub kind: ClauseKind,
    pub doc: Option<SmolStr>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ClauseKind {
    /// `batch 64`, `loss dl = …`. The words are not reserved; the checker knows them.
    Word {
        word: Ident,
        name: Option<Ident>,
        value: Expr,
    },
    /// `memory 512 MiB`
    Quantity {
        word: Ident,
        value: Expr,
        unit: Ident,
    },
    Let(Let),
    /// Did not parse; as in [`ItemKind::Error`].
    Error {
        defines: Vec<Ident>,
    },
}

/// `test "softmax sums to one" { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    pub name: StrLit,
    pub body: Block,
}

/// `use "other.nn" as o`
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    pub path: StrLit,
    pub alias: Option<Ident>,
}

// ---- types -----------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TypeKind {
    /// `f32`, `f32[N, D]`, `dim`, `axis`, `bool`, `any[..S]`: a name and its axes.
    Named {
        name: Ident,
        axes: Vec<Axis>,
    },
    /// `Idx[N]` and `Idx[N][set E]`: positions on the axis `range`, one for each entry of `axes`.
    Index {
        range: Box<Axis>,
        axes: Vec<Axis>,
    },
    /// `(f32[D], f32)` and `(mu: f32[D], s: f32[D])`
    Tuple(Vec<TypeField>),
    /// `[dim]`: a static list.
    List(Box<Type>),
    /// `fn(f32[D]) -> f32[D]`
    Fn {
        params: Vec<Type>,
        result: Box<Type>,
    },
    /// `layer`: any layer, as a static argument.
    Layer,
    Error,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeField {
    pub label: Option<Ident>,
    pub ty: Type,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub kind: AxisKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AxisKind {
    /// `N`, `10`, `heads * E`
    Size(Expr),
    /// `set N`: the kind is a name that the checker knows.
    Kinded { kind: Ident, name: Ident },
    /// `..S`: any axes.
    Pack(Ident),
}

// ---- statements ------------------------------------------------------------------------------

/// The statements of `{ … }`; a last statement that is an expression is the `tail`, the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub tail: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    Let(Let),
    /// `param w: f32[I, O] = zeros`
    Param(Declare),
    /// `state m: f32[C] = zeros`
    State(Declare),
    /// `h = e`: a new value for a local name or a carry.
    Assign {
        name: Ident,
        value: Expr,
    },
    /// `m := e`: the state's value for the next step.
    Write {
        name: Ident,
        value: Expr,
    },
    /// `for (a, b) in list { … }`, unrolled.
    For {
        pat: Pat,
        list: Expr,
        body: Block,
    },
    Yield(Expr),
    Assert(Expr),
    Def(Box<Def>),
    /// An expression whose value is not used: an error, unless it is an `if` or a block.
    Expr(Expr),
    /// Did not parse; as in [`ItemKind::Error`].
    Error {
        defines: Vec<Ident>,
    },
}

/// `let pat: ty = value`
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    pub pat: Pat,
    pub ty: Option<Type>,
    pub value: Expr,
}

/// What follows `param` and `state`.
#[derive(Debug, Clone, PartialEq)]
pub struct Declare {
    pub name: Ident,
    pub ty: Type,
    pub value: Expr,
    pub doc: Option<SmolStr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pat {
    pub kind: PatKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PatKind {
    Name(Ident),
    /// `_`
    Ignore,
    Tuple(Vec<Pat>),
}

// ---- expressions -----------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Name(Ident),
    Int(u64),
    Float(f64),
    Bool(bool),
    Str(SmolStr),
    /// `(a, b)`, `(mu: a, logvar: b)`, `()`, `(batch, ..S)`
    Tuple(Vec<Arg>),
    List(Vec<Expr>),
    /// `..S` as an argument or an entry of a tuple; nowhere else.
    Pack(Ident),
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Comparisons do not chain.
    Compare {
        op: CmpOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Logic {
        op: LogicOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `value |> stage`: the value becomes the first tensor argument of the stage.
    Pipe {
        value: Box<Expr>,
        stage: Box<Expr>,
    },
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    /// `x[i, 0, a..b]`
    Index {
        base: Box<Expr>,
        at: Vec<Ix>,
    },
    Field {
        base: Box<Expr>,
        name: Ident,
    },
    /// `value as f32[T, D]`
    Cast {
        value: Box<Expr>,
        ty: Type,
    },
    Binder(Box<Binder>),
    Lambda(Box<Lambda>),
    Block(Block),
    If(Box<If>),
    Scan(Box<Scan>),
    /// `checkpoint { … }`
    Checkpoint(Block),
    /// `assume invariant(N) { … }`
    Assume {
        property: Ident,
        axes: Vec<Expr>,
        body: Block,
    },
    Error,
}

/// An argument of a call or an entry of a tuple: `value`, `label: value` or `..S`.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    pub label: Option<Ident>,
    pub value: Expr,
    pub span: Span,
}

/// One index between brackets.
#[derive(Debug, Clone, PartialEq)]
pub struct Ix {
    pub kind: IxKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum IxKind {
    Point(Expr),
    /// `a..b`, each end optional; the end is not included.
    Slice {
        start: Option<Expr>,
        end: Option<Expr>,
    },
}

/// `sum i: K, j where g => e` and `for t => e`
#[derive(Debug, Clone, PartialEq)]
pub struct Binder {
    pub reducer: Reducer,
    pub binds: Vec<Bind>,
    pub guard: Option<Expr>,
    pub body: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reducer {
    /// `for`: one entry for each point. The span is the keyword's.
    For(Span),
    /// `sum`, `max`, `softmax` …: a name that the checker knows.
    Named(Ident),
}

/// `i` or `i: K`
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    pub name: Ident,
    pub range: Option<Expr>,
    pub span: Span,
}

/// `fn(x, k: f32) => e`
#[derive(Debug, Clone, PartialEq)]
pub struct Lambda {
    pub params: Vec<LambdaParam>,
    pub body: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LambdaParam {
    pub name: Ident,
    pub ty: Option<Type>,
    pub span: Span,
}

/// `if c { … } else { … }`; `otherwise` is a Block or an If.
#[derive(Debug, Clone, PartialEq)]
pub struct If {
    pub condition: Expr,
    pub then: Block,
    pub otherwise: Option<Expr>,
}

/// `scan t: T (h: f32[H] = 0) truncate 64 { … }`, or `scan reverse t (…) { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// The span of the word `reverse`, where it stands.
    pub reverse: Option<Span>,
    pub binds: Vec<Bind>,
    pub carries: Vec<Param>,
    pub truncate: Option<Expr>,
    pub body: Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Neg,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    /// `@`
    MatMul,
    /// `**`
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `~=`: equal within a tolerance.
    Approx,
    /// `e in A`: the point lies on the axis.
    In,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogicOp {
    And,
    Or,
}

impl UnaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "not",
        }
    }
}

impl BinaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::MatMul => "@",
            BinaryOp::Pow => "**",
        }
    }
}

impl CmpOp {
    pub fn as_str(self) -> &'static str {
        match self {
            CmpOp::Eq => "==",
            CmpOp::Ne => "!=",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
            CmpOp::Approx => "~=",
            CmpOp::In => "in",
        }
    }
}

impl LogicOp {
    pub fn as_str(self) -> &'static str {
        match self {
            LogicOp::And => "and",
            LogicOp::Or => "or",
        }
    }
}

impl Expr {
    /// The name, where the expression is nothing but one.
    pub fn as_name(&self) -> Option<&Ident> {
        match &self.kind {
            ExprKind::Name(ident) => Some(ident),
            _ => None,
        }
    }

    /// The operands of a chain of `and`, from left to right; anything else is its own only conjunct.
    pub fn conjuncts(&self) -> Vec<&Expr> {
        let mut found = Vec::new();
        let mut rest = vec![self];
        while let Some(expr) = rest.pop() {
            match &expr.kind {
                ExprKind::Logic { op: LogicOp::And, left, right } => rest.extend([&**right, &**left]),
                _ => found.push(expr),
            }
        }
        found
    }
}
