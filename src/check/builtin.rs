//! The functions that the compiler itself provides. Everything else is nn, in the library.

use std::sync::Arc;

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::graph::Draw;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::call::Args;
use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Callable, Func, Instance, Num, Placed, Value};

/// A function that is not written in nn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    Scalar(ScalarFn),
    /// `max(a, b)` and `max(x, over: N)`; the others only the latter.
    Reduce(Reducer),
    Position,
    Size,
    Flatten,
    Concat,
    Split,
    Sort,
    ArgSort,
    TopK,
    Shift,
    StopGradient,
    Grad,
    Vjp,
    Jvp,
    Stack,
    Iterate,
    Len,
    Enumerate,
    Uniform,
    Normal,
    GlobalNorm,
    /// All arrays of a file of this format.
    Read(&'static str),
}

const NAMED: &[(&str, Builtin)] = &[
    ("abs", Builtin::Scalar(ScalarFn::Abs)),
    ("sign", Builtin::Scalar(ScalarFn::Sign)),
    ("sqrt", Builtin::Scalar(ScalarFn::Sqrt)),
    ("exp", Builtin::Scalar(ScalarFn::Exp)),
    ("log", Builtin::Scalar(ScalarFn::Log)),
    ("sin", Builtin::Scalar(ScalarFn::Sin)),
    ("cos", Builtin::Scalar(ScalarFn::Cos)),
    ("tanh", Builtin::Scalar(ScalarFn::Tanh)),
    ("sigmoid", Builtin::Scalar(ScalarFn::Sigmoid)),
    ("erf", Builtin::Scalar(ScalarFn::Erf)),
    ("floor", Builtin::Scalar(ScalarFn::Floor)),
    ("ceil", Builtin::Scalar(ScalarFn::Ceil)),
    ("round", Builtin::Scalar(ScalarFn::Round)),
    ("position", Builtin::Position),
    ("size", Builtin::Size),
    ("flatten", Builtin::Flatten),
    ("concat", Builtin::Concat),
    ("split", Builtin::Split),
    ("sort", Builtin::Sort),
    ("argsort", Builtin::ArgSort),
    ("top_k", Builtin::TopK),
    ("shift", Builtin::Shift),
    ("stop_gradient", Builtin::StopGradient),
    ("grad", Builtin::Grad),
    ("vjp", Builtin::Vjp),
    ("jvp", Builtin::Jvp),
    ("stack", Builtin::Stack),
    ("iterate", Builtin::Iterate),
    ("len", Builtin::Len),
    ("enumerate", Builtin::Enumerate),
    ("global_norm", Builtin::GlobalNorm),
    ("npz", Builtin::Read("npz")),
    ("npy", Builtin::Read("npy")),
    ("csv", Builtin::Read("csv")),
    ("idx", Builtin::Read("idx")),
    ("folder", Builtin::Read("folder")),
    ("text", Builtin::Read("text")),
    ("random.uniform", Builtin::Uniform),
    ("random.normal", Builtin::Normal),
    ("max", Builtin::Reduce(Reducer::Max)),
];

impl Builtin {
    pub fn parse(name: &str) -> Option<Builtin> {
        if let Some(reducer) = Reducer::parse(name) {
            return Some(Builtin::Reduce(reducer));
        }
        NAMED.iter().find(|(word, _)| *word == name).map(|(_, builtin)| *builtin)
    }

    /// `random.normal`
    pub fn member(module: &str, name: &str) -> Option<Builtin> {
        NAMED
            .iter()
            .find(|(word, _)| word.split_once('.') == Some((module, name)))
            .map(|(_, builtin)| *builtin)
    }

    pub fn name(self) -> &'static str {
        match self {
            Builtin::Reduce(reducer) => reducer.name(),
            other => NAMED.iter().find(|(_, builtin)| *builtin == other).map_or("", |(word, _)| word),
        }
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(word, _)| *word).chain(Reducer::ALL.iter().map(|(_, word)| *word))
    }
}

