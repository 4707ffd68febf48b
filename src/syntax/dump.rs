//! `--emit tokens` and `--emit ast`: what the parser sees and what it makes, as stable text.
//! The tree's text has no places in it, so two files that differ in layout alone have equal trees.

use nn_grammar::ast::*;
use nn_grammar::tokens::Token;

use crate::base::{FileId, Sources};

use super::parse::tokens_of;

/// One line for each token: `line:column` and the token; line ends that end a statement are shown.
pub fn tokens(sources: &Sources, file: FileId) -> String {
    let (text, source) = (sources.text(file), sources.get(file));
    let mut lines = String::new();
    for (start, token, end) in tokens_of(sources, file) {
        let at = source.position(start);
        let written = &text[start as usize..end as usize];
        let kind = match token {
            Token::Name(_) => "name ",
            Token::Int(_) => "int ",
            Token::Float(_) => "float ",
            Token::Str(_) => "string ",
            Token::Newline => "newline",
            Token::Error(_) => "error ",
            _ => "",
        };
        lines.push_str(&format!("{}:{} {kind}{written}\n", at.line, at.column));
    }
    lines
}

/// The tree as nested lists, an item after another.
pub fn tree(file: &File) -> String {
    let mut text = String::new();
    for node in file.items.iter().map(item) {
        node.write(&mut text, 0, 0);
        text.push('\n');
    }
    text
}

/// The tree of one expression.
pub fn expression(expr: &Expr) -> String {
    let mut text = String::new();
    self::expr(expr).write(&mut text, 0, 0);
    text.push('\n');
    text
}

/// Columns that a list may take on one line.
const WIDTH: usize = 100;

enum Node {
    Leaf(String),
    List(Vec<Node>),
}

impl Node {
    /// Characters on one line.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(text) => text.chars().count(),
            Node::List(nodes) => nodes.iter().map(|node| node.width() + 1).sum::<usize>() + 1,
        }
    }

    /// On one line where it fits; otherwise what begins it on the first line, the rest below.
    fn write(&self, text: &mut String, indent: usize, closing: usize) {
        let nodes = match self {
            Node::Leaf(leaf) => return text.push_str(leaf),
            Node::List(nodes) => nodes,
        };
        let flat = indent + self.width() + closing <= WIDTH;
        text.push('(');
        let mut leading = true;
        for (index, node) in nodes.iter().enumerate() {
            leading &= matches!(node, Node::Leaf(_));
            let last = index + 1 == nodes.len();
            if index > 0 && (flat || leading) {
                text.push(' ');
            } else if index > 0 {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent + 2));
            }
            node.write(text, indent + 2, if last { closing + 1 } else { 0 });
        }
        text.push(')');
    }
}

fn leaf(text: impl Into<String>) -> Node {
    Node::Leaf(text.into())
}

fn list(head: &str, nodes: impl IntoIterator<Item = Node>) -> Node {
    Node::List(std::iter::once(leaf(head)).chain(nodes).collect())
}

fn name(ident: &Ident) -> Node {
    leaf(ident.as_str())
}

fn text(value: &str) -> Node {
    leaf(format!("{value:?}"))
}

fn item(item: &Item) -> Node {
    let node = match &item.kind {
        ItemKind::Def(def) => self::def(def),
        ItemKind::Train(train) => {
            let head = [train.name.as_ref().map_or(leaf("_"), name), params("statics", &train.statics)];
            list("train", head.into_iter().chain(train.clauses.iter().map(clause)))
        }
        ItemKind::Test(test) => list("test", [text(&test.name.value), block(&test.body)]),
        ItemKind::Use(used) => {
            list("use", std::iter::once(text(&used.path.value)).chain(used.alias.as_ref().map(name)))
        }
        ItemKind::Let(binding) => self::binding(binding),
        ItemKind::Error { defines } => error(defines),
    };
    documented(node, if matches!(item.kind, ItemKind::Def(_)) { &None } else { &item.doc })
}

fn documented(node: Node, doc: &Option<crate::base::Name>) -> Node {
    match doc {
        Some(doc) => list("doc", [text(doc), node]),
        None => node,
    }
}

fn error(defines: &[Ident]) -> Node {
    list("error", defines.iter().map(name))
}

