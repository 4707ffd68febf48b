//! Builds a kernel statement by statement. Dtypes are inferred, constants folded, and a pure value that is already in scope is not made again.

use std::collections::HashMap;

use cranelift_entity::PrimaryMap;

use super::*;
use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::kernel::eval::eval_op;
use crate::tensor::DType;

/// Makes one kernel. Misuse (an instruction on wrong dtypes, unbalanced loops) is a defect of the caller and panics.
pub struct BodyBuilder {
    kernel: Kernel,
    open: Vec<Open>,
    /// The value of each constant, for folding.
    consts: HashMap<Val, Const>,
}

/// A list of statements under construction, and the pure values that it defines.
#[derive(Default)]
struct Open {
    body: Vec<Stmt>,
    known: HashMap<Pure, Val>,
    head: Option<(Var, Range, bool)>,
}

/// Loops under construction that were stepped out of.
pub struct Suspended(Vec<Open>);

/// What makes two values of one scope equal.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Pure {
    Const(DType, u64),
    Size(Size),
    Index(Var),
    Op(KOp, Vec<Val>),
}

impl BodyBuilder {
    pub fn new(name: impl Into<Name>, span: Span) -> BodyBuilder {
        let kernel = Kernel {
            name: name.into(),
            span,
            args: PrimaryMap::new(),
            sizes: PrimaryMap::new(),
            grid: Vec::new(),
            vars: PrimaryMap::new(),
            vals: PrimaryMap::new(),
            body: Vec::new(),
        };
        BodyBuilder { kernel, open: vec![Open::default()], consts: HashMap::new() }
    }

    /// The kernel, without the instructions that nothing uses, its long sums in blocks.
    pub fn finish(mut self) -> Kernel {
        assert_eq!(self.open.len(), 1, "a loop is still open");
        self.kernel.body = std::mem::take(&mut self.open[0].body);
        super::prune::prune(&mut self.kernel.body);
        super::cascade::cascade(&mut self.kernel);
        self.kernel
    }

    // Declarations

    /// A buffer argument that is only read.
    pub fn read(&mut self, dtype: DType) -> Arg {
        self.kernel.args.push(ArgDecl { dtype, kind: ArgKind::Read })
    }

    /// A buffer argument that is written and may be read.
    pub fn write(&mut self, dtype: DType) -> Arg {
        self.kernel.args.push(ArgDecl { dtype, kind: ArgKind::Write })
    }

    /// An array of this thread's own, undefined at the start of each grid point.
    pub fn scratch(&mut self, dtype: DType, len: Size) -> Arg {
        self.kernel.args.push(ArgDecl { dtype, kind: ArgKind::Scratch { len } })
    }

    /// The number that `dim` is when sizes are bound; equal dims share a row of the table.
    pub fn size(&mut self, dim: &Dim) -> Size {
        if let Some(value) = dim.as_const() {
            return Size::Const(value);
        }
        self.size_in_table(dim)
    }

    /// The number that `dim` is, from the table of sizes even where it is known: the code does not depend on it.
    pub fn size_in_table(&mut self, dim: &Dim) -> Size {
        let known = self.kernel.sizes.iter().find(|(_, d)| *d == dim).map(|(id, _)| id);
        Size::Sym(known.unwrap_or_else(|| self.kernel.sizes.push(dim.clone())))
    }

    /// A further, innermost dimension of the parallel grid.
    pub fn grid(&mut self, extent: Size) -> Var {
        let var = self.kernel.vars.push(());
        self.kernel.grid.push((var, extent));
        var
    }

    pub fn arg_dtype(&self, arg: Arg) -> DType {
        self.kernel.args[arg].dtype
    }

    pub fn dtype(&self, val: Val) -> DType {
        self.kernel.vals[val]
    }

    /// The value's number, where it is a constant.
    pub fn as_const(&self, val: Val) -> Option<Const> {
        self.consts.get(&val).copied()
    }

    // Values

    pub fn constant(&mut self, value: Const) -> Val {
        let (dtype, bits) = value.bits();
        let val = self.pure(Pure::Const(dtype, bits), dtype, |_| Inst::Const(value));
        self.consts.insert(val, value);
        val
    }

    /// The number of `dtype` nearest to `value`.
    pub fn number(&mut self, dtype: DType, value: f64) -> Val {
        let value =
            Const::number(dtype, value).unwrap_or_else(|| panic!("kernels do not compute in {dtype}"));
        self.constant(value)
    }

    pub fn f32(&mut self, value: f32) -> Val {
        self.constant(Const::F32(value))
    }

    pub fn f64(&mut self, value: f64) -> Val {
        self.constant(Const::F64(value))
    }

    pub fn i32(&mut self, value: i32) -> Val {
        self.constant(Const::I32(value))
    }

    pub fn i64(&mut self, value: i64) -> Val {
        self.constant(Const::I64(value))
    }

    pub fn bool(&mut self, value: bool) -> Val {
        self.constant(Const::Bool(value))
    }

