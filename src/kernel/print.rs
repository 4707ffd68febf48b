//! The text of kernels: `--emit kernels` and golden files. One paragraph a kernel, one line a statement.

use std::fmt::{self, Display, Formatter, Write};

use super::*;

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (id, decl) in &self.buffers {
            let kind = match decl.kind {
                BufferKind::Input(i) => format!("input {i}"),
                BufferKind::Output(i) => format!("output {i}"),
                BufferKind::InOut(i, o) => format!("input {i}, updated as output {o}"),
                BufferKind::Temp => "temp".to_owned(),
                BufferKind::Kept => "kept".to_owned(),
            };
            writeln!(f, "{id} {}: {}[{}]  {kind}", decl.name, decl.dtype, decl.len)?;
        }
        writeln!(f)?;
        if !self.prepared.is_empty() {
            writeln!(f, "once:")?;
            for step in &self.prepared {
                self.step(f, step, 1)?;
            }
        }
        for step in &self.steps {
            self.step(f, step, 0)?;
        }
        for (id, kernel) in &self.kernels {
            write!(f, "\n{id} {kernel}")?;
        }
        Ok(())
    }
}

impl Program {
    fn step(&self, f: &mut Formatter<'_>, step: &Step, depth: usize) -> fmt::Result {
        indent(f, depth)?;
        match step {
            Step::Run { kernel, args } => {
                let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
                writeln!(f, "run {kernel} {}({})", self.kernels[*kernel].name, args.join(", "))
            }
            Step::Loop { var, count, reverse, body } => {
                let direction = if *reverse { " reverse" } else { "" };
                writeln!(f, "loop {var} in 0..{count}{direction}:")?;
                body.iter().try_for_each(|step| self.step(f, step, depth + 1))
            }
            Step::Sort { what, descending, from, to, rows, len } => {
                let down = if *descending { " descending" } else { "" };
                writeln!(f, "sort {} {to} = {from} : [{rows}, {len}]{down}", what.name())
            }
            Step::Copy { from, to, dtype, len } => writeln!(f, "copy {to} = {from} : {dtype}[{len}]"),
        }
    }
}

impl Display for BufferRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.buffer)?;
        let mut parts: Vec<String> = Vec::new();
        if self.offset.as_const() != Some(0) {
            parts.push(self.offset.to_string());
        }
        parts.extend(self.turns.iter().map(|(turn, stride)| format!("{turn}*({stride})")));
        if parts.is_empty() { Ok(()) } else { write!(f, "[{}]", parts.join(" + ")) }
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self
            .args
            .iter()
            .map(|(arg, decl)| match decl.kind {
                ArgKind::Read => format!("{arg}: {}", decl.dtype),
                ArgKind::Write => format!("{arg}: mut {}", decl.dtype),
                ArgKind::Scratch { len } => format!("{arg}: scratch {}[{len}]", decl.dtype),
            })
            .collect();
        write!(f, "{}({})", self.name, args.join(", "))?;
        let sizes: Vec<String> = self.sizes.iter().map(|(id, dim)| format!("{id} = {dim}")).collect();
        if !sizes.is_empty() {
            write!(f, " where {}", sizes.join(", "))?;
        }
        let grid: Vec<String> = self.grid.iter().map(|(var, n)| format!("{var} < {n}")).collect();
        if !grid.is_empty() {
            write!(f, " grid {}", grid.join(", "))?;
        }
        writeln!(f)?;
        self.stmts(f, &self.body, 1)
    }
}

impl Kernel {
    fn stmts(&self, f: &mut Formatter<'_>, stmts: &[Stmt], depth: usize) -> fmt::Result {
        for stmt in stmts {
            indent(f, depth)?;
            match stmt {
                Stmt::Let(val, inst) => writeln!(f, "{val} = {inst} : {}", self.vals[*val])?,
                Stmt::Store { arg, at, value } => writeln!(f, "{arg}[{at}] = {value}")?,
                Stmt::Loop(l) => {
                    let word = if l.lanes { "lanes" } else { "for" };
                    writeln!(f, "{word} {} in {}:", l.var, l.range)?;
                    self.stmts(f, &l.body, depth + 1)?;
                    for acc in &l.accs {
                        indent(f, depth + 1)?;
                        let op = format!("{:?}", acc.op).to_lowercase();
                        writeln!(
                            f,
                            "{} = {op} {} from {} : {}",
                            acc.result, acc.term, acc.init, self.vals[acc.result]
                        )?;
                    }
                }
                Stmt::If { cond, then } => {
                    writeln!(f, "if {cond}:")?;
                    self.stmts(f, then, depth + 1)?;
                }
                Stmt::Contract(c) => writeln!(f, "{c}")?,
                Stmt::Transpose(t) => {
                    write!(
                        f,
                        "transpose m in {}, n in {}: {}[{} + m*{} + n]",
                        t.m, t.n, t.to_arg, t.to, t.to_m
                    )?;
                    writeln!(f, " = {}[{} + m*{} + n*{}]", t.from_arg, t.from, t.from_m, t.from_n)?;
                }
            }
        }
        Ok(())
    }
}