fn def(def: &Def) -> Node {
    let mut nodes = vec![name(&def.name), params("statics", &def.statics), params("tensors", &def.tensors)];
    nodes.extend(def.result.as_ref().map(|result| list("result", [ty(result)])));
    nodes.extend(def.constraint.as_ref().map(|constraint| list("where", [expr(constraint)])));
    nodes.push(expr(&def.body));
    nodes.extend(def.grad.as_ref().map(|grad| {
        let params = list("params", grad.params.iter().map(name));
        list("grad", [params, block(&grad.body)])
    }));
    documented(list(def.head.as_str(), nodes), &def.doc)
}

fn params(head: &str, params: &[Param]) -> Node {
    list(
        head,
        params.iter().map(|param| {
            let nodes = [name(&param.name), ty(&param.ty)];
            Node::List(nodes.into_iter().chain(param.default.as_ref().map(expr)).collect())
        }),
    )
}

fn clause(clause: &Clause) -> Node {
    let node = match &clause.kind {
        ClauseKind::Word { word, name: None, value } => list(word.as_str(), [expr(value)]),
        ClauseKind::Word { word, name: Some(named), value } => {
            list(word.as_str(), [name(named), expr(value)])
        }
        ClauseKind::Quantity { word, value, unit } => list(word.as_str(), [expr(value), name(unit)]),
        ClauseKind::Let(binding) => self::binding(binding),
        ClauseKind::Error { defines } => error(defines),
    };
    documented(node, &clause.doc)
}

fn binding(binding: &Let) -> Node {
    let annotation = binding.ty.as_ref().map(ty);
    list("let", std::iter::once(pat(&binding.pat)).chain(annotation).chain([expr(&binding.value)]))
}

fn pat(pat: &Pat) -> Node {
    match &pat.kind {
        PatKind::Name(ident) => name(ident),
        PatKind::Ignore => leaf("_"),
        PatKind::Tuple(parts) => list("tuple", parts.iter().map(self::pat)),
    }
}

fn ty(ty: &Type) -> Node {
    match &ty.kind {
        TypeKind::Named { name: ident, axes } if axes.is_empty() => name(ident),
        TypeKind::Named { name, axes } => list(name.as_str(), axes.iter().map(axis)),
        TypeKind::Index { range, axes } => {
            list("Idx", [Node::List(vec![axis(range)])].into_iter().chain(axes.iter().map(axis)))
        }
        TypeKind::Tuple(fields) => {
            list("tuple", fields.iter().map(|field| labelled(&field.label, self::ty(&field.ty))))
        }
        TypeKind::List(entry) => list("list", [self::ty(entry)]),
        TypeKind::Fn { params, result } => {
            list("fn", [list("params", params.iter().map(self::ty)), self::ty(result)])
        }
        TypeKind::Layer => leaf("layer"),
        TypeKind::Error => list("error", []),
    }
}

fn axis(axis: &Axis) -> Node {
    match &axis.kind {
        AxisKind::Size(size) => expr(size),
        AxisKind::Kinded { kind, name: ident } => list(kind.as_str(), [name(ident)]),
        AxisKind::Pack(pack) => leaf(format!("..{pack}")),
    }
}

fn labelled(label: &Option<Ident>, node: Node) -> Node {
    match label {
        Some(label) => list(&format!("{label}:"), [node]),
        None => node,
    }
}

fn block(block: &Block) -> Node {
    let tail = block.tail.as_deref().map(|tail| list("value", [expr(tail)]));
    list("block", block.stmts.iter().map(stmt).chain(tail))
}

fn stmt(stmt: &Stmt) -> Node {
    let declare = |head, declare: &Declare| {
        let node = list(head, [name(&declare.name), ty(&declare.ty), expr(&declare.value)]);
        documented(node, &declare.doc)
    };
    match &stmt.kind {
        StmtKind::Let(binding) => self::binding(binding),
        StmtKind::Param(param) => declare("param", param),
        StmtKind::State(state) => declare("state", state),
        StmtKind::Assign { name: ident, value } => list("=", [name(ident), expr(value)]),
        StmtKind::Write { name: ident, value } => list(":=", [name(ident), expr(value)]),
        StmtKind::For { pat, list: entries, body } => {
            list("for-in", [self::pat(pat), expr(entries), block(body)])
        }
        StmtKind::Yield(value) => list("yield", [expr(value)]),
        StmtKind::Assert(condition) => list("assert", [expr(condition)]),
        StmtKind::Def(def) => self::def(def),
        StmtKind::Expr(value) => expr(value),
        StmtKind::Error { defines } => error(defines),
    }
}

