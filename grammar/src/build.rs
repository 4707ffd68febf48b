//! What the grammar's actions call to make nodes. Must never know the grammar's productions.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use crate::ast::*;
use crate::span::{FileId, Span};
use crate::tokens;

/// What the nodes of one item are made with.
#[derive(Debug)]
pub struct Builder<'a> {
    file: FileId,
    /// The doc comment above the token that starts at an offset.
    docs: &'a HashMap<u32, SmolStr>,
    /// For each error token the names that the broken part would have defined.
    broken: &'a [Vec<Ident>],
    /// As in [`File::parens`].
    pub parens: HashSet<Span>,
    /// What the grammar lets pass and the language does not.
    pub problems: Vec<(Problem, Span)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// `Idx` without a range, or with several.
    IdxRange,
    /// `f32[N][M]`: only `Idx` has two groups.
    SecondAxes,
    /// A rule after the body that is not called `grad`.
    NotGrad,
    /// `m <- e` as a statement.
    LeftArrow,
    /// `scan backwards t`: only `reverse` may stand there.
    NotReverse,
    /// `scan … unroll 8 { … }`: the only clause is `truncate`.
    NotTruncate,
}

impl<'a> Builder<'a> {
    pub fn new(file: FileId, docs: &'a HashMap<u32, SmolStr>, broken: &'a [Vec<Ident>]) -> Builder<'a> {
        Builder { file, docs, broken, parens: HashSet::new(), problems: Vec::new() }
    }

    pub fn span(&self, start: u32, end: u32) -> Span {
        // An empty production at the end of its parent starts at the next token.
        Span::new(self.file, start.min(end), end)
    }

    pub fn doc(&self, start: u32) -> Option<SmolStr> {
        self.docs.get(&start).cloned()
    }

    /// The names that the n-th broken part would have defined.
    pub fn defines(&self, broken: u32) -> Vec<Ident> {
        self.broken.get(broken as usize).cloned().unwrap_or_default()
    }

    pub fn ident(&self, start: u32, name: &str, end: u32) -> Ident {
        Ident { name: SmolStr::new(name), span: self.span(start, end) }
    }

    pub fn string(&self, start: u32, raw: &str, end: u32) -> StrLit {
        StrLit { value: tokens::unescape(raw, |_, _| {}), span: self.span(start, end) }
    }

    pub fn expr(&self, start: u32, kind: ExprKind, end: u32) -> Box<Expr> {
        Box::new(Expr { kind, span: self.span(start, end) })
    }

    /// What stands between parentheses: one plain expression is itself, anything else a tuple.
    pub fn parenthesised(&mut self, start: u32, mut entries: Vec<Arg>, comma: bool, end: u32) -> Box<Expr> {
        let plain = |arg: &Arg| arg.label.is_none() && !matches!(arg.value.kind, ExprKind::Pack(_));
        if entries.len() == 1
            && !comma
            && let Some(arg) = entries.pop_if(|arg| plain(arg))
        {
            self.parens.insert(arg.value.span);
            return Box::new(arg.value);
        }
        self.expr(start, ExprKind::Tuple(entries), end)
    }

    /// A named type with its groups of axes; `Idx` alone has the range as its first group.
    pub fn named_type(&mut self, name: Ident, groups: Vec<(Vec<Axis>, Span)>) -> Box<TypeKind> {
        Box::new(self.type_of_groups(name, groups))
    }

    fn type_of_groups(&mut self, name: Ident, groups: Vec<(Vec<Axis>, Span)>) -> TypeKind {
        let mut groups = groups.into_iter();
        if name.name == "Idx" {
            let Some((mut range, span)) = groups.next() else {
                self.problems.push((Problem::IdxRange, name.span));
                return TypeKind::Error;
            };
            if range.len() != 1 {
                self.problems.push((Problem::IdxRange, span));
                return TypeKind::Error;
            }
            let axes = groups.next().map_or_else(Vec::new, |(axes, _)| axes);
            return TypeKind::Index { range: Box::new(range.remove(0)), axes };
        }
        let axes = groups.next().map_or_else(Vec::new, |(axes, _)| axes);
        if let Some((_, span)) = groups.next() {
            self.problems.push((Problem::SecondAxes, span));
            return TypeKind::Error;
        }
        TypeKind::Named { name, axes }
    }

    /// A definition: a single group of parameters is the tensor group.
    pub fn def(
        &mut self,
        span: Span,
        (head, head_span): (Head, Span),
        name: Ident,
        (first, second): (Vec<Param>, Option<Vec<Param>>),
        (result, constraint): (Option<Box<Type>>, Option<Box<Expr>>),
        (body, grad): (Box<Expr>, Option<Box<GradRule>>),
    ) -> Box<Def> {
        let (statics, tensors) = match second {
            Some(tensors) => (first, tensors),
            None => (Vec::new(), first),
        };
        let doc = self.doc(span.start);
        let (result, constraint) = (unboxed(result), unboxed(constraint));
        let (body, grad) = (*body, unboxed(grad));
        Box::new(Def { head, head_span, name, statics, tensors, result, constraint, body, grad, doc, span })
    }

    pub fn grad_rule(&mut self, word: Ident, params: Vec<Ident>, body: Block) -> Box<GradRule> {
        if word.name != "grad" {
            self.problems.push((Problem::NotGrad, word.span));
        }
        let span = word.span.to(body.span);
        Box::new(GradRule { params, body, span })
    }

    /// `scan reverse t (…) truncate 64 { … }`
    pub fn scan(
        &mut self,
        direction: Option<Ident>,
        binds: Vec<Bind>,
        carries: Vec<Param>,
        clause: Option<(Ident, Box<Expr>)>,
        body: Block,
    ) -> ExprKind {
        if let Some(word) = direction.as_ref().filter(|word| word.name != "reverse") {
            self.problems.push((Problem::NotReverse, word.span));
        }
        if let Some((word, _)) = clause.as_ref().filter(|(word, _)| word.name != "truncate") {
            self.problems.push((Problem::NotTruncate, word.span));
        }
        let (reverse, truncate) = (direction.map(|word| word.span), clause.map(|(_, length)| *length));
        ExprKind::Scan(Box::new(Scan { reverse, binds, carries, truncate, body }))
    }

    /// The last statement is the block's value where it is an expression.
    pub fn block(&mut self, start: u32, mut stmts: Vec<Stmt>, end: u32) -> Block {
        let tail = match stmts.pop() {
            Some(Stmt { kind: StmtKind::Expr(value), .. }) => Some(Box::new(value)),
            Some(other) => {
                stmts.push(other);
                None
            }
            None => None,
        };
        for stmt in &mut stmts {
            self.refuse_left_arrow(stmt);
        }
        Block { stmts, tail, span: self.span(start, end) }
    }

    /// `m <- e` reads as the comparison `m < -e`, whose value nobody uses.
    fn refuse_left_arrow(&mut self, stmt: &mut Stmt) {
        if let StmtKind::Expr(Expr { kind: ExprKind::Compare { op: CmpOp::Lt, left, right }, .. }) = &stmt.kind
            && let (ExprKind::Name(name), Some(minus)) = (&left.kind, leading_minus(right))
            // One byte of `<` between them and at most one space.
            && minus <= name.span.end + 2
        {
            self.problems.push((Problem::LeftArrow, stmt.span));
            stmt.kind = StmtKind::Error { defines: Vec::new() };
        }
    }
}