impl Checker<'_> {
    /// A call as it is written: some builtins take static and tensor arguments together.
    pub fn call_builtin(
        &mut self,
        builtin: Builtin,
        args: &[ast::Arg],
        first: Option<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let mut into = None;
        if matches!(builtin, Builtin::Sort | Builtin::ArgSort) {
            into = self.into_name(args)?;
        }
        let is_into = |arg: &ast::Arg| arg.label.as_ref().is_some_and(|label| label.name == "into");
        let mut args = self.args(args.iter().filter(|arg| into.is_none() || !is_into(arg)))?;
        if let Some(first) = first {
            // These give a function, to which what is piped is the argument.
            if matches!(
                builtin,
                Builtin::Stack | Builtin::Iterate | Builtin::Grad | Builtin::Vjp | Builtin::Jvp
            ) {
                let value = self.builtin(builtin, args, None, span)?;
                let func = self.as_func(&value, span)?;
                return self.apply(&func, vec![first], span);
            }
            args.positional.insert(0, first);
        }
        self.builtin(builtin, args, into, span)
    }

    /// A builtin that was passed as a value.
    pub fn apply_builtin(&mut self, builtin: Builtin, args: Vec<Placed>, span: Span) -> Checking<Value> {
        self.builtin(builtin, Args { positional: args, labelled: Vec::new() }, None, span)
    }

    fn builtin(
        &mut self,
        builtin: Builtin,
        mut args: Args,
        into: Option<ast::Ident>,
        span: Span,
    ) -> Checking<Value> {
        let name = builtin.name();
        let allowed: &[&str] = match builtin {
            Builtin::Reduce(Reducer::ArgMax | Reducer::ArgMin) | Builtin::TopK => &["over", "ties"],
            Builtin::Reduce(_) | Builtin::Flatten | Builtin::Concat | Builtin::Split => &["over"],
            Builtin::Sort => &["over", "into", "by", "descending", "ties"],
            Builtin::ArgSort => &["over", "into", "descending", "ties"],
            Builtin::Uniform => &["low", "high"],
            Builtin::Shift => &["over", "by", "fill"],
            _ => &[],
        };
        if let Some((label, _)) = args.labelled.iter().find(|(label, _)| !allowed.contains(&&*label.name)) {
            let names: Vec<Name> = allowed.iter().map(Name::new).collect();
            let numbered = args.named(&label.name).map(|(number, _)| number);
            let numbered = numbered.zip(args.positional.first()).and_then(|(number, (value, _))| {
                let (Value::Num(number), Value::Tensor(val)) = (number, value) else { return None };
                let (visible, number) = (self.visible(*val), number.dim?.as_const()?);
                let index = if number < 0 { number + visible.len() as i64 } else { number };
                visible.get(usize::try_from(index).ok()?).map(|&axis| self.show_axis(axis))
            });
            return self.fail(errors::unknown_argument(label, name, names.iter(), numbered));
        }
        if let Some((value, place)) = args.named("ties") {
            self.ties_any(&value, place)?;
            // Whatever the operation is made of, of equal entries any one may be taken.
            args.labelled.retain(|(label, _)| label.name != "ties");
            let before = self.core.vals.len();
            let value = self.builtin(builtin, args, into, span)?;
            let made = self.core.vals.keys().skip(before);
            self.core.any_ties.extend(made);
            return Ok(value);
        }
        let over = args.named("over");
        let wanted = match builtin {
            Builtin::Reduce(Reducer::Max | Reducer::Min) if over.is_none() && args.positional.len() == 2 => 2,
            Builtin::Split | Builtin::Stack | Builtin::Iterate | Builtin::TopK => 2,
            Builtin::Concat | Builtin::Uniform | Builtin::Normal => args.positional.len(),
            _ => 1,
        };
        if args.positional.len() != wanted {
            return self.fail(errors::wrong_count(span, name, wanted, args.positional.len()));
        }
        match builtin {
            Builtin::Scalar(function) => self.elementwise(function, args.positional, span),
            Builtin::Reduce(reducer) if wanted == 2 => {
                let function = if reducer == Reducer::Max { ScalarFn::Max } else { ScalarFn::Min };
                if let [(Value::Num(a), _), (Value::Num(b), _)] = args.positional.as_slice()
                    && let (Some(x), Some(y)) = (a.known(), b.known())
                {
                    return Ok(Value::Num(if (x >= y) == (function == ScalarFn::Max) {
                        a.clone()
                    } else {
                        b.clone()
                    }));
                }
                self.elementwise(function, args.positional, span)
            }
            Builtin::Reduce(reducer) => {
                let (value, _) = args.positional.remove(0);
                self.reduce_call(reducer, value, over, span)
            }
            Builtin::Position => match args.positional.remove(0) {
                (Value::Index(point), _) => Ok(Value::Index(point.numbered())),
                (Value::Tensor(val), place) if matches!(self.elem(val), Elem::Idx(..)) => {
                    Ok(Value::Tensor(self.cast(val, DType::I32, place)))
                }
                (other, place) => {
                    let what = other.describe();
                    self.fail(errors::not_an_index(place, what))
                }
            },
            Builtin::Size => match args.positional.remove(0) {
                (Value::Num(num), _) => Ok(Value::Num(num)),
                (Value::Pack(axes), _) => {
                    let mut size = Dim::constant(1);
                    for &axis in axes.iter() {
                        let product = size.mul(&self.core.size(axis));
                        size = self.dim(product, span)?;
                    }
                    Ok(Value::Num(Num::dim(size)))
                }
                (other, place) => {
                    let what = other.describe();
                    self.fail(errors::not_an_axis(place, what))
                }
            },
            Builtin::Flatten => self.flatten(args, over, span),
            Builtin::Concat => self.concat(args, over, span),
            Builtin::Split => self.split(args, over, span),
            Builtin::Shift => {
                let (by, fill) = (args.named("by"), args.named("fill"));
                let (value, _) = args.positional.remove(0);
                self.shift(value, over, by, fill, span)
            }
            Builtin::Sort | Builtin::ArgSort | Builtin::TopK => self.sorting(builtin, args, into, span),
            Builtin::StopGradient => {
                let (value, place) = args.positional.remove(0);
                let of = self.to_tensor(value, place)?;
                let (elem, visible) = (self.elem(of), self.visible(of).to_vec());
                Ok(Value::Tensor(self.emit(Form::StopGradient(of), elem, visible, span)))
            }
            Builtin::Grad | Builtin::Vjp | Builtin::Jvp => {
                let (value, place) = args.positional.remove(0);
                let func = self.as_func(&value, place)?;
                let callable = match builtin {
                    Builtin::Grad => Callable::Grad(func),
                    Builtin::Vjp => Callable::Vjp(func),
                    _ => Callable::Jvp(func),
                };
                Ok(self.function(callable, None, span))
            }
            Builtin::Iterate => {
                let (count, step) = self.repeated(args, "iterate", span)?;
                Ok(self.function(Callable::Iterate { count, step }, None, span))
            }
            Builtin::Stack => self.stack(args, span),
            Builtin::Len => match args.positional.remove(0) {
                (Value::List(items), _) => Ok(Value::Num(Num::constant(items.len() as i64))),
                (other, place) => {
                    let what = other.describe();
                    self.fail(errors::no_length(place, what))
                }
            },
            Builtin::Enumerate => match args.positional.remove(0) {
                (Value::List(items), _) => {
                    let pairs = items.iter().enumerate();
                    let pairs = pairs.map(|(index, item)| {
                        Value::tuple([Value::Num(Num::constant(index as i64)), item.clone()])
                    });
                    Ok(Value::List(pairs.collect()))
                }
                (other, place) => {
                    let what = other.describe();
                    self.fail(errors::not_a_list(place, what))
                }
            },
            Builtin::Uniform => {
                let (low, high) = (args.named("low"), args.named("high"));
                let draw = self.random(Draw::Uniform, args, span)?;
                let Some((high, high_span)) = high else { return Ok(draw) };
                let low = low.unwrap_or((Value::Num(Num::constant(0)), high_span));
                let width = self.binary(ast::BinaryOp::Sub, (high, span), low.clone(), span)?;
                let scaled = self.binary(ast::BinaryOp::Mul, (draw, span), (width, span), span)?;
                self.binary(ast::BinaryOp::Add, (scaled, span), low, span)
            }
            Builtin::Normal => self.random(Draw::Normal, args, span),
            Builtin::Read(format) => {
                let (path, place) = args.positional.remove(0);
                self.whole_arrays(format, path, place)
            }
            Builtin::GlobalNorm => match args.positional.remove(0) {
                (Value::Tensor(gradient), _) => self.global_norm(gradient, span),
                (_, place) => self.fail(errors::gradients_of_an_optimizer(place)),
            },
        }
    }

    /// `ties: any`, the one thing that can be said of equal entries.
    fn ties_any(&mut self, value: &Value, span: Span) -> Checking<()> {
        match value {
            Value::Func(func)
                if matches!(func.callable, Callable::Builtin(Builtin::Reduce(Reducer::Any))) =>
            {
                Ok(())
            }
            _ => self.fail(errors::ties_other_than_any(span)),
        }
    }

    fn function(&self, callable: Callable, instance: Option<Arc<Instance>>, span: Span) -> Value {
        Value::Func(Arc::new(Func { callable, statics: None, captured: None, instance, span }))
    }

    fn stack(&mut self, args: Args, span: Span) -> Checking<Value> {
        let (count, block) = self.repeated(args, "stack", span)?;
        let callable = Callable::Stack { count, block };
        Ok(self.function(callable, Some(Arc::new(Instance::default())), span))
    }

    /// How often, and what.
    fn repeated(&mut self, args: Args, name: &str, span: Span) -> Checking<(Dim, Arc<Func>)> {
        let [(count, count_span), (block, block_span)] = args.positional.as_slice() else {
            return self.fail(errors::wrong_count(span, name, 2, args.positional.len()));
        };
        let Value::Num(Num { dim: Some(count), .. }) = count else {
            return self.fail(errors::not_a_dim(*count_span, count.describe()));
        };
        if count.as_const().is_some_and(|count| count < 0) {
            return self.fail(errors::negative_dim(*count_span, count));
        }
        let block = self.as_func(block, *block_span)?;
        let block = if block.statics.is_none() {
            self.with_statics(&block, Args::default(), *block_span)?
        } else {
            block
        };
        Ok((count.clone(), block))
    }

    /// Draws of the given dims, or of the type that an initial value must have.
    fn random(&mut self, draw: Draw, args: Args, span: Span) -> Checking<Value> {
        let mut visible = Vec::new();
        let mut dtype = self.float();
        if args.positional.is_empty()
            && let Some(expected) = self.expected.clone()
        {
            visible = expected.axes.iter().map(|&axis| self.fresh_like(axis)).collect();
            dtype = expected.elem.dtype();
        }
        for (value, place) in args.positional {
            match value {
                Value::Num(Num { axis: Some(axis), .. }) => visible.push(self.fresh_like(axis)),
                Value::Num(Num { dim: Some(dim), .. }) => {
                    let name = dim.to_string();
                    visible.push(self.fresh_axis(name, Some(dim), place));
                }
                Value::Pack(axes) => {
                    visible.extend(axes.iter().map(|&axis| self.fresh_like(axis)).collect::<Vec<_>>())
                }
                other => {
                    let what = other.describe();
                    return self.fail(errors::not_a_dim(place, what));
                }
            }
        }
        // The site is where the draw stands: the layer's path, or the definition, and its number there.
        let place = match &self.frame.owner {
            Some(owner) if self.site.is_empty() => owner.path.clone(),
            _ => self.site.clone(),
        };
        let count = self.draws.entry(place.clone()).or_insert(0);
        let site = crate::tensor::random::site(&format!("{place}#{count}"));
        *count += 1;
        let ambient = self.ambient.clone();
        let form = Form::Random { draw, site, ambient };
        Ok(Value::Tensor(self.emit(form, Elem::Of(dtype), visible, span)))
    }

    // ---- shapes --------------------------------------------------------------------------------

    /// `flatten(x, over: (H, W))`: one axis instead of several that follow each other; without `over`, of all.
    fn flatten(&mut self, mut args: Args, over: Option<Placed>, span: Span) -> Checking<Value> {
        let (value, place) = args.positional.remove(0);
        let val = self.to_tensor(value, place)?;
        let visible = self.visible(val).to_vec();
        let merged = match over {
            None => visible.clone(),
            Some((over, place)) => self.axes_named(&over, val, place)?,
        };
        let Some(start) = merged.first().and_then(|first| visible.iter().position(|axis| axis == first))
        else {
            return self.fail(errors::flatten_nothing(span));
        };
        if visible.get(start..start + merged.len()) != Some(&merged[..]) {
            let shown = self.show_val(val);
            return self.fail(errors::flatten_apart(span, &shown));
        }
        if merged.len() == 1 {
            return Ok(Value::Tensor(val));
        }
        let size = self.entries(&merged, span)?;
        let flat = self.fresh_axis(size.to_string(), Some(size), span);
        let mut to = visible;
        to.splice(start..start + merged.len(), [flat]);
        let elem = self.elem(val);
        Ok(Value::Tensor(self.emit(Form::Reshape(val), elem, to, span)))
    }

    /// `concat(a, b)`: along the last axis, or along the one that `over` names in the first part that is no list of numbers.
    fn concat(&mut self, args: Args, over: Option<Placed>, span: Span) -> Checking<Value> {
        let mut parts = Vec::new();
        let listed = args.positional.iter().take_while(|(value, _)| matches!(value, Value::List(_))).count();
        for (value, place) in args.positional {
            match value {
                Value::Tuple(fields) => {
                    for field in fields.iter() {
                        parts.push((self.to_tensor(field.value.clone(), place)?, place));
                    }
                }
                other => parts.push((self.to_tensor(other, place)?, place)),
            }
        }
        let Some(&(first, _)) = parts.get(listed).or(parts.first()) else {
            return self.fail(errors::wrong_count(span, "concat", 2, 0));
        };
        let axes = self.visible(first).to_vec();
        let position = match over {
            None => axes.len().checked_sub(1),
            Some((over, place)) => {
                let named = self.axes_named(&over, first, place)?;
                axes.iter().position(|axis| named.first() == Some(axis))
            }
        };
        let Some(position) = position else {
            return self.fail(errors::concat_of_scalars(span));
        };
        let elem = self.elem(first);
        let mut size = Dim::constant(0);
        let mut vals = Vec::new();
        for (val, place) in parts {
            let visible = self.visible(val).to_vec();
            let agree = visible.len() == axes.len()
                && (0..axes.len())
                    .all(|index| index == position || self.join_axes(visible[index], axes[index], place));
            let other = self.elem(val);
            if !agree || !self.elem_fits(&elem, &other) {
                let (left, right) = (self.show_val(first), self.show_val(val));
                let differ = (0..axes.len().min(visible.len()))
                    .find(|&index| index != position && !self.unify(visible[index], axes[index]));
                let why = if visible.len() != axes.len() {
                    format!("{} axes, not {}", visible.len(), axes.len()).replace("1 axes", "1 axis")
                } else if let Some(index) = differ {
                    format!(
                        "`{}` where `{}` is wanted",
                        self.show_axis(visible[index]),
                        self.show_axis(axes[index])
                    )
                } else {
                    format!("entries of {}, not {}", self.show_elem(&other), self.show_elem(&elem))
                };
                let error = errors::concat_shapes(place, &left, &right, &why);
                let differ = differ.map_or(Vec::new(), |index| vec![axes[index], visible[index]]);
                return self.fail(self.traced(error, &differ));
            }
            let sum = size.add(&self.core.size(visible[position]));
            size = self.dim(sum, span)?;
            let mut to = axes.clone();
            to[position] = visible[position];
            vals.push(if to == visible {
                val
            } else {
                self.emit(Form::Rename { of: val, to: to.clone() }, elem.clone(), to, place)
            });
        }
        let joined = self.fresh_axis(size.to_string(), Some(size), span);
        let mut visible = axes;
        visible[position] = joined;
        Ok(Value::Tensor(self.emit(Form::Concat { parts: vals, position }, elem, visible, span)))
    }

    /// `split(x, 4)`: equal parts of the last axis, or of the one that `over` names.
    fn split(&mut self, args: Args, over: Option<Placed>, span: Span) -> Checking<Value> {
        let [(value, place), (count, count_span)] = args.positional.as_slice() else {
            return self.fail(errors::wrong_count(span, "split", 2, args.positional.len()));
        };
        let val = self.to_tensor(value.clone(), *place)?;
        let parts = match count {
            Value::Num(Num { dim: Some(dim), .. }) => self.decide(dim).filter(|&count| count > 0),
            _ => None,
        };
        let Some(parts) = parts else {
            return self.fail(errors::not_a_dim(*count_span, count.describe()));
        };
        let axes = self.visible(val).to_vec();
        let position = match over {
            None => axes.len().checked_sub(1),
            Some((over, place)) => {
                let named = self.axes_named(&over, val, place)?;
                axes.iter().position(|axis| named.first() == Some(axis))
            }
        };
        let Some(position) = position else {
            return self.fail(errors::concat_of_scalars(span));
        };
        let size = self.core.size(axes[position]);
        let size = self.facts.normalise(&size).unwrap_or(size);
        let floor = size.div(&Dim::constant(parts)).ok().filter(|part| {
            let all = part.mul(&Dim::constant(parts));
            all.is_ok_and(|all| self.demand_equal(&all, &size, span))
        });
        let Some(part) = size.div_exact(&Dim::constant(parts)).or(floor) else {
            let (shown, size) = (self.show_val(val), self.core.size(axes[position]));
            let error = errors::split_uneven(span, &shown, parts, &size);
            return self.fail(self.traced(error, &[axes[position]]));
        };
        let elem = self.elem(val);
        let mut values = Vec::new();
        for index in 0..parts {
            let sliced = self.fresh_axis(part.to_string(), Some(part.clone()), span);
            let offset = part.mul(&Dim::constant(index));
            let constant = self.dim(offset, span)?;
            let point = Point::Affine(AffinePoint { constant, terms: vec![(sliced, Dim::constant(1))] });
            let at = (0..axes.len())
                .map(|axis| if axis == position { At::Point(point.clone()) } else { At::Keep })
                .collect();
            let mut visible = axes.clone();
            visible[position] = sliced;
            let form = Form::Read { of: val, at, outside: Outside::Never };
            values.push(Value::Tensor(self.emit(form, elem.clone(), visible, span)));
        }
        Ok(Value::tuple(values))
    }
}
