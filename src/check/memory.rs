//! `memory 512 MiB`: what the temporaries of a training step may take at once, a number with a unit.

use nn_grammar::ast;

use crate::base::Span;

use super::errors;
use super::state::Checking;
use super::train::TrainWalk;
use super::value::Value;

impl TrainWalk<'_> {
    /// A clause whose value has a unit. `memory` alone does; of several the last one counts.
    pub(super) fn quantity(
        &mut self,
        word: &ast::Ident,
        value: &ast::Expr,
        unit: &ast::Ident,
        span: Span,
    ) -> Checking<()> {
        if word.name != "memory" {
            let known = errors::is_clause(&word.name);
            let error =
                if known { errors::clause_without_unit(word, unit) } else { errors::unknown_clause(word) };
            return self.cx.fail(error);
        }
        let unit = match &*unit.name {
            "KiB" => 1u64 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return self.cx.fail(errors::unknown_unit(unit)),
        };
        let amount = match self.cx.eval(value)? {
            Value::Num(number) => number.known(),
            _ => None,
        };
        let Some(amount) = amount.filter(|amount| amount.is_finite() && *amount > 0.0) else {
            return self.cx.fail(errors::not_an_amount(value.span));
        };
        // A part of a byte is none.
        self.memory = Some(((amount * unit as f64) as u64, span));
        Ok(())
    }
}
