//! Evaluation on demand: a kernel is emitted by asking for values at places.
//!
//! **Invariant:** a value is emitted once per place, in the outermost scope in which its place is known. So the phases of a softmax, the
//! hoisting of row statistics and the reuse of loaded values are no cases of their own.

use std::collections::HashMap;

use cranelift_entity::EntitySet;
use smallvec::SmallVec;

use super::home::{Home, Storage, split_turns};
use super::index::{Atom, Extents, Ix, Place};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::graph::{Axis, IndexMap, Literal, Node, Op, Outside};
use crate::kernel::{Address, Arg, BodyBuilder, Buffer, Const, Coord, KOp, Kernel, Range, Val, Var, math};
use crate::tensor::DType;

/// Emits one kernel.
pub struct Emitter<'a, 'g> {
    pub cx: &'a mut Lowering<'g>,
    pub b: BodyBuilder,
    /// The open loops, the kernel's own list first.
    pub scopes: Vec<Scope>,
    /// Nodes that this kernel evaluates, though they may have a home.
    pub inside: EntitySet<Node>,
    /// Values to keep for later loops, with the place of each: a scratch row or the output that it is anyway.
    pub keep: HashMap<Node, Home>,
    /// The axes of the grid: every kept value is there for one index of each.
    pub rows: Vec<Axis>,
    /// The depth at which all of them have an index: 1 where the last of them has the lanes, else 0.
    pub base: usize,
    /// Those that are kept by now in full.
    pub kept: EntitySet<Node>,
    pub args: Vec<KernelArg>,
    /// The reductions among the nodes inside, in order of execution.
    pub reductions: Vec<Node>,
    /// Reductions whose loop is open.
    pub in_progress: EntitySet<Node>,
    /// Values that change with each turn of the loop at this depth, whatever their place.
    pub turning: (EntitySet<Node>, usize),
    vars: HashMap<Var, (usize, Dim)>,
    vals: HashMap<Val, usize>,
}

/// A buffer argument: which part of which buffer.
pub struct KernelArg {
    pub arg: Arg,
    pub buffer: Buffer,
    pub turns: Vec<(Axis, Dim)>,
}

/// A value at a place, under a mask.
type Key = (Node, SmallVec<[Ix; 4]>, Option<Val>);

/// A list of statements under construction.
#[derive(Default)]
pub struct Scope {
    /// Whether it stands in a lane loop or is one.
    pub lanes: bool,
    /// The indices that the loop's variable gives to axes; empty where it runs over a part only.
    covers: Vec<Ix>,
    memo: HashMap<Key, Val>,
    indices: HashMap<Ix, Val>,
    /// Values that this loop stores, with the depth at which they are then there in full.
    storing: Vec<(Node, usize)>,
    available: HashMap<Node, Home>,
}

impl Extents for Emitter<'_, '_> {
    fn extent(&self, atom: &Atom) -> Option<Dim> {
        match atom {
            Atom::Var(var) => self.vars.get(var).map(|(_, extent)| extent.clone()),
            _ => self.cx.extent(atom),
        }
    }
}

impl<'a, 'g> Emitter<'a, 'g> {
    pub fn new(cx: &'a mut Lowering<'g>, name: Name, span: Span) -> Emitter<'a, 'g> {
        Emitter {
            cx,
            b: BodyBuilder::new(name, span),
            scopes: vec![Scope::default()],
            inside: EntitySet::new(),
            keep: HashMap::new(),
            rows: Vec::new(),
            base: 0,
            kept: EntitySet::new(),
            args: Vec::new(),
            reductions: Vec::new(),
            in_progress: EntitySet::new(),
            turning: (EntitySet::new(), 0),
            vars: HashMap::new(),
            vals: HashMap::new(),
        }
    }

    /// The kernel and its buffers in the order of its arguments.
    pub fn finish(self) -> (Kernel, Vec<KernelArg>) {
        (self.b.finish(), self.args)
    }

    // Scopes

    pub fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// A further, innermost variable of the grid.
    pub fn grid(&mut self, extent: &Dim) -> Var {
        let size = self.b.size(extent);
        let var = self.b.grid(size);
        self.vars.insert(var, (0, extent.clone()));
        var
    }

    /// Opens a loop over all of `0..extent`.
    pub fn open(&mut self, extent: &Dim, lanes: bool) -> Var {
        let size = self.b.size(extent);
        self.open_range(Range::Full(size), extent, lanes)
    }