/// Where an expression starts, if it starts with a minus sign.
fn leading_minus(expr: &Expr) -> Option<u32> {
    match &expr.kind {
        ExprKind::Unary { op: UnaryOp::Neg, .. } => Some(expr.span.start),
        ExprKind::Binary { left, .. } => leading_minus(left),
        _ => None,
    }
}

/// What a box holds: lists hold nodes, not boxes.
pub type Unboxed<B> = <B as std::ops::Deref>::Target;

pub fn unboxed<T>(node: Option<Box<T>>) -> Option<T> {
    node.map(|node| *node)
}

/// The lexer has reported a literal that is too large.
pub fn int(digits: &str) -> ExprKind {
    ExprKind::Int(tokens::int_value(digits).unwrap_or(u64::MAX))
}

pub fn float(digits: &str) -> ExprKind {
    ExprKind::Float(tokens::float_value(digits).unwrap_or(f64::MAX))
}

pub fn unary(op: UnaryOp, operand: Box<Expr>) -> ExprKind {
    ExprKind::Unary { op, operand }
}

pub fn binary(left: Box<Expr>, op: BinaryOp, right: Box<Expr>) -> ExprKind {
    ExprKind::Binary { op, left, right }
}

pub fn compare(left: Box<Expr>, op: CmpOp, right: Box<Expr>) -> ExprKind {
    ExprKind::Compare { op, left, right }
}

pub fn logic(left: Box<Expr>, op: LogicOp, right: Box<Expr>) -> ExprKind {
    ExprKind::Logic { op, left, right }
}

pub fn pipe(value: Box<Expr>, stage: Box<Expr>) -> ExprKind {
    ExprKind::Pipe { value, stage }
}

pub fn conditional(condition: Expr, then: Block, otherwise: Option<Box<Expr>>) -> ExprKind {
    ExprKind::If(Box::new(If { condition, then, otherwise: unboxed(otherwise) }))
}

pub fn binder(reducer: Reducer, (binds, guard, body): (Vec<Bind>, Option<Box<Expr>>, Box<Expr>)) -> ExprKind {
    ExprKind::Binder(Box::new(Binder { reducer, binds, guard: unboxed(guard), body: *body }))
}

pub fn name_expr(ident: Ident) -> Expr {
    Expr { span: ident.span, kind: ExprKind::Name(ident) }
}

pub fn name_pattern(ident: Ident) -> Pat {
    let span = ident.span;
    let kind = if ident.name == "_" { PatKind::Ignore } else { PatKind::Name(ident) };
    Pat { kind, span }
}
