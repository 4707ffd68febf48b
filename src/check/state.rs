//! The checker's state while it walks one definition: the core that it builds, the scopes that are open.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::axes::{Dim, DimError, DimVar, Facts};
use crate::base::{Name, Span};
use crate::diag::Diagnostic;
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::data::Files;
use super::errors;
use super::kind::Kind;
use super::loops::OpenLoop;
use super::origin::{Origin, Why};
use super::program::{Program, Scope};
use super::value::{Func, Num, Placed, Real, Value};

/// An error that has been reported already.
#[derive(Debug, Clone, Copy)]
pub struct Reported;

pub type Checking<T> = Result<T, Reported>;

/// How deep calls may nest, and how many values one definition may have when everything is resolved:
/// beyond it lies a program that unrolls without end.
const CALLS: usize = 200;
const VALUES: usize = 400_000;
/// What a call counts for, among values: its frame is made anew.
const CALL: usize = 8;

/// How deep a definition may call itself where the condition that ends it is not decided.
const UNDECIDED_CALLS: usize = 8;

/// Which compilation of a definition is checked.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    pub training: bool,
    /// Values of dims that are fixed when compiling, for static decisions.
    pub dims: BTreeMap<DimVar, i64>,
    /// `--float f64`: f32 is read as f64.
    pub wide: bool,
}

/// The names and parameters of the function whose body is being walked.
#[derive(Debug, Default)]
pub struct Frame {
    pub locals: Vec<(Name, Value)>,
    pub scope: Option<Scope>,
    /// Where parameters of this layer go; `None` in functions.
    pub owner: Option<Owner>,
    /// The carries and yields of the scan whose body is walked directly.
    pub scan: Option<ScanFrame>,
    /// The axes that the body has named by `into:`; the result's type may name them.
    pub fresh: Vec<(Name, Value)>,
    /// What `f32`-like variables of the signature stand for: `float`, `num`, `any`.
    pub dtypes: Vec<(Name, Elem)>,
}

#[derive(Debug, Default)]
pub struct ScanFrame {
    pub yields: Vec<Placed>,
}

/// The path of a layer's parameters and the names given so far.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// `enc.linear_0`, or empty for the model itself.
    pub path: String,
    /// Stands behind the names of states and parameters: an optimizer's states are `optim:0.m.<parameter>`.
    pub suffix: String,
    pub counters: HashMap<Name, usize>,
    pub names: HashMap<Name, usize>,
    /// The turns of the static loops around: `.0.3`.
    pub turns: String,
}

impl Owner {
    pub fn join(&self, name: &str) -> String {
        let mut path = String::new();
        for part in [self.path.as_str(), name, self.suffix.as_str()] {
            if part.is_empty() {
                continue;
            }
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
        path
    }
}

/// Two index variables that are compared: they must run over one axis, which may be found out later.
pub struct Compared {
    pub left: AxisVar,
    pub right: AxisVar,
    pub span: Span,
}

/// A read whose index has a binder of unknown range.
pub struct Waiting {
    pub point: Point,
    pub axis: AxisVar,
    pub span: Span,
}

/// What a guard says of an index expression where it holds.
pub enum Guarded {
    /// `point in A`, with the axis' size.
    Inside(Point, Dim),
    /// The expression is at least zero: a comparison of indices.
    Nonnegative(AffinePoint),
}

/// One walk over one definition.
pub struct Checker<'p> {
    pub program: &'p Program,
    pub mode: Mode,
    pub core: Core,
    pub diagnostics: Vec<Diagnostic>,
    reported: HashSet<(u16, Option<Span>)>,
    pub frame: Frame,
    blocks: Vec<BlockId>,
    /// The hidden axes in scope, outermost first.
    pub ambient: Vec<AxisVar>,
    /// The axes of the stacks that are open: parameters made inside get them in front.
    pub stacks: Vec<AxisVar>,
    pub path: Option<Arc<CallPath>>,
    /// The word `fn` of the definition that is checked by itself.
    pub head: Option<Span>,
    depth: usize,
    calls_made: usize,
    pub facts: Facts,
    pub slots: HashMap<Name, (SlotKind, usize)>,
    /// The value of each state as last written.
    pub written: HashMap<usize, Written>,
    /// Each parameter and state as one value, stacks included.
    pub whole: HashMap<(SlotKind, usize), Val>,
    pub compared: Vec<Compared>,
    pub waiting: Vec<Waiting>,
    /// Ranges that would do for binders without one: what they are used to index, in words.
    pub meant: BTreeMap<AxisVar, String>,
    /// Binders whose range is written: they may run over a part of what they read.
    pub ranged: HashSet<AxisVar>,
    /// Divisibilities that the definition turned out to want, `by` and `over`: they hold from there on.
    pub divided: Vec<(Dim, Dim)>,
    /// What the guards around say of index expressions.
    pub guards: Vec<Guarded>,
    /// The declared type of the `param`, `state` or carry whose first value is evaluated.
    pub expected: Option<Expected>,
    /// The place that random draws are keyed by.
    pub site: String,
    pub draws: HashMap<String, usize>,
    /// The loops among the open ones that are no stacks, outermost first.
    pub loops: Vec<OpenLoop>,
    /// The blocks among the open ones that are no loops.
    pub checkpoints: usize,
    /// The optimizer that is applied, by number, and the path of the parameter that it is applied to.
    pub optimized: Option<(usize, String)>,
    /// The gradients of all parameters that are optimized together.
    pub all_gradients: Vec<Val>,
    /// Their norm, once it was asked for.
    pub gradient_norm: Option<Val>,
    /// A definition calls itself under a static condition that is not decided: it can only be checked where it is used.
    pub recursive: bool,
    /// Statics without a value have been made symbolic: the core cannot be compiled.
    pub open: bool,
    /// What a train or test block reads.
    pub files: Files<'p>,
    /// The names that the message which is being written gives to long sizes.
    pub legend: RefCell<Vec<(String, String)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    Param,
    State,
}