    /// Opens a loop over a part of `0..extent`.
    pub fn open_range(&mut self, range: Range, extent: &Dim, lanes: bool) -> Var {
        let var = self.b.begin_loop(range, lanes);
        let lanes = lanes || self.scopes[self.depth()].lanes;
        self.scopes.push(Scope { lanes, ..Scope::default() });
        self.vars.insert(var, (self.depth(), extent.clone()));
        var
    }

    /// Says which indices the innermost loop runs through.
    pub fn covers(&mut self, indices: Vec<Ix>) {
        let depth = self.depth();
        self.scopes[depth].covers = indices;
    }

    /// Closes the innermost loop; accumulators as in `BodyBuilder::end_loop`.
    pub fn close(&mut self, accs: &[(crate::kernel::AccOp, Val, Val)]) -> Vec<Val> {
        let results = self.b.end_loop(accs);
        let closed = self.scopes.pop().expect("a loop is open");
        let depth = self.depth();
        for result in &results {
            self.vals.insert(*result, depth);
        }
        for (node, at) in closed.storing {
            if at == depth {
                self.scopes[depth].available.insert(node, self.keep[&node].clone());
                if depth == self.base {
                    self.kept.insert(node);
                }
            } else {
                self.scopes[depth].storing.push((node, at));
            }
        }
        results
    }

    /// Runs `f` as if only the loops up to `depth` were open.
    pub fn at<R>(&mut self, depth: usize, f: impl FnOnce(&mut Self) -> R) -> R {
        if depth == self.depth() {
            return f(self);
        }
        let inner = self.scopes.split_off(depth + 1);
        let open = self.b.suspend(depth);
        let result = f(self);
        self.b.resume(open);
        self.scopes.extend(inner);
        result
    }

    /// The depth at which an index is known.
    pub fn level(&self, ix: &Ix) -> usize {
        let mut level = 0;
        ix.visit(&mut |atom| {
            level = level.max(match atom {
                Atom::Var(var) => self.vars[var].0,
                Atom::Val(val) => self.val_level(*val),
                Atom::Turn(_) => 0,
                Atom::Axis(axis) => panic!("no loop runs over {axis}"),
                Atom::Div(_) => 0,
            });
        });
        level
    }

    /// The depth at which a value is known. Constants are not recorded: they are known everywhere.
    fn val_level(&self, val: Val) -> usize {
        self.vals.get(&val).copied().unwrap_or(0)
    }

    /// Notes where a value was made.
    pub fn made(&mut self, val: Val) -> Val {
        let depth = self.depth();
        if self.b.as_const(val).is_none() {
            let level = self.vals.entry(val).or_insert(depth);
            *level = (*level).min(depth);
        }
        val
    }

    // Values

    /// The value of a node at a place; where `mask` does not hold it may be anything, and nothing out of range is read.
    pub fn value(&mut self, node: Node, place: &Place, mask: Option<Val>) -> Result<Val, LowerError> {
        let node = self.cx.resolve(node);
        let graph = self.cx.graph;
        let data = &graph.nodes[node];
        let indices: SmallVec<[Ix; 4]> = data.axes.iter().map(|axis| place.of(*axis)).collect();
        let mask = mask.filter(|mask| !matches!(self.b.as_const(*mask), Some(Const::Bool(true))));
        let mut known = indices.iter().map(|ix| self.level(ix)).max().unwrap_or(0);
        if self.turning.0.contains(node) {
            known = known.max(self.turning.1);
        }
        let level = known.max(mask.map_or(0, |mask| self.val_level(mask)));
        for (mask, level) in [(None, known), (mask, level)] {
            if let Some(&val) = self.scopes[level].memo.get(&(node, indices.clone(), mask)) {
                return Ok(val);
            }
        }
        let val = self.at(level, |e| {
            let val = e.evaluate(node, place, mask)?;
            Ok::<_, LowerError>(e.made(val))
        })?;
        if mask.is_none() {
            self.at(level, |e| e.store_kept(node, place, &indices, val))?;
        }
        self.scopes[level].memo.insert((node, indices, mask), val);
        Ok(val)
    }

    /// The value of a node at a place, if it is known here.
    pub fn known(&self, node: Node, place: &Place) -> Option<Val> {
        let axes = &self.cx.graph.nodes[node].axes;
        let indices: SmallVec<[Ix; 4]> = axes.iter().map(|axis| place.of(*axis)).collect();
        self.scopes[self.depth()].memo.get(&(node, indices, None)).copied()
    }

