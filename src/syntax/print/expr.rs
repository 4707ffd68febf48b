//! Expressions as documents. Parentheses are those that were written: the tree needs no others.

use nn_grammar::ast::*;

use crate::base::Span;

use super::comments::Printer;
use super::doc::Doc;

/// A list of more numbers than this is filled line by line.
const FILLED: usize = 8;

impl Printer<'_> {
    pub fn expr(&mut self, expr: &Expr) -> Doc {
        let doc = self.bare(expr);
        if self.in_parens(expr) { Doc::concat(["(".into(), doc, ")".into()]) } else { doc }
    }

    fn in_parens(&self, expr: &Expr) -> bool {
        self.parens.contains(&expr.span)
    }

    /// An expression without its parentheses.
    fn bare(&mut self, expr: &Expr) -> Doc {
        match &expr.kind {
            ExprKind::Name(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_) => self.slice(expr.span).into(),
            ExprKind::Tuple(entries) => {
                // Without its comma `(x,)` would be x.
                let single = matches!(&entries[..], [Arg { label: None, value, .. }]
                    if !matches!(value.kind, ExprKind::Pack(_)));
                let close = if single { ",)" } else { ")" };
                self.listed(["(", close], entries, expr.span.end - 1, |arg| arg.span, Self::arg)
            }
            ExprKind::List(entries) => self.list(entries, expr.span),
            ExprKind::Pack(pack) => format!("..{pack}").into(),
            ExprKind::Unary { op: UnaryOp::Neg, operand } => Doc::concat(["-".into(), self.expr(operand)]),
            ExprKind::Unary { op: UnaryOp::Not, operand } => Doc::concat(["not ".into(), self.expr(operand)]),
            ExprKind::Binary { .. } => self.binary(expr),
            ExprKind::Compare { op, left, right } => {
                let left = self.expr(left);
                let right = Doc::concat([Doc::Line, self.expr(right)]).indent();
                Doc::concat([left, format!(" {}", op.as_str()).into(), right]).group()
            }
            ExprKind::Logic { .. } => self.logic(expr),
            ExprKind::Pipe { .. } => self.pipe(expr),
            ExprKind::Call { callee, args } => {
                let callee = self.expr(callee);
                let args = self.listed(["(", ")"], args, expr.span.end - 1, |arg| arg.span, Self::arg);
                Doc::concat([callee, args])
            }
            ExprKind::Index { base, at } => {
                let base = self.expr(base);
                let at = self.listed(["[", "]"], at, expr.span.end - 1, |ix| ix.span, Self::ix);
                Doc::concat([base, at])
            }
            ExprKind::Field { base, name } => Doc::concat([self.expr(base), format!(".{name}").into()]),
            ExprKind::Cast { value, ty } => Doc::concat([self.expr(value), " as ".into(), self.ty(ty)]),
            ExprKind::Binder(binder) => self.binder(binder),
            ExprKind::Lambda(lambda) => self.lambda(lambda),
            ExprKind::Block(block) => self.block(block),
            ExprKind::If(choice) => self.choice(choice).group(),
            ExprKind::Scan(scan) => self.scan(scan),
            ExprKind::Checkpoint(body) => Doc::concat(["checkpoint ".into(), self.block(body)]),
            ExprKind::Assume { property, axes, body } => {
                let head: Doc = format!("assume {property}").into();
                let end = axes.last().map_or(0, |last| self.closing(last.span.end, b')'));
                let axes = self.listed(["(", ")"], axes, end, |axis| axis.span, Self::expr);
                Doc::concat([head, axes, " ".into(), self.block(body)])
            }
            ExprKind::Error => Doc::empty(),
        }
    }

    fn arg(&mut self, arg: &Arg) -> Doc {
        let label = arg.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
        Doc::concat([label.into(), self.expr(&arg.value)])
    }

    fn ix(&mut self, ix: &Ix) -> Doc {
        match &ix.kind {
            IxKind::Point(point) => self.expr(point),
            IxKind::Slice { start, end } => {
                let start = start.as_ref().map_or(Doc::empty(), |start| self.expr(start));
                let end = end.as_ref().map_or(Doc::empty(), |end| self.expr(end));
                Doc::concat([start, "..".into(), end])
            }
        }
    }

    /// Entries between brackets, separated by commas: on one line, or each on its own. `end` is where the
    /// bracket closes.
    pub fn listed<T>(
        &mut self,
        [open, close]: [&str; 2],
        entries: &[T],
        end: u32,
        span: impl Fn(&T) -> Span,
        print: impl Fn(&mut Self, &T) -> Doc,
    ) -> Doc {
        if entries.is_empty() {
            return format!("{open}{close}").into();
        }
        let mut inside = vec![Doc::SoftLine];
        for (index, entry) in entries.iter().enumerate() {
            let place = span(entry);
            let before = self.lines_before(place.start);
            let doc = print(self, entry);
            let within = self.lines_before(place.end);
            inside.extend([before, within, doc]);
            let next = entries.get(index + 1).map(&span);
            if next.is_some() {
                inside.push(",".into());
            }
            inside.push(self.trailing(place.end, next.map_or(end, |next| next.start)));
            inside.extend(next.map(|_| Doc::Line));
        }
        while let Some(comment) = self.take_before(end) {
            let comment = &self.text[comment.start as usize..comment.end as usize];
            inside.extend([Doc::HardLine, comment.into()]);
        }
        if let [open_line, before, within, only, comment] = &mut inside[..]
            && matches!(only, Doc::Group(_))
            && [&*before, &*within, &*comment].iter().all(|doc| is_empty(doc))
        {
            // A single entry that knows how to break itself needs no lines around it.
            let only = std::mem::take(only);
            debug_assert!(matches!(open_line, Doc::SoftLine));
            return Doc::concat([open.into(), only, close.into()]);
        }
        Doc::concat([open.into(), Doc::Concat(inside).indent(), Doc::SoftLine, close.into()]).group()
    }

    /// Long lists of numbers are filled, all others stand on one line or below one another.
    fn list(&mut self, entries: &[Expr], span: Span) -> Doc {
        let numbers = entries.len() > FILLED && entries.iter().all(is_number);
        let comments = self.text[span.range()].contains("//");
        if !numbers || comments {
            return self.listed(["[", "]"], entries, span.end - 1, |entry| entry.span, Self::expr);
        }
        let mut inside = vec![Doc::SoftLine];
        for (index, entry) in entries.iter().enumerate() {
            inside.push(self.expr(entry));
            if index + 1 < entries.len() {
                inside.extend([",".into(), Doc::Line.group()]);
            }
        }
        Doc::concat(["[".into(), Doc::Concat(inside).indent(), Doc::SoftLine, "]".into()]).group()
    }

    /// A chain of operators of one level breaks after them: a line that ends in an operator goes on.
    fn binary(&mut self, expr: &Expr) -> Doc {
        let mut rest = Vec::new();
        let mut first = expr;
        let sum = |op: BinaryOp| matches!(op, BinaryOp::Add | BinaryOp::Sub);
        let ExprKind::Binary { op: outer, .. } = expr.kind else { return Doc::empty() };
        while let ExprKind::Binary { op, left, right } = &first.kind
            && sum(*op) == sum(outer)
            && (rest.is_empty() || !self.in_parens(first))
        {
            rest.push((*op, self.is_tight(*op, left, right), right));
            first = left;
        }
        let mut doc = vec![self.expr(first)];
        for (op, tight, right) in rest.into_iter().rev() {
            if tight {
                doc.extend([op.as_str().into(), self.expr(right)]);
            } else {
                let right = Doc::concat([Doc::Line, self.expr(right)]).indent();
                doc.extend([format!(" {}", op.as_str()).into(), right]);
            }
        }
        Doc::Concat(doc).group()
    }

    /// Products may be written without spaces: `4*H`.
    fn is_tight(&self, op: BinaryOp, left: &Expr, right: &Expr) -> bool {
        let between = &self.text[left.span.end as usize..right.span.start as usize];
        !matches!(op, BinaryOp::Add | BinaryOp::Sub) && !between.contains(char::is_whitespace)
    }

    fn logic(&mut self, expr: &Expr) -> Doc {
        let ExprKind::Logic { op: outer, .. } = expr.kind else { return Doc::empty() };
        let mut rest = Vec::new();
        let mut first = expr;
        while let ExprKind::Logic { op, left, right } = &first.kind
            && *op == outer
            && (rest.is_empty() || !self.in_parens(first))
        {
            rest.push(right);
            first = left;
        }
        let mut doc = vec![self.expr(first)];
        for right in rest.into_iter().rev() {
            let right = self.expr(right);
            doc.push(Doc::concat([Doc::Line, format!("{} ", outer.as_str()).into(), right]).indent());
        }
        Doc::Concat(doc).group()
    }

    /// A pipe that was broken at a `|>` is broken at each.
    fn pipe(&mut self, expr: &Expr) -> Doc {
        let mut stages = Vec::new();
        let mut first = expr;
        while let ExprKind::Pipe { value, stage } = &first.kind
            && (stages.is_empty() || !self.in_parens(first))
        {
            stages.push(stage);
            first = value;
        }
        stages.reverse();
        let mut end = first.span.end;
        let broken = stages.iter().any(|stage| {
            let broken = self.broken(end, stage.span.start);
            end = stage.span.end;
            broken
        });
        let mut doc = vec![self.expr(first)];
        end = first.span.end;
        let mut below = Vec::new();
        for stage in stages {
            below.push(self.trailing(end, stage.span.start));
            while let Some(comment) = self.take_before(stage.span.start) {
                let comment = &self.text[comment.start as usize..comment.end as usize];
                below.extend([Doc::HardLine, comment.into()]);
            }
            below.push(if broken { Doc::HardLine } else { Doc::Line });
            below.extend(["|> ".into(), self.expr(stage)]);
            end = stage.span.end;
        }
        doc.push(Doc::Concat(below).indent());
        Doc::Concat(doc).group()
    }

    fn binder(&mut self, binder: &Binder) -> Doc {
        let mut head = vec![match &binder.reducer {
            Reducer::For(_) => "for ".into(),
            Reducer::Named(reducer) => format!("{reducer} ").into(),
        }];
        head.push(self.binds(&binder.binds));
        if let Some(guard) = &binder.guard {
            head.extend([" where ".into(), self.expr(guard)]);
        }
        head.push(" =>".into());
        let body = self.expr(&binder.body);
        head.push(body_after_arrow(&binder.body, body));
        Doc::Concat(head).group()
    }

    fn binds(&mut self, binds: &[Bind]) -> Doc {
        let mut doc = Vec::new();
        for (index, bind) in binds.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            doc.push(format!("{comma}{}", bind.name).into());
            if let Some(range) = &bind.range {
                doc.extend([": ".into(), self.expr(range)]);
            }
        }
        Doc::Concat(doc)
    }

    fn lambda(&mut self, lambda: &Lambda) -> Doc {
        let end = lambda.params.last().map_or(0, |last| self.closing(last.span.end, b')'));
        let params = self.listed(
            ["fn(", ")"],
            &lambda.params,
            end,
            |param| param.span,
            |printer, param| {
                let ty =
                    param.ty.as_ref().map_or(Doc::empty(), |ty| Doc::concat([": ".into(), printer.ty(ty)]));
                Doc::concat([param.name.as_str().into(), ty])
            },
        );
        let body = self.expr(&lambda.body);
        Doc::concat([params, " =>".into(), body_after_arrow(&lambda.body, body)]).group()
    }

    /// All blocks of a choice stand on one line, or none.
    fn choice(&mut self, choice: &If) -> Doc {
        let mut doc =
            vec!["if ".into(), self.expr(&choice.condition), " ".into(), self.open_block(&choice.then)];
        match choice.otherwise.as_ref().map(|otherwise| &otherwise.kind) {
            Some(ExprKind::If(next)) => doc.extend([" else ".into(), self.choice(next)]),
            Some(ExprKind::Block(block)) => doc.extend([" else ".into(), self.open_block(block)]),
            _ => {}
        }
        Doc::Concat(doc)
    }

    fn scan(&mut self, scan: &Scan) -> Doc {
        let direction = if scan.reverse.is_some() { "scan reverse " } else { "scan " };
        let binds = self.binds(&scan.binds);
        let mut doc = vec![direction.into(), binds, " ".into(), self.params(&scan.carries)];
        if let Some(length) = &scan.truncate {
            doc.extend([" truncate ".into(), self.expr(length)]);
        }
        doc.extend([" ".into(), self.block(&scan.body)]);
        Doc::Concat(doc)
    }
}

/// What breaks inside of itself stays on the arrow's line.
fn body_after_arrow(body: &Expr, doc: Doc) -> Doc {
    match &body.kind {
        ExprKind::Block(_)
        | ExprKind::Binder(_)
        | ExprKind::Lambda(_)
        | ExprKind::Scan(_)
        | ExprKind::If(_)
        | ExprKind::Call { .. }
        | ExprKind::Tuple(_)
        | ExprKind::List(_) => Doc::concat([" ".into(), doc]),
        _ => Doc::concat([Doc::Line, doc]).indent().group(),
    }
}

fn is_number(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Int(_) | ExprKind::Float(_) => true,
        ExprKind::Unary { op: UnaryOp::Neg, operand } => is_number(operand),
        _ => false,
    }
}

fn is_empty(doc: &Doc) -> bool {
    match doc {
        Doc::Concat(parts) => parts.iter().all(is_empty),
        Doc::Text(text) => text.is_empty(),
        _ => false,
    }
}