    /// A size as an i64.
    pub fn size_value(&mut self, size: Size) -> Val {
        match size {
            Size::Const(value) => self.i64(value),
            Size::Sym(_) => self.pure(Pure::Size(size), DType::I64, |_| Inst::Size(size)),
        }
    }

    /// A loop variable as an i64.
    pub fn index(&mut self, var: Var) -> Val {
        self.pure(Pure::Index(var), DType::I64, |_| Inst::Index(var))
    }

    /// The element; of a float of 16 bits the number in f32.
    pub fn load(&mut self, arg: Arg, at: Address) -> Val {
        let dtype = self.arg_dtype(arg);
        let raw = self.push_let(loaded(dtype), Inst::Load { arg, at });
        math::decode(self, raw, dtype)
    }

    /// The element where `mask` holds, else zero; the address may be wild there.
    pub fn load_if(&mut self, arg: Arg, at: Address, mask: Val) -> Val {
        let dtype = self.arg_dtype(arg);
        let raw = self.push_let(loaded(dtype), Inst::LoadIf { arg, at, mask });
        math::decode(self, raw, dtype)
    }

    pub fn op(&mut self, op: KOp, operands: &[Val]) -> Val {
        let dtypes: Vec<DType> = operands.iter().map(|&v| self.dtype(v)).collect();
        let dtype = op.result(&dtypes).unwrap_or_else(|| panic!("{op:?} does not exist on {dtypes:?}"));
        let numbers: Option<Vec<Const>> = operands.iter().map(|&v| self.as_const(v)).collect();
        if let Some(numbers) = numbers {
            return self.constant(eval_op(op, &numbers, false));
        }
        self.pure(Pure::Op(op, operands.to_vec()), dtype, |_| Inst::Op(op, operands.to_vec()))
    }

    // Statements

    /// Of a float of 16 bits `value` is the number in f32, rounded before ([`math::rounded`]).
    pub fn store(&mut self, arg: Arg, at: Address, value: Val) {
        let dtype = self.arg_dtype(arg);
        assert_eq!(dtype.computed(), self.dtype(value), "a store keeps the dtype");
        let value = math::encode(self, value, dtype);
        self.push(Stmt::Store { arg, at, value });
    }

    pub fn transpose(&mut self, transpose: Transpose) {
        self.push(Stmt::Transpose(Box::new(transpose)));
    }

    pub fn contract(&mut self, contract: Contract) {
        self.push(Stmt::Contract(Box::new(contract)));
    }

    /// Opens a loop; `lanes` as in [`Loop::lanes`].
    pub fn begin_loop(&mut self, range: Range, lanes: bool) -> Var {
        let var = self.kernel.vars.push(());
        self.open.push(Open { head: Some((var, range, lanes)), ..Open::default() });
        var
    }

    /// Closes the innermost loop. `accs` are (operator, value before the first turn, the body's value of each turn);
    /// gives the accumulators' final values.
    pub fn end_loop(&mut self, accs: &[(AccOp, Val, Val)]) -> Vec<Val> {
        let open = self.open.pop().expect("a loop is open");
        let (var, range, lanes) = open.head.expect("a loop is open, not an `if`");
        let accs: Vec<Acc> = accs
            .iter()
            .map(|&(op, init, term)| {
                let dtype = self.dtype(init);
                assert!(op.neutral(dtype).is_some() && self.dtype(term) == dtype, "{op:?} of {dtype}");
                Acc { result: self.kernel.vals.push(dtype), init, op, term }
            })
            .collect();
        let results = accs.iter().map(|acc| acc.result).collect();
        self.push(Stmt::Loop(Loop { var, range, lanes, accs, body: open.body }));
        results
    }

    /// Steps out of the innermost loops until `depth` are open: what follows stands before them. `resume` goes back in.
    pub fn suspend(&mut self, depth: usize) -> Suspended {
        Suspended(self.open.split_off(depth + 1))
    }

    pub fn resume(&mut self, loops: Suspended) {
        self.open.extend(loops.0);
    }

    /// A sequential loop without accumulators.
    pub fn for_each(&mut self, range: Range, body: impl FnOnce(&mut BodyBuilder, Var)) {
        let var = self.begin_loop(range, false);
        body(self, var);
        self.end_loop(&[]);
    }

    /// A lane loop without accumulators.
    pub fn for_lanes(&mut self, range: Range, body: impl FnOnce(&mut BodyBuilder, Var)) {
        let var = self.begin_loop(range, true);
        body(self, var);
        self.end_loop(&[]);
    }

    /// A loop with accumulators (operator, initial value); `body` gives the term of each.
    pub fn fold<const N: usize>(
        &mut self,
        range: Range,
        lanes: bool,
        accs: [(AccOp, Val); N],
        body: impl FnOnce(&mut BodyBuilder, Var) -> [Val; N],
    ) -> [Val; N] {
        let var = self.begin_loop(range, lanes);
        let terms = body(self, var);
        let accs: [_; N] = std::array::from_fn(|i| (accs[i].0, accs[i].1, terms[i]));
        let results = self.end_loop(&accs);
        std::array::from_fn(|i| results[i])
    }