    /// Whether an open loop stores the node because it is to be kept.
    pub fn is_being_kept(&self, node: Node) -> bool {
        self.scopes.iter().any(|scope| scope.storing.iter().any(|(stored, _)| *stored == node))
    }

    /// Remembers a value that another emission gave as well.
    pub fn remember(&mut self, node: Node, place: &Place, mask: Option<Val>, val: Val) {
        let axes = &self.cx.graph.nodes[node].axes;
        let indices: SmallVec<[Ix; 4]> = axes.iter().map(|axis| place.of(*axis)).collect();
        let depth = self.depth();
        self.scopes[depth].memo.insert((node, indices, mask), val);
    }

    /// The home from which a node is read here, if it is not to be computed.
    pub fn readable(&self, node: Node) -> Option<&Home> {
        let kept = self.scopes.iter().rev().find_map(|scope| scope.available.get(&node));
        kept.or_else(|| self.cx.homes[node].as_ref().filter(|_| !self.inside.contains(node)))
    }

    fn evaluate(&mut self, node: Node, place: &Place, mask: Option<Val>) -> Result<Val, LowerError> {
        if let Some(home) = self.readable(node).cloned() {
            return self.load(&home, place, mask);
        }
        let graph = self.cx.graph;
        let data = &graph.nodes[node];
        match &data.op {
            Op::Constant(literal) => Ok(self.literal(*literal, data.dtype)),
            Op::Size(dim) => {
                let size = self.b.size(dim);
                let value = self.b.size_value(size);
                Ok(self.b.cast(value, data.dtype))
            }
            Op::Position(axis) => {
                let value = self.index_value(&place.of(*axis))?;
                Ok(self.b.cast(value, data.dtype))
            }
            Op::Map(function) => {
                let args = data.args.iter().map(|arg| self.value(*arg, place, mask));
                let args = args.collect::<Result<SmallVec<[Val; 3]>, _>>()?;
                Ok(super::scalar::expand(&mut self.b, *function, &args))
            }
            Op::View(map) => self.view(data.args[0], map, place, mask),
            Op::Broadcast(_) => self.value(data.args[0], place, mask),
            Op::Reduce { .. } => self.reduce(node, place, mask),
            Op::Gather { axis } => {
                let mut index = self.value(data.args[1], place, mask)?;
                if self.b.dtype(index) == DType::U8 {
                    index = self.b.cast(index, DType::I32);
                }
                let ix = self.loaded_index(index);
                self.value(data.args[0], &place.with(*axis, ix), mask)
            }
            Op::Random { draw, site, order } => {
                let seed = self.value(data.args[0], place, None)?;
                let step = self.value(data.args[1], place, None)?;
                let mut flat = Ix::zero();
                for axis in order {
                    flat = flat.scale(&self.cx.size(*axis))?.add(&place.of(*axis))?;
                }
                let counter = self.index_value(&flat)?;
                let stream = self.at(0, |e| crate::kernel::philox::stream(&mut e.b, seed, *site, step));
                Ok(super::scalar::draw(&mut self.b, *draw, data.dtype, stream, counter))
            }
            op => unreachable!("{node} has no home and no value of its own: {op:?}"),
        }
    }

    /// An integer value as an index.
    pub fn loaded_index(&mut self, value: Val) -> Ix {
        match self.b.as_const(value) {
            Some(Const::I32(number)) => Ix::constant(Dim::constant(number.into())),
            Some(Const::I64(number)) => Ix::constant(Dim::constant(number)),
            _ => {
                self.made(value);
                Ix::atom(Atom::Val(value))
            }
        }
    }

    fn literal(&mut self, literal: Literal, dtype: DType) -> Val {
        let value = match (literal, dtype) {
            // A double does not hold every i64.
            (Literal::Int(value), DType::I64) => Const::I64(value),
            (Literal::Int(value), DType::I32) => Const::I32(value as i32),
            (Literal::Int(value), _) => return self.number(dtype, value as f64),
            (Literal::Float(value), _) => return self.number(dtype, value),
            (Literal::Bool(value), _) => return self.number(dtype, f64::from(u8::from(value))),
        };
        self.b.constant(value)
    }

    /// The number of a dtype that is nearest.
    fn number(&mut self, dtype: DType, value: f64) -> Val {
        if dtype.computed() == dtype {
            return self.b.number(dtype, value);
        }
        let value = self.b.f64(value);
        math::rounded(&mut self.b, value, dtype)
    }