/// A state's value in the course of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub val: Val,
    /// The open stacks of whose present members it is; it lacks the axes of these.
    pub stacks: usize,
}

/// A type that an initial value must have.
#[derive(Clone, Debug)]
pub struct Expected {
    pub elem: Elem,
    pub axes: Vec<AxisVar>,
}

impl<'p> Checker<'p> {
    pub fn new(program: &'p Program, mode: Mode) -> Checker<'p> {
        let mut core = Core::default();
        let body = core.blocks.push(Block::default());
        let init = core.blocks.push(Block::default());
        core.body = Some(body);
        core.init = Some(init);
        Checker {
            program,
            mode,
            core,
            diagnostics: Vec::new(),
            reported: HashSet::new(),
            frame: Frame::default(),
            blocks: vec![body],
            ambient: Vec::new(),
            stacks: Vec::new(),
            path: None,
            head: None,
            depth: 0,
            calls_made: 0,
            facts: Facts::new(),
            slots: HashMap::new(),
            written: HashMap::new(),
            whole: HashMap::new(),
            compared: Vec::new(),
            waiting: Vec::new(),
            meant: BTreeMap::new(),
            ranged: HashSet::new(),
            divided: Vec::new(),
            guards: Vec::new(),
            expected: None,
            site: String::new(),
            draws: HashMap::new(),
            loops: Vec::new(),
            checkpoints: 0,
            optimized: None,
            all_gradients: Vec::new(),
            gradient_norm: None,
            recursive: false,
            open: false,
            files: Files::default(),
            legend: RefCell::default(),
        }
    }

    /// Whether what is evaluated stands in no loop and is mapped over nothing.
    pub fn at_top(&self) -> bool {
        self.blocks.len() == 1 && self.ambient.is_empty()
    }

    // ---- errors ------------------------------------------------------------------------------

    /// Reports an error, once for each place, with the calls that lead to it.
    pub fn fail<T>(&mut self, diagnostic: Diagnostic) -> Checking<T> {
        self.report(diagnostic);
        Err(Reported)
    }

    pub fn report(&mut self, mut diagnostic: Diagnostic) {
        diagnostic = self.with_legend(diagnostic);
        if !self.reported.insert((diagnostic.code.0, diagnostic.primary())) {
            return;
        }
        let mut path = self.path.clone();
        while let Some(call) = path {
            if !diagnostic.labels.iter().any(|label| label.span == call.span) {
                diagnostic = diagnostic.label(call.span, format!("in this call of `{}`", call.callee));
            }
            path = call.outer.clone();
        }
        self.diagnostics.push(diagnostic);
    }

    /// A dim computation that may overflow.
    pub fn dim(&mut self, result: Result<Dim, DimError>, span: Span) -> Checking<Dim> {
        match result {
            Ok(dim) => Ok(dim),
            Err(error) => self.fail(errors::dim_arithmetic(span, &error)),
        }
    }

    // ---- values ------------------------------------------------------------------------------

    /// Appends a value to the open block.
    pub fn emit(&mut self, form: Form, elem: Elem, visible: Vec<AxisVar>, span: Span) -> Val {
        let block = self.present_block();
        self.emit_in(block, form, elem, visible, span)
    }

    pub fn emit_in(
        &mut self,
        block: BlockId,
        form: Form,
        elem: Elem,
        visible: Vec<AxisVar>,
        span: Span,
    ) -> Val {
        let path = self.path.clone();
        let val = self.core.vals.push(ValData { form, elem, visible, span, path });
        self.core.blocks[block].vals.push(val);
        val
    }

    /// Refuses a program whose static loops or calls make too many values.
    pub fn check_work(&mut self, span: Span) -> Checking<()> {
        if self.core.vals.len() + CALL * self.calls_made > VALUES {
            return self.fail(errors::too_much_unrolling(span, VALUES));
        }
        Ok(())
    }

    pub fn open_block(&mut self) -> BlockId {
        let block = self.core.blocks.push(Block::default());
        self.blocks.push(block);
        block
    }

    pub fn reopen_block(&mut self, block: BlockId) {
        self.blocks.push(block);
    }

    pub fn close_block(&mut self) {
        self.blocks.pop();
    }

    /// The block that values are appended to.
    pub fn present_block(&self) -> BlockId {
        *self.blocks.last().expect("a block is always open")
    }

    pub fn body_block(&self) -> BlockId {
        self.core.body.expect("made with the checker")
    }

    pub fn fresh_axis(&mut self, name: impl Into<Name>, size: Option<Dim>, span: Span) -> AxisVar {
        let (name, path) = (name.into(), self.path.clone());
        let origin = Arc::new(Origin { why: Why::Made, name: name.clone(), span, path });
        self.core.axes.push(AxisInfo { name, size, root: None, family: None, span, origin })
    }

    /// A new index variable over the same positions.
    pub fn fresh_like(&mut self, axis: AxisVar) -> AxisVar {
        let info = AxisInfo { family: Some(self.family(axis)), ..self.core.axes[axis].clone() };
        self.core.axes.push(info)
    }

    /// The axis that stands for all axes which share its declared kind.
    pub fn family(&self, axis: AxisVar) -> AxisVar {
        self.core.axes[axis].family.unwrap_or(axis)
    }

    /// An axis of the size that a number gives; it keeps the kind of the name that the number is made of.
    pub fn axis_of_num(
        &mut self,
        name: impl Into<Name>,
        num: &Num,
        size: Dim,
        span: Span,
    ) -> Checking<AxisVar> {
        self.require_nonnegative(&size, span)?;
        let axis = self.fresh_axis(name, Some(size), span);
        self.core.axes[axis].family = num.origin().map(|origin| self.family(origin));
        Ok(axis)
    }

    /// The kind that the signature in scope declares for an axis. What was inferred counts for nothing here: it must not
    /// decide what a program means.
    pub fn declared_kind(&self, axis: AxisVar) -> Option<Kind> {
        let family = self.family(axis);
        self.frame.locals.iter().rev().find_map(|(_, value)| match value {
            Value::Num(Num { axis: Some(named), declared: Some(kind), .. })
                if self.family(*named) == family =>
            {
                // Only grids and rings keep their kind at another rate.
                let same = self.size_of(axis) == self.size_of(*named);
                (same || matches!(kind, Kind::Grid | Kind::Ring)).then_some(*kind)
            }
            _ => None,
        })
    }

    pub fn visible(&self, val: Val) -> &[AxisVar] {
        &self.core.vals[val].visible
    }

    pub fn elem(&self, val: Val) -> Elem {
        self.core.vals[val].elem.clone()
    }

    pub fn constant(&mut self, literal: Literal, dtype: DType, span: Span) -> Val {
        self.emit(Form::Const(literal), Elem::Of(dtype), Vec::new(), span)
    }

    /// One scalar function on values that are aligned already.
    pub fn scalar(&mut self, function: ScalarFn, args: &[Val], elem: Elem, span: Span) -> Val {
        let longest = args.iter().rev().map(|&arg| self.visible(arg).to_vec()).max_by_key(Vec::len);
        self.emit(Form::Scalar(function, args.to_vec()), elem, longest.unwrap_or_default(), span)
    }

    /// The dtype of the language's `f32`.
    pub fn float(&self) -> DType {
        if self.mode.wide { DType::F64 } else { DType::F32 }
    }

    // ---- names -------------------------------------------------------------------------------

    pub fn lookup(&self, name: &str) -> Option<Value> {
        let mut names = self.frame.locals.iter().rev().chain(&self.frame.fresh);
        names.find(|(local, _)| local == name).map(|(_, value)| value.clone())
    }

    pub fn bind(&mut self, name: impl Into<Name>, value: Value) {
        self.frame.locals.push((name.into(), value));
    }

    pub fn scope(&self) -> Scope {
        self.frame.scope.unwrap_or(Scope(0))
    }

    // ---- calls -------------------------------------------------------------------------------

    /// Runs `walk` in a new frame, as the body of a call.
    pub fn in_call<T>(
        &mut self,
        span: Span,
        callee: Name,
        frame: Frame,
        walk: impl FnOnce(&mut Self) -> Checking<T>,
    ) -> Checking<T> {
        if self.depth >= CALLS {
            return self.fail(errors::calls_too_deep(span, &callee, CALLS));
        }
        self.calls_made += 1;
        self.check_work(span)?;
        if self.open && callee != "fn" && self.calls_of(&callee) >= UNDECIDED_CALLS {
            self.recursive = true;
            return Err(Reported);
        }
        let path = Some(Arc::new(CallPath {
            outer: self.path.clone(),
            span,
            callee,
            instance: frame.owner.as_ref().map(|owner| Name::new(&owner.path)),
        }));
        let outer_path = std::mem::replace(&mut self.path, path);
        let outer = std::mem::replace(&mut self.frame, frame);
        let (known, divided) = (self.facts.extent(), self.divided.len());
        self.depth += 1;
        let result = walk(self);
        self.depth -= 1;
        self.facts.forget(known);
        for (by, over) in &self.divided[divided..] {
            // What the callee wanted of the caller's dims. A contradiction has been reported there.
            let _ = self.facts.divides(by, over);
        }
        self.frame = outer;
        self.path = outer_path;
        result
    }

    /// How often a definition stands on the way from the item to here.
    fn calls_of(&self, callee: &str) -> usize {
        let mut count = 0;
        let mut path = self.path.as_deref();
        while let Some(call) = path {
            count += usize::from(call.callee == callee);
            path = call.outer.as_deref();
        }
        count
    }

    // ---- dims --------------------------------------------------------------------------------

    /// The size of an axis, in normal form under the facts in force.
    pub fn size_of(&self, axis: AxisVar) -> Option<Dim> {
        self.core.axes[axis].size.clone()
    }

    pub fn same_dim(&self, left: &Dim, right: &Dim) -> bool {
        left == right || self.facts.same(left, right).unwrap_or(false)
    }

    /// A dim's value for static decisions.
    pub fn decide(&self, dim: &Dim) -> Option<i64> {
        let dim = self.facts.normalise(dim).unwrap_or_else(|_| dim.clone());
        dim.as_const().or_else(|| dim.eval(&self.mode.dims).ok())
    }

    /// A static number as a scalar of the core.
    pub fn num_to_val(&mut self, num: &Num, dtype: DType, span: Span) -> Checking<Val> {
        let float = dtype.is_float();
        match &num.real {
            Real::Known(value) if float => Ok(self.constant(Literal::Float(*value), dtype, span)),
            Real::Known(value) => match num.dim.as_ref().and_then(Dim::as_const) {
                Some(int) if int as f64 == *value => Ok(self.constant(Literal::Int(int), dtype, span)),
                _ => self.fail(errors::fraction_as_integer(span, *value, dtype)),
            },
            Real::Dim(dim) => {
                let form = match self.decide(dim) {
                    Some(value) if float => Form::Const(Literal::Float(value as f64)),
                    Some(value) => Form::Const(Literal::Int(value)),
                    None => Form::Size(dim.clone()),
                };
                Ok(self.emit(form, Elem::Of(dtype), Vec::new(), span))
            }
            Real::Val(val) => Ok(self.cast(*val, dtype, span)),
        }
    }

    /// A conversion, where one is needed.
    pub fn cast(&mut self, val: Val, dtype: DType, span: Span) -> Val {
        if self.elem(val) == Elem::Of(dtype) {
            return val;
        }
        self.scalar(ScalarFn::Cast(dtype), &[val], Elem::Of(dtype), span)
    }

    /// The value in the dtype that it is computed in.
    pub fn computed(&mut self, val: Val, span: Span) -> Val {
        match self.elem(val) {
            Elem::Of(dtype) => self.cast(val, dtype.computed(), span),
            Elem::Idx(..) => val,
        }
    }

    /// The function, where the value is one.
    pub fn as_func(&mut self, value: &Value, span: Span) -> Checking<Arc<Func>> {
        match value {
            Value::Func(func) => Ok(func.clone()),
            other => {
                let what = other.describe();
                self.fail(errors::not_a_function(span, what))
            }
        }
    }
}