fn expr(expr: &Expr) -> Node {
    let all = |exprs: &[Expr]| exprs.iter().map(self::expr).collect::<Vec<_>>();
    let args = |args: &[Arg]| {
        args.iter().map(|arg| labelled(&arg.label, self::expr(&arg.value))).collect::<Vec<_>>()
    };
    match &expr.kind {
        ExprKind::Name(ident) => name(ident),
        ExprKind::Int(value) => leaf(value.to_string()),
        ExprKind::Float(value) => leaf(format!("{value:?}")),
        ExprKind::Bool(value) => leaf(value.to_string()),
        ExprKind::Str(value) => text(value),
        ExprKind::Tuple(entries) => list("tuple", args(entries)),
        ExprKind::List(entries) => list("list", all(entries)),
        ExprKind::Pack(pack) => leaf(format!("..{pack}")),
        ExprKind::Unary { op, operand } => list(op.as_str(), [self::expr(operand)]),
        ExprKind::Binary { op, left, right } => list(op.as_str(), [self::expr(left), self::expr(right)]),
        ExprKind::Compare { op, left, right } => list(op.as_str(), [self::expr(left), self::expr(right)]),
        ExprKind::Logic { op, left, right } => list(op.as_str(), [self::expr(left), self::expr(right)]),
        ExprKind::Pipe { value, stage } => list("|>", [self::expr(value), self::expr(stage)]),
        ExprKind::Call { callee, args: given } => {
            list("call", [self::expr(callee)].into_iter().chain(args(given)))
        }
        ExprKind::Index { base, at } => {
            list("index", [self::expr(base)].into_iter().chain(at.iter().map(ix)))
        }
        ExprKind::Field { base, name: field } => list("field", [self::expr(base), name(field)]),
        ExprKind::Cast { value, ty } => list("as", [self::expr(value), self::ty(ty)]),
        ExprKind::Binder(binder) => self::binder(binder),
        ExprKind::Lambda(lambda) => {
            let params = lambda.params.iter().map(|param| {
                Node::List([name(&param.name)].into_iter().chain(param.ty.as_ref().map(ty)).collect())
            });
            list("lambda", [list("params", params), self::expr(&lambda.body)])
        }
        ExprKind::Block(block) => self::block(block),
        ExprKind::If(choice) => {
            let otherwise = choice.otherwise.as_ref().map(self::expr);
            list("if", [self::expr(&choice.condition), block(&choice.then)].into_iter().chain(otherwise))
        }
        ExprKind::Scan(scan) => {
            let mut nodes = Vec::from_iter(scan.reverse.map(|_| leaf("reverse")));
            nodes.extend([list("over", scan.binds.iter().map(bind)), params("carries", &scan.carries)]);
            nodes.extend(scan.truncate.as_ref().map(|length| list("truncate", [self::expr(length)])));
            list("scan", nodes.into_iter().chain([block(&scan.body)]))
        }
        ExprKind::Checkpoint(block) => list("checkpoint", [self::block(block)]),
        ExprKind::Assume { property, axes, body } => {
            list("assume", [list(property.as_str(), all(axes)), block(body)])
        }
        ExprKind::Error => list("error", []),
    }
}

fn binder(binder: &Binder) -> Node {
    let reducer = match &binder.reducer {
        Reducer::For(_) => "for",
        Reducer::Named(reducer) => reducer.as_str(),
    };
    let guard = binder.guard.as_ref().map(|guard| list("where", [expr(guard)]));
    let named = binder.binds.iter().all(|bind| bind.range.is_none());
    let binds = match named {
        // A leaf, so that it stays beside the reducer.
        true => leaf(format!(
            "({})",
            Vec::from_iter(binder.binds.iter().map(|bind| bind.name.as_str())).join(" ")
        )),
        false => Node::List(binder.binds.iter().map(bind).collect()),
    };
    let nodes = [leaf(reducer), binds].into_iter().chain(guard);
    list("bind", nodes.chain([expr(&binder.body)]))
}

fn bind(bind: &Bind) -> Node {
    match &bind.range {
        Some(range) => Node::List(vec![name(&bind.name), expr(range)]),
        None => name(&bind.name),
    }
}

fn ix(ix: &Ix) -> Node {
    match &ix.kind {
        IxKind::Point(point) => expr(point),
        IxKind::Slice { start, end } => {
            let end_or_open = |end: &Option<Expr>| end.as_ref().map_or(leaf("_"), expr);
            list("..", [end_or_open(start), end_or_open(end)])
        }
    }
}