    fn view(
        &mut self,
        arg: Node,
        map: &IndexMap,
        place: &Place,
        mask: Option<Val>,
    ) -> Result<Val, LowerError> {
        let (inner, checks) = self.cx.view_place(map, place, self)?;
        let mut inside: Option<Val> = None;
        if map.outside == Outside::Zero {
            for (ix, size) in checks {
                inside = self.narrow(inside, &ix, &size)?;
            }
        }
        let Some(inside) = inside else {
            return self.value(arg, &inner, mask);
        };
        let mask = match mask {
            Some(mask) => self.both(mask, inside),
            None => inside,
        };
        let value = self.value(arg, &inner, Some(mask))?;
        let arg = self.cx.resolve(arg);
        if self.readable(arg).is_some() {
            // A masked load is zero outside.
            return Ok(value);
        }
        let dtype = self.b.dtype(value);
        let zero = self.b.number(dtype, 0.0);
        Ok(self.b.select(inside, value, zero))
    }

    /// The mask and `0 <= ix < size`.
    pub fn narrow(&mut self, mask: Option<Val>, ix: &Ix, size: &Dim) -> Result<Option<Val>, LowerError> {
        let holds = self.in_range(ix, size)?;
        Ok(match (mask, holds) {
            (Some(a), Some(b)) => Some(self.both(a, b)),
            (a, b) => a.or(b),
        })
    }

    /// Whether `0 <= ix < size`; nothing where that is proved.
    fn in_range(&mut self, ix: &Ix, size: &Dim) -> Result<Option<Val>, LowerError> {
        // Blocks as a whole lie inside or outside: what runs through one need not be asked.
        if let Some((ix, size)) = ix.without_digit(size, self) {
            return self.in_range(&ix, &size);
        }
        let (low, high) = (ix.never_negative(self), ix.never_reaches(size, self));
        if low && high {
            return Ok(None);
        }
        let level = self.level(ix);
        let val = self.at(level, |e| {
            let value = e.index_value(ix)?;
            let mut holds = None;
            if !low {
                let zero = e.b.i64(0);
                holds = Some(e.b.le(zero, value));
            }
            if !high {
                let size = e.b.size(size);
                let size = e.b.size_value(size);
                let below = e.b.lt(value, size);
                holds = Some(match holds {
                    Some(holds) => e.b.and(holds, below),
                    None => below,
                });
            }
            Ok::<_, LowerError>(holds.map(|val| e.made(val)))
        })?;
        Ok(val)
    }

    fn both(&mut self, a: Val, b: Val) -> Val {
        if a == b {
            return a;
        }
        let level = self.val_level(a).max(self.val_level(b));
        self.at(level, |e| {
            let both = e.b.and(a, b);
            e.made(both)
        })
    }

    /// An index as an i64.
    pub fn index_value(&mut self, ix: &Ix) -> Result<Val, LowerError> {
        let level = self.level(ix);
        if let Some(&val) = self.scopes[level].indices.get(ix) {
            return Ok(val);
        }
        let val = self.at(level, |e| {
            let mut sum = None;
            for (atom, coefficient) in &ix.terms {
                let value = e.atom_value(atom)?;
                let value = e.b.cast(value, DType::I64);
                let term = match coefficient.as_const() {
                    Some(1) => value,
                    _ => {
                        let factor = e.b.size(coefficient);
                        let factor = e.b.size_value(factor);
                        e.b.mul(value, factor)
                    }
                };
                sum = Some(match sum {
                    Some(sum) => e.b.add(sum, term),
                    None => term,
                });
            }
            let base = (ix.base.as_const() != Some(0) || sum.is_none()).then(|| {
                let base = e.b.size(&ix.base);
                e.b.size_value(base)
            });
            let val = match (sum, base) {
                (Some(sum), Some(base)) => e.b.add(sum, base),
                (sum, base) => sum.or(base).expect("one of the two"),
            };
            Ok::<_, LowerError>(e.made(val))
        })?;
        self.scopes[level].indices.insert(ix.clone(), val);
        Ok(val)
    }

