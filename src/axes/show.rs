//! Dims as a user would write them: `2*H + 1`, `heads * E`, `(H - 1) / 2`, `H % 16`.

use std::fmt;

use super::dim::{Dim, DimVar};
use super::poly::{Atom, Poly, Quotient, Term};

/// How tightly a text binds, hence where it needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Sum,
    Product,
    Atom,
}

/// One summand: its sign and its text, which is a product at least.
struct Summand {
    negative: bool,
    text: String,
    level: Level,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(&self.0).0)
    }
}

fn render(poly: &Poly) -> (String, Level) {
    let mut remainders = Vec::new();
    let mut rest = poly.clone();
    while let Some((summand, smaller)) = take_remainder(&rest) {
        remainders.push(summand);
        rest = smaller;
    }
    let alone = rest.terms().len() + remainders.len() == 1;
    let mut summands = match merged_constant(&rest) {
        Some(quotient) if remainders.is_empty() => return (quotient, Level::Product),
        _ => rest.terms().iter().map(|term| summand(term, alone)).collect::<Vec<_>>(),
    };
    // The constant stays last.
    let constant = summands.len() - usize::from(rest.constant_term() != 0);
    summands.splice(constant..constant, remainders);
    if summands.first().is_some_and(|first| first.negative)
        && let Some(positive) = summands.iter().position(|summand| !summand.negative)
    {
        let first = summands.remove(positive);
        summands.insert(0, first);
    }
    match &summands[..] {
        [] => ("0".into(), Level::Atom),
        [Summand { negative: false, text, level }] => (text.clone(), *level),
        [first, others @ ..] => {
            let mut sum = String::from(if first.negative { "-" } else { "" });
            sum += &first.text;
            for summand in others {
                sum += if summand.negative { " - " } else { " + " };
                sum += &summand.text;
            }
            (sum, Level::Sum)
        }
    }
}

fn summand((monomial, coefficient): &Term, alone: bool) -> Summand {
    let negative = *coefficient < 0;
    let size = coefficient.unsigned_abs();
    let summand = |text, level| Summand { negative, text, level };
    let mut factors: Vec<_> = monomial.factors().iter().collect();
    factors.sort_by_key(|(atom, _)| product_order(atom));
    if let ([(Atom::Quotient(quotient), 1)], 1) = (&factors[..], size) {
        return summand(fraction(&quotient.over.0, "/", &quotient.under.0), Level::Product);
    }
    let mut texts = Vec::new();
    if size != 1 || factors.is_empty() {
        texts.push(size.to_string());
    }
    texts.extend(factors.iter().map(|(atom, exponent)| {
        let base = match atom {
            Atom::Var(var) => var.to_string(),
            Atom::Quotient(q) => format!("({})", fraction(&q.over.0, "/", &q.under.0)),
        };
        match exponent {
            1 => base,
            _ => format!("{base}**{exponent}"),
        }
    }));
    let level = if texts.len() == 1 { Level::Atom } else { Level::Product };
    let spaced = alone && factors.len() > 1;
    summand(texts.join(if spaced { " * " } else { "*" }), level)
}

/// Counts (`heads`) before sizes (`E`), each by name, quotients last.
fn product_order(atom: &Atom) -> (u8, Option<&DimVar>) {
    match atom {
        Atom::Var(var) => {
            let upper = var.as_str().starts_with(|c: char| c.is_uppercase());
            (u8::from(upper), Some(var))
        }
        Atom::Quotient(_) => (2, None),
    }
}

fn fraction(over: &Poly, operator: &str, under: &Poly) -> String {
    let operand = |poly: &Poly, least: Level| match render(poly) {
        (text, level) if level >= least => text,
        (text, _) => format!("({text})"),
    };
    let (over, under) = (operand(over, Level::Product), operand(under, Level::Atom));
    format!("{over} {operator} {under}")
}

/// `(p + c) / q - k` as `(p + c - k * q) / q`: the `(H - 1) / 2` of a convolution, whose normal
/// form is `(H + 1) / 2 - 1`.
fn merged_constant(poly: &Poly) -> Option<String> {
    let [(monomial, 1), _] = poly.terms() else {
        return None;
    };
    let [(Atom::Quotient(quotient), 1)] = monomial.factors() else {
        return None;
    };
    let Quotient { over, under, .. } = &**quotient;
    let constant = poly.constant_term();
    if constant >= 0 || over.0.constant_term() <= 0 || under.as_const().is_none() {
        return None;
    }
    let over = over.0.add(&under.0.scale(constant).ok()?).ok()?;
    Some(fraction(&over, "/", &under.0))
}

/// Finds `k * p - k * q * (p / q)` in a sum, which is `k * (p % q)`, and what is left without it.
fn take_remainder(poly: &Poly) -> Option<(Summand, Poly)> {
    let atoms = poly.terms().iter().flat_map(|(monomial, _)| monomial.factors());
    atoms.filter(|(_, exponent)| *exponent == 1).find_map(|(atom, _)| {
        let Atom::Quotient(quotient) = atom else {
            return None;
        };
        let (over, under) = (&quotient.over.0, &quotient.under.0);
        let (slope, rest) = poly.split_linear(atom)?;
        let (times, inexact) = slope.div_rem(under).ok()?;
        let smaller = rest.add(&times.mul(over).ok()?).ok()?;
        if !inexact.is_zero() || smaller.terms().len() >= rest.terms().len() {
            return None;
        }
        let negative = times.terms().iter().all(|(_, coefficient)| *coefficient > 0);
        let times = if negative { times } else { times.scale(-1).ok()? };
        let remainder = fraction(over, "%", under);
        let text = match render(&times) {
            (factor, Level::Atom) if factor == "1" => remainder,
            (factor, Level::Sum) => format!("({factor})*({remainder})"),
            (factor, _) => format!("{factor}*({remainder})"),
        };
        Some((Summand { negative, text, level: Level::Product }, smaller))
    })
}
