//! `scan`: a loop with carried values.

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::Span;
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Expected, Reported, ScanFrame};
use super::value::Value;

impl Checker<'_> {
    pub fn scan(&mut self, scan: &ast::Scan, span: Span) -> Checking<Value> {
        let [bind] = scan.binds.as_slice() else {
            return self.fail(errors::scan_over_several(span));
        };
        let mark = self.frame.locals.len();
        let mut inits = Vec::new();
        for carry in &scan.carries {
            inits.push(self.carry_init(carry)?);
        }
        let truncate = match &scan.truncate {
            None => None,
            Some(steps) => Some(self.truncation(steps)?),
        };
        let outer = self.ambient.len();
        let axis = self.bind_axis(bind)?;
        let body = self.open_loop(axis);
        for (index, (carry, &init)) in scan.carries.iter().zip(&inits).enumerate() {
            let (elem, visible) = (self.elem(init), self.visible(init).to_vec());
            let mut val = self.emit(Form::Carry(body, index), elem, visible, carry.span);
            if let Some(steps) = &truncate {
                val = self.truncated(val, axis, steps, scan.reverse.is_some(), carry.span)?;
            }
            self.bind(carry.name.name.clone(), Value::Tensor(val));
        }
        let frame = self.frame.scan.replace(ScanFrame::default());
        let walked = self.statements(&scan.body);
        let finished = std::mem::replace(&mut self.frame.scan, frame).unwrap_or_default();
        let next: Vec<Option<Value>> =
            scan.carries.iter().map(|carry| self.lookup(&carry.name.name)).collect();
        self.frame.locals.truncate(mark);
        self.ambient.truncate(outer);
        let results = walked.and_then(|value| self.scan_results(scan, &inits, next, finished, value));
        let (mut results, yields) = match results {
            Ok(results) => results,
            Err(reported) => {
                self.abandon_loop();
                return Err(reported);
            }
        };
        let declared = inits.len();
        let left = self.close_loop(&mut inits, &mut results);
        if self.core.axes[axis].size.is_none() {
            return self.range_unknown(axis, bind.span);
        }
        self.check_compared()?;
        self.prove_waiting()?;
        self.core.blocks[body].results = results.clone();
        let form = Form::Scan { axis, reverse: scan.reverse.is_some(), inits: inits.clone(), body };
        let tuple = self.emit(form, Elem::Of(DType::Bool), Vec::new(), span);
        self.states_behind(left, tuple, span)?;
        let mut values = Vec::new();
        let range = if yields == 0 { 0..declared } else { inits.len()..results.len() };
        for index in range {
            let (elem, mut visible) = (self.elem(results[index]), self.visible(results[index]).to_vec());
            if index >= inits.len() {
                visible.insert(0, axis);
            }
            values.push(Value::Tensor(self.emit(Form::Component { of: tuple, index }, elem, visible, span)));
        }
        Ok(if values.len() == 1 { values.remove(0) } else { Value::tuple(values) })
    }

    /// After how many steps a derivative ends.
    fn truncation(&mut self, steps: &ast::Expr) -> Checking<Dim> {
        let dim = self.dim_expr(steps)?;
        match dim.as_const() {
            Some(count) if count < 1 => self.fail(errors::not_a_count(steps.span)),
            _ => Ok(dim),
        }
    }

    /// A carry whose derivative ends at the steps that are multiples of `steps`, counted from the loop's first one.
    fn truncated(
        &mut self,
        carry: Val,
        axis: AxisVar,
        steps: &Dim,
        reverse: bool,
        span: Span,
    ) -> Checking<Val> {
        let (elem, visible) = (self.elem(carry), self.visible(carry).to_vec());
        if !elem.is_float() {
            return Ok(carry);
        }
        let mut step = Point::axis(axis);
        if reverse {
            let Some(size) = self.size_of(axis) else {
                return self.fail(errors::truncate_without_range(span));
            };
            let last = size.sub(&Dim::constant(1));
            let constant = self.dim(last, span)?;
            step = Point::Affine(AffinePoint { constant, terms: vec![(axis, Dim::constant(-1))] });
        }
        let within = Point::Rem(Box::new(step), steps.clone());
        let within = self.index_to_val(&within, span);
        let zero = self.constant(Literal::Int(0), DType::I32, span);
        let begins = self.scalar(ScalarFn::Eq, &[within, zero], Elem::Of(DType::Bool), span);
        let stopped = self.emit(Form::StopGradient(carry), elem.clone(), visible, span);
        Ok(self.scalar(ScalarFn::Select, &[begins, stopped, carry], elem, span))
    }

    pub fn carry_init(&mut self, carry: &ast::Param) -> Checking<Val> {
        let Some(default) = &carry.default else {
            return self.fail(errors::carry_without_value(&carry.name));
        };
        let (elem, axes) = self.read_type(&carry.ty)?;
        let val = self.initial(default, Expected { elem: elem.clone(), axes: axes.clone() }, &carry.ty)?;
        Ok(val)
    }

    fn scan_results(
        &mut self,
        scan: &ast::Scan,
        inits: &[Val],
        next: Vec<Option<Value>>,
        frame: ScanFrame,
        value: Value,
    ) -> Checking<(Vec<Val>, usize)> {
        if !matches!(&value, Value::Tuple(fields) if fields.is_empty()) {
            let span = scan.body.tail.as_ref().map_or(scan.body.span, |tail| tail.span);
            return self.fail(errors::scan_value(span));
        }
        let mut results = Vec::new();
        for ((carry, &init), value) in scan.carries.iter().zip(inits).zip(next) {
            let Some(value) = value else { return Err(Reported) };
            let elem = self.elem(init);
            let val = self.to_tensor_of(value, &elem, carry.span)?;
            let (have, want) = (self.visible(val).to_vec(), self.visible(init).to_vec());
            let same = have.len() == want.len()
                && have.iter().zip(&want).all(|(&have, &want)| self.unify(have, want));
            let elem_of = self.elem(val);
            if !same || !self.elem_fits(&elem, &elem_of) {
                let (before, after) = (self.show_val(init), self.show_val(val));
                let error = errors::carry_changes(carry.span, &carry.name.name, &before, &after);
                return self.fail(self.traced(error, &self.first_difference(&have, &want)));
            }
            results.push(if have == want {
                val
            } else {
                self.emit(Form::Rename { of: val, to: want.clone() }, elem, want, carry.span)
            });
        }
        let mut yields = 0;
        for (value, span) in frame.yields {
            let parts = match value {
                Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
                other => vec![other],
            };
            for part in parts {
                results.push(self.to_tensor(part, span)?);
                yields += 1;
            }
        }
        Ok((results, yields))
    }
}