    fn atom_value(&mut self, atom: &Atom) -> Result<Val, LowerError> {
        Ok(match atom {
            Atom::Var(var) => {
                let level = self.vars[var].0;
                self.at(level, |e| {
                    let val = e.b.index(*var);
                    e.made(val)
                })
            }
            Atom::Val(val) => *val,
            Atom::Turn(axis) => {
                let home = self.cx.turn_table(*axis)?;
                let place = Place::new().with(*axis, Ix::atom(Atom::Turn(*axis)));
                self.at(0, |e| {
                    let val = e.load(&home, &place, None)?;
                    Ok::<_, LowerError>(e.made(val))
                })?
            }
            Atom::Axis(axis) => panic!("no loop runs over {axis}"),
            Atom::Div(parts) => {
                let (over, under) = &**parts;
                let level = self.level(over);
                let ix = Ix::atom(atom.clone());
                if let Some(&val) = self.scopes[level].indices.get(&ix) {
                    return Ok(val);
                }
                let val = self.at(level, |e| {
                    let over = e.index_value(over)?;
                    let under = e.b.size(under);
                    let under = e.b.size_value(under);
                    let val = e.b.op(KOp::Div, &[over, under]);
                    Ok::<_, LowerError>(e.made(val))
                })?;
                self.scopes[level].indices.insert(ix, val);
                val
            }
        })
    }

    // Memory

    /// Loads at a place.
    fn load(&mut self, home: &Home, place: &Place, mask: Option<Val>) -> Result<Val, LowerError> {
        let (arg, at) = self.element(home, place, false)?;
        Ok(match mask {
            Some(mask) => self.b.load_if(arg, at, mask),
            None => self.b.load(arg, at),
        })
    }

    /// Stores in the current scope.
    pub fn store(&mut self, home: &Home, place: &Place, value: Val) -> Result<(), LowerError> {
        let (arg, at) = self.element(home, place, true)?;
        self.b.store(arg, at, value);
        Ok(())
    }

    /// Argument and address of the element at a place.
    pub fn element(&mut self, home: &Home, place: &Place, write: bool) -> Result<(Arg, Address), LowerError> {
        let (ix, turns) = split_turns(home.address(place)?);
        let arg = match home.storage {
            Storage::Scratch(arg) => arg,
            Storage::Buffer(buffer) => self.arg(buffer, turns, write),
        };
        Ok((arg, self.address(&ix)?))
    }

    pub fn address(&mut self, ix: &Ix) -> Result<Address, LowerError> {
        let mut address = Address::default();
        if ix.base.as_const() != Some(0) {
            address.base = Some(self.b.size(&ix.base));
        }
        for (atom, coefficient) in &ix.terms {
            let coord = match atom {
                Atom::Var(var) => Coord::Var(*var),
                _ => Coord::Val(self.atom_value(atom)?),
            };
            let factor = self.b.size(coefficient);
            address.terms.push((coord, factor));
        }
        Ok(address)
    }

    /// The argument for a buffer: outputs are declared before anything is read, so that what is read back comes from the same argument.
    pub fn arg(&mut self, buffer: Buffer, turns: Vec<(Axis, Dim)>, write: bool) -> Arg {
        if let Some(known) = self.args.iter().find(|a| a.buffer == buffer && a.turns == turns) {
            return known.arg;
        }
        let dtype = self.cx.program.buffers[buffer].dtype;
        let arg = if write { self.b.write(dtype) } else { self.b.read(dtype) };
        self.args.push(KernelArg { arg, buffer, turns });
        arg
    }

    /// If the node is to be kept and the loops around run through all of its entries, stores the value that was just made.
    fn store_kept(&mut self, node: Node, place: &Place, indices: &[Ix], val: Val) -> Result<(), LowerError> {
        let Some(home) = self.keep.get(&node) else { return Ok(()) };
        if self.readable(node).is_some() || self.is_being_kept(node) {
            return Ok(());
        }
        // An index that no loop gives is one entry of its axis, unless that is an axis of the grid.
        for (axis, ix) in self.cx.graph.nodes[node].axes.iter().zip(indices) {
            let one = self.cx.size(*axis).as_const() == Some(1);
            let given = self.rows.contains(axis) || !self.cx.free_axes(node).contains(axis);
            if self.level(ix) == 0 && !one && !given {
                return Ok(());
            }
        }
        // The innermost loops have to give the indices one by one, and all of them.
        let mut open: Vec<&Ix> = indices.iter().filter(|ix| self.level(ix) > self.base).collect();
        let mut depth = self.depth();
        while !open.is_empty() && depth > self.base {
            let covers = &self.scopes[depth].covers;
            if covers.is_empty() || !covers.iter().all(|ix| open.contains(&ix)) {
                return Ok(());
            }
            open.retain(|ix| !covers.contains(ix));
            depth -= 1;
        }
        if !open.is_empty() || depth == self.depth() {
            return Ok(());
        }
        let home = home.clone();
        self.store(&home, place, val)?;
        let innermost = self.depth();
        self.scopes[innermost].storing.push((node, depth));
        Ok(())
    }
}