    /// The neutral value of `op`, to start an accumulator with.
    pub fn neutral(&mut self, op: AccOp, dtype: DType) -> Val {
        let value = op.neutral(dtype).unwrap_or_else(|| panic!("{op:?} of {dtype}"));
        self.constant(value)
    }

    /// Statements that run only where `cond` holds. `cond` must not vary over lanes.
    pub fn when(&mut self, cond: Val, then: impl FnOnce(&mut BodyBuilder)) {
        self.open.push(Open::default());
        then(self);
        let open = self.open.pop().expect("the `if` just opened");
        self.push(Stmt::If { cond, then: open.body });
    }

    fn pure(&mut self, key: Pure, dtype: DType, inst: impl FnOnce(&Self) -> Inst) -> Val {
        if let Some(&val) = self.open.iter().rev().find_map(|open| open.known.get(&key)) {
            return val;
        }
        let inst = inst(self);
        let val = self.push_let(dtype, inst);
        self.top().known.insert(key, val);
        val
    }

    fn push_let(&mut self, dtype: DType, inst: Inst) -> Val {
        let val = self.kernel.vals.push(dtype);
        self.push(Stmt::Let(val, inst));
        val
    }

    fn push(&mut self, stmt: Stmt) {
        self.top().body.push(stmt);
    }

    fn top(&mut self) -> &mut Open {
        self.open.last_mut().expect("the kernel's own list is always open")
    }
}

/// One method for each instruction.
impl BodyBuilder {
    pub fn add(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Add, &[a, b])
    }

    pub fn sub(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Sub, &[a, b])
    }

    pub fn mul(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Mul, &[a, b])
    }

    pub fn div(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Div, &[a, b])
    }

    pub fn rem(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Rem, &[a, b])
    }

    pub fn neg(&mut self, a: Val) -> Val {
        self.op(KOp::Neg, &[a])
    }

    pub fn abs(&mut self, a: Val) -> Val {
        self.op(KOp::Abs, &[a])
    }

    /// `a * b + c`
    pub fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.op(KOp::Fma, &[a, b, c])
    }

    pub fn sqrt(&mut self, a: Val) -> Val {
        self.op(KOp::Sqrt, &[a])
    }

    pub fn max(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Max, &[a, b])
    }

    pub fn min(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Min, &[a, b])
    }

    pub fn lt(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Lt, &[a, b])
    }

    pub fn le(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Le, &[a, b])
    }

    pub fn eq(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Eq, &[a, b])
    }

    pub fn ne(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Ne, &[a, b])
    }

    pub fn and(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::And, &[a, b])
    }

    pub fn or(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Or, &[a, b])
    }

    pub fn xor(&mut self, a: Val, b: Val) -> Val {
        self.op(KOp::Xor, &[a, b])
    }

    pub fn not(&mut self, a: Val) -> Val {
        self.op(KOp::Not, &[a])
    }

    /// Shifts by a constant number of bits.
    pub fn shift(&mut self, op: KOp, a: Val, bits: u32) -> Val {
        let dtype = self.dtype(a);
        let bits = self.number(dtype, f64::from(bits));
        self.op(op, &[a, bits])
    }

    /// `cond ? a : b`
    pub fn select(&mut self, cond: Val, a: Val, b: Val) -> Val {
        if a == b {
            return a;
        }
        match self.as_const(cond) {
            Some(Const::Bool(cond)) => [b, a][usize::from(cond)],
            _ => self.op(KOp::Select, &[cond, a, b]),
        }
    }

    /// Saturating conversion.
    pub fn cast(&mut self, a: Val, to: DType) -> Val {
        if self.dtype(a) == to { a } else { self.op(KOp::Cast(to), &[a]) }
    }

    /// The same bits, read as another dtype of the same width.
    pub fn bitcast(&mut self, a: Val, to: DType) -> Val {
        if self.dtype(a) == to { a } else { self.op(KOp::Bitcast(to), &[a]) }
    }
}

impl Address {
    /// Element `Σ factor * index`.
    pub fn of(terms: impl IntoIterator<Item = (Coord, Size)>) -> Address {
        Address { base: None, terms: terms.into_iter().collect() }
    }

    /// One element at a fixed place.
    pub fn at(base: Size) -> Address {
        Address { base: Some(base), terms: Vec::new() }
    }

    pub fn with(mut self, coord: Coord, factor: Size) -> Address {
        self.terms.push((coord, factor));
        self
    }
}

impl From<Var> for Coord {
    fn from(var: Var) -> Coord {
        Coord::Var(var)
    }
}

impl From<Val> for Coord {
    fn from(val: Val) -> Coord {
        Coord::Val(val)
    }
}
