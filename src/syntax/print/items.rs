//! Items, types and statements as documents.

use nn_grammar::ast::*;

use crate::base::Span;

use super::comments::Printer;
use super::doc::{Doc, flat};

/// Widest name and type together that neighbouring `param`s are aligned at.
const ALIGNED: usize = 60;

/// Widest result type that stays on the line of the closing parenthesis.
const RESULT: usize = 70;

impl Printer<'_> {
    pub fn file(&mut self, file: &File) -> Doc {
        let items: Vec<_> = file.items.iter().map(|item| (item.span, item)).collect();
        self.rows(&items, file.span.end, false, |printer, _, item| printer.item(item))
    }

    fn item(&mut self, item: &Item) -> Doc {
        match &item.kind {
            ItemKind::Def(def) => self.def(def),
            ItemKind::Train(train) => self.train(train, item.span),
            ItemKind::Test(test) => {
                let body = self.block(&test.body);
                Doc::concat(["test ".into(), self.slice(test.name.span).into(), " ".into(), body])
            }
            ItemKind::Use(used) => {
                let alias = used.alias.as_ref().map_or(String::new(), |alias| format!(" as {alias}"));
                format!("use {}{alias}", self.slice(used.path.span)).into()
            }
            ItemKind::Let(binding) => self.binding("let ", binding),
            // Broken files are not printed.
            ItemKind::Error { .. } => Doc::empty(),
        }
    }

    fn def(&mut self, def: &Def) -> Doc {
        let mut head = vec![format!("{} {}", def.head.as_str(), def.name).into()];
        if !def.statics.is_empty() {
            head.push(self.params(&def.statics));
        }
        head.push(self.params(&def.tensors));
        if let Some(result) = &def.result {
            // The parameters break before the result does.
            let text = self.type_text(result);
            let result = if text.chars().count() <= RESULT { text.into() } else { self.ty(result) };
            head.extend([" -> ".into(), result]);
        }
        if let Some(constraint) = &def.constraint {
            let constraint = self.expr(constraint);
            head.push(Doc::concat([Doc::Line, "where ".into(), constraint]).indent().group());
        }
        match &def.body.kind {
            ExprKind::Block(body) => head.extend([" ".into(), self.block(body)]),
            _ => {
                let body = self.expr(&def.body);
                head.push(Doc::concat([" =".into(), Doc::concat([Doc::Line, body]).indent()]).group());
            }
        }
        if let Some(grad) = &def.grad {
            let names: Vec<&str> = grad.params.iter().map(Ident::as_str).collect();
            head.extend([format!(" grad({}) ", names.join(", ")).into(), self.block(&grad.body)]);
        }
        Doc::Concat(head)
    }

    pub fn params(&mut self, params: &[Param]) -> Doc {
        let end = params.last().map_or(0, |last| self.closing(last.span.end, b')'));
        self.listed(
            ["(", ")"],
            params,
            end,
            |param| param.span,
            |printer, param| {
                let mut doc = vec![format!("{}: ", param.name).into(), printer.ty(&param.ty)];
                if let Some(default) = &param.default {
                    doc.extend([" = ".into(), printer.expr(default)]);
                }
                Doc::Concat(doc)
            },
        )
    }

    /// The words of the clauses are brought to one width.
    fn train(&mut self, train: &Train, span: Span) -> Doc {
        let mut head = vec!["train".into()];
        head.extend(train.name.as_ref().map(|name| format!(" {name}").into()));
        if !train.statics.is_empty() {
            head.push(self.params(&train.statics));
        }
        let word = |clause: &Clause| match &clause.kind {
            ClauseKind::Word { word, .. } | ClauseKind::Quantity { word, .. } => word.name.clone(),
            _ => "let".into(),
        };
        let width = train.clauses.iter().map(|clause| word(clause).chars().count()).max().unwrap_or(0);
        let clauses: Vec<_> = train.clauses.iter().map(|clause| (clause.span, clause)).collect();
        let brace = self.closing(train_head_end(train, span), b'{');
        let opening = clauses.first().map_or(span.end, |(first, _)| first.start);
        let comment = self.trailing(brace + 1, opening);
        let rows = self.rows(&clauses, span.end - 1, false, |printer, _, clause| {
            let word = format!("{:width$} ", word(clause));
            match &clause.kind {
                ClauseKind::Word { name, value, .. } => {
                    let name = name.as_ref().map_or(Doc::empty(), |name| format!("{name} = ").into());
                    Doc::concat([word.into(), name, printer.expr(value)])
                }
                ClauseKind::Quantity { value, unit, .. } => {
                    Doc::concat([word.into(), printer.expr(value), format!(" {unit}").into()])
                }
                ClauseKind::Let(binding) => printer.binding(&word, binding),
                ClauseKind::Error { .. } => Doc::empty(),
            }
        });
        let body = Doc::concat([Doc::HardLine, rows]).indent();
        head.extend([" {".into(), comment, body, Doc::HardLine, "}".into()]);
        Doc::Concat(head)
    }

    // ---- types -------------------------------------------------------------------------------

    pub fn ty(&mut self, ty: &Type) -> Doc {
        match &ty.kind {
            TypeKind::Named { name, axes } if axes.is_empty() => name.as_str().into(),
            TypeKind::Named { name, axes } => Doc::concat([name.as_str().into(), self.axes(axes)]),
            TypeKind::Index { range, axes } => {
                let mut doc = vec!["Idx[".into(), self.axis(range), "]".into()];
                if !axes.is_empty() {
                    doc.push(self.axes(axes));
                }
                Doc::Concat(doc)
            }
            TypeKind::Tuple(fields) => self.listed(
                ["(", ")"],
                fields,
                ty.span.end - 1,
                |field| field.ty.span,
                |printer, field| {
                    let label = field.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
                    Doc::concat([label.into(), printer.ty(&field.ty)])
                },
            ),
            TypeKind::List(entry) => Doc::concat(["[".into(), self.ty(entry), "]".into()]),
            TypeKind::Fn { params, result } => {
                let end = params.last().map_or(0, |last| self.closing(last.span.end, b')'));
                let params = self.listed(["fn(", ")"], params, end, |ty| ty.span, Self::ty);
                Doc::concat([params, " -> ".into(), self.ty(result)])
            }
            TypeKind::Layer => "layer".into(),
            TypeKind::Error => Doc::empty(),
        }
    }

    fn axes(&mut self, axes: &[Axis]) -> Doc {
        let end = axes.last().map_or(0, |last| self.closing(last.span.end, b']'));
        self.listed(["[", "]"], axes, end, |axis| axis.span, Self::axis)
    }

    fn axis(&mut self, axis: &Axis) -> Doc {
        match &axis.kind {
            AxisKind::Size(size) => self.expr(size),
            AxisKind::Kinded { kind, name } => format!("{kind} {name}").into(),
            AxisKind::Pack(pack) => format!("..{pack}").into(),
        }
    }

    // ---- statements --------------------------------------------------------------------------

    /// A block on one line stays there if it fits.
    pub fn block(&mut self, block: &Block) -> Doc {
        self.open_block(block).group()
    }

    /// A block whose lines break with the group around it.
    pub fn open_block(&mut self, block: &Block) -> Doc {
        enum Row<'b> {
            Stmt(&'b Stmt),
            Value(&'b Expr),
        }
        let mut nodes: Vec<_> = block.stmts.iter().map(|stmt| (stmt.span, Row::Stmt(stmt))).collect();
        nodes.extend(block.tail.as_deref().map(|tail| (tail.span, Row::Value(tail))));
        let line = if self.broken(block.span.start, block.span.end) { Doc::HardLine } else { Doc::Line };
        let (start, end) = (block.span.start + 1, block.span.end - 1);
        let comment = self.trailing(start, nodes.first().map_or(end, |(first, _)| first.start));
        let spans: Vec<Span> = nodes.iter().map(|(span, _)| *span).collect();
        let columns = self.columns(&block.stmts, &spans);
        let rows = self.rows(&nodes, end, true, |printer, index, row| match row {
            Row::Stmt(stmt) => printer.stmt(stmt, columns.get(index).copied().flatten()),
            Row::Value(value) => printer.expr(value),
        });
        if nodes.is_empty() && flat(&rows).is_empty() {
            return Doc::concat(["{}".into(), comment]);
        }
        let body = Doc::concat([line.clone(), rows]).indent();
        Doc::concat(["{".into(), comment, body, line, "}".into()])
    }

    /// For each statement the widths of name and type, where it is one of several `param`s and `state`s on
    /// neighbouring lines of their own. `rows` are the places of the statements and of the block's value.
    fn columns(&self, stmts: &[Stmt], rows: &[Span]) -> Vec<Option<(usize, usize)>> {
        let between = |row: usize| {
            rows.get(row + 1).map(|next| &self.text[rows[row].end as usize..next.start as usize])
        };
        let ends_line = |row: usize| between(row).is_none_or(|between| between.contains('\n'));
        // On lines of its own, and without comments inside.
        let single = |row: usize| {
            declared(&stmts[row]).is_some()
                && ends_line(row)
                && (row == 0 || ends_line(row - 1))
                && !self.slice(rows[row]).contains("//")
        };
        // No empty line and no line of comment between the two.
        let neighbours = |row: usize| between(row).is_some_and(|between| between.matches('\n').count() == 1);
        let mut columns = vec![None; stmts.len()];
        let mut row = 0;
        while row < stmts.len() {
            let start = row;
            row += 1;
            while row < stmts.len() && single(row - 1) && single(row) && neighbours(row - 1) {
                row += 1;
            }
            if row - start < 2 {
                continue;
            }
            let run = stmts[start..row].iter().filter_map(declared);
            let (mut name, mut ty) = (0, 0);
            for declare in run {
                name = name.max(declare.name.name.chars().count());
                ty = ty.max(self.type_text(&declare.ty).chars().count());
            }
            if name + ty <= ALIGNED {
                columns[start..row].fill(Some((name, ty)));
            }
        }
        columns
    }

    /// A type on one line; comments in it are left for their row.
    fn type_text(&self, ty: &Type) -> String {
        flat(&Printer::new(self.text, &[], self.parens).ty(ty))
    }

    fn stmt(&mut self, stmt: &Stmt, columns: Option<(usize, usize)>) -> Doc {
        match &stmt.kind {
            StmtKind::Let(binding) => self.binding("let ", binding),
            StmtKind::Param(declare) => self.declare("param", declare, columns),
            StmtKind::State(declare) => self.declare("state", declare, columns),
            StmtKind::Assign { name, value } => Doc::concat([format!("{name} = ").into(), self.expr(value)]),
            StmtKind::Write { name, value } => Doc::concat([format!("{name} := ").into(), self.expr(value)]),
            StmtKind::For { pat, list, body } => {
                let head = format!("for {} in ", pattern(pat));
                let list = self.expr(list);
                Doc::concat([head.into(), list, " ".into(), self.block(body)])
            }
            StmtKind::Yield(value) => Doc::concat(["yield ".into(), self.expr(value)]),
            StmtKind::Assert(condition) => Doc::concat(["assert ".into(), self.expr(condition)]),
            StmtKind::Def(def) => self.def(def),
            StmtKind::Expr(value) => self.expr(value),
            StmtKind::Error { .. } => Doc::empty(),
        }
    }

    fn binding(&mut self, word: &str, binding: &Let) -> Doc {
        let mut doc = vec![format!("{word}{}", pattern(&binding.pat)).into()];
        if let Some(ty) = &binding.ty {
            doc.extend([": ".into(), self.ty(ty)]);
        }
        doc.extend([" = ".into(), self.expr(&binding.value)]);
        Doc::Concat(doc)
    }

    fn declare(&mut self, word: &str, declare: &Declare, columns: Option<(usize, usize)>) -> Doc {
        let name = format!("{}:", declare.name);
        let head = match columns {
            Some((name_width, width)) => {
                let ty = self.type_text(&declare.ty);
                format!("{word} {name:0$} {ty:width$} = ", name_width + 1).into()
            }
            None => Doc::concat([format!("{word} {name} ").into(), self.ty(&declare.ty), " = ".into()]),
        };
        Doc::concat([head, self.expr(&declare.value)])
    }
}

fn declared(stmt: &Stmt) -> Option<&Declare> {
    match &stmt.kind {
        StmtKind::Param(declare) | StmtKind::State(declare) => Some(declare),
        _ => None,
    }
}

fn pattern(pat: &Pat) -> String {
    match &pat.kind {
        PatKind::Name(name) => name.to_string(),
        PatKind::Ignore => "_".to_string(),
        PatKind::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(pattern).collect();
            format!("({})", parts.join(", "))
        }
    }
}

/// An offset after the head's last parameter or name, and before its `{`.
fn train_head_end(train: &Train, span: Span) -> u32 {
    let name = train.name.as_ref().map_or(span.start, |name| name.span.end);
    train.statics.last().map_or(name, |last| last.span.end)
}