impl Display for Contract {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.accumulate { "+=" } else { "=" };
        f.write_str("contract ")?;
        if let Some((range, ..)) = &self.groups {
            write!(f, "g in {range}, ")?;
        }
        write!(f, "m in {}, n in {}, k in {}", self.m, self.n, self.k)?;
        for (q, (extent, ..)) in self.blocks.iter().enumerate() {
            write!(f, ", q{q} in {extent}")?;
        }
        let taps = |stride: fn(&(Range, Size, Size)) -> Size| {
            self.blocks.iter().enumerate().fold(String::new(), |mut text, (q, block)| {
                let _ = write!(text, " + q{q}*{}", stride(block));
                text
            })
        };
        let (a_taps, b_taps) = (taps(|b| b.1), taps(|b| b.2));
        let group = |stride: fn(&(Range, Size, Size)) -> Size| {
            self.groups.as_ref().map_or(String::new(), |groups| format!(" + g*{}", stride(groups)))
        };
        let (a_group, c_group) = (group(|g| g.1), group(|g| g.2));
        let column = match self.b_n {
            Size::Const(1) => "n".to_owned(),
            stride => format!("n*{stride}"),
        };
        write!(f, ": {}[{}{c_group} + m*{} + n] {sign} ", self.c_arg, self.c, self.c_m)?;
        write!(f, "{}[{}{a_group} + m*{} + k*{}{a_taps}]", self.a_arg, self.a, self.a_m, self.a_k)?;
        write!(f, " * {}[{} + k*{} + {column}{b_taps}]", self.b_arg, self.b, self.b_k)?;
        if let Some((arg, at)) = &self.bias {
            write!(f, " + {arg}[{at} + n]")?;
        }
        if self.relu { f.write_str(", relu") } else { Ok(()) }
    }
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Inst::Const(c) => write!(f, "{c}"),
            Inst::Size(size) => write!(f, "size {size}"),
            Inst::Index(var) => write!(f, "index {var}"),
            Inst::Load { arg, at } => write!(f, "{arg}[{at}]"),
            Inst::LoadIf { arg, at, mask } => write!(f, "{arg}[{at}] if {mask}"),
            Inst::Op(op, operands) => {
                let operands: Vec<String> = operands.iter().map(|v| v.to_string()).collect();
                match op {
                    KOp::Cast(_) => write!(f, "cast {}", operands.join(", ")),
                    KOp::Bitcast(_) => write!(f, "bitcast {}", operands.join(", ")),
                    _ => write!(f, "{} {}", format!("{op:?}").to_lowercase(), operands.join(", ")),
                }
            }
        }
    }
}

impl Display for Const {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Const::F32(x) => write!(f, "{x:?}"),
            Const::F64(x) => write!(f, "{x:?}"),
            Const::I32(x) => write!(f, "{x}"),
            Const::I64(x) => write!(f, "{x}"),
            Const::U8(x) => write!(f, "{x}"),
            Const::Bool(x) => write!(f, "{x}"),
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .terms
            .iter()
            .map(|(coord, factor)| match factor {
                Size::Const(1) => coord.to_string(),
                _ => format!("{coord}*{factor}"),
            })
            .collect();
        parts.extend(self.base.filter(|&base| base != Size::Const(0)).map(|base| base.to_string()));
        f.write_str(&if parts.is_empty() { "0".to_owned() } else { parts.join(" + ") })
    }
}

impl Display for Coord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Coord::Var(var) => write!(f, "{var}"),
            Coord::Val(val) => write!(f, "{val}"),
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Size::Const(value) => write!(f, "{value}"),
            Size::Sym(id) => write!(f, "{id}"),
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Range::Full(n) => write!(f, "0..{n}"),
            Range::Chunk { of, by, index } => write!(f, "{index}*{by}..min({index}*{by}+{by}, {of})"),
        }
    }
}

fn indent(f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}
