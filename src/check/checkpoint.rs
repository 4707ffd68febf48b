//! `checkpoint { … }`: a block whose values derivatives compute again instead of storing them.
//!
//! The block is one form of the core; whatever leaves it (its value, names that it assigns to, yields, written states) is a component of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nn_grammar::ast;

use crate::base::Span;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Num, Real, Value};

impl Checker<'_> {
    pub fn checkpoint(&mut self, block: &ast::Block, span: Span) -> Checking<Value> {
        let body = self.open_block();
        self.checkpoints += 1;
        let value = self.block(block);
        self.checkpoints -= 1;
        self.close_block();
        let value = value?;
        let mut leaving = Leaving {
            inside: self.core.blocks[body].vals.iter().copied().collect(),
            results: Vec::new(),
            function: false,
        };
        leaving.collect(&value);
        self.frame.locals.iter().for_each(|(_, value)| leaving.collect(value));
        self.frame.scan.iter().flat_map(|scan| &scan.yields).for_each(|(value, _)| leaving.collect(value));
        self.core.assertions.iter().for_each(|assertion| {
            leaving.take(assertion.holds);
            if let Some((left, right)) = assertion.sides {
                leaving.take(left);
                leaving.take(right);
            }
        });
        let mut written: Vec<usize> = self.written.keys().copied().collect();
        written.sort_unstable();
        written.iter().for_each(|index| leaving.take(self.written[index].val));
        if leaving.function {
            return self.fail(errors::function_leaves_a_checkpoint(span));
        }
        self.core.blocks[body].results = leaving.results.clone();
        let of = self.emit(Form::Checkpoint { body }, Elem::Of(self.float()), Vec::new(), span);
        let mut outside = HashMap::new();
        for (index, val) in leaving.results.into_iter().enumerate() {
            let (elem, visible, place) =
                (self.elem(val), self.visible(val).to_vec(), self.core.vals[val].span);
            outside.insert(val, self.emit(Form::Component { of, index }, elem, visible, place));
        }
        let moved = |val: &mut Val| *val = outside.get(val).copied().unwrap_or(*val);
        self.frame.locals.iter_mut().for_each(|(_, value)| *value = replaced(value, &outside));
        for (value, _) in self.frame.scan.iter_mut().flat_map(|scan| &mut scan.yields) {
            *value = replaced(value, &outside);
        }
        for assertion in &mut self.core.assertions {
            moved(&mut assertion.holds);
            assertion.sides.iter_mut().for_each(|(left, right)| {
                moved(left);
                moved(right);
            });
        }
        self.written.values_mut().for_each(|written| moved(&mut written.val));
        self.core.states.iter_mut().filter_map(|state| state.written.as_mut()).for_each(moved);
        Ok(replaced(&value, &outside))
    }
}

/// The values of a block that are used behind it.
struct Leaving {
    inside: HashSet<Val>,
    results: Vec<Val>,
    /// A function takes values of the block along.
    function: bool,
}

impl Leaving {
    fn take(&mut self, val: Val) {
        if self.inside.contains(&val) && !self.results.contains(&val) {
            self.results.push(val);
        }
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Tensor(val) | Value::Num(Num { real: Real::Val(val), .. }) => self.take(*val),
            Value::Tuple(fields) => fields.iter().for_each(|field| self.collect(&field.value)),
            Value::List(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Func(func) => {
                let captured = func.captured.iter().flat_map(|captured| captured.iter());
                let statics = func.statics.iter().flatten();
                let mut inner = Leaving {
                    inside: std::mem::take(&mut self.inside),
                    results: Vec::new(),
                    function: false,
                };
                captured.chain(statics).for_each(|(_, value)| inner.collect(value));
                self.function |= inner.function || !inner.results.is_empty();
                self.inside = inner.inside;
            }
            _ => {}
        }
    }
}

/// The value with the block's values as they are known behind it.
fn replaced(value: &Value, outside: &HashMap<Val, Val>) -> Value {
    let of = |val: &Val| outside.get(val).copied().unwrap_or(*val);
    match value {
        Value::Tensor(val) => Value::Tensor(of(val)),
        Value::Num(num @ Num { real: Real::Val(val), .. }) => {
            Value::Num(Num { real: Real::Val(of(val)), ..num.clone() })
        }
        Value::Tuple(fields) => {
            let fields = fields
                .iter()
                .map(|field| Field { label: field.label.clone(), value: replaced(&field.value, outside) });
            Value::Tuple(fields.collect())
        }
        Value::List(items) => {
            Value::List(items.iter().map(|item| replaced(item, outside)).collect::<Arc<[_]>>())
        }
        other => other.clone(),
    }
}
