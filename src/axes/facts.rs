//! `Facts`: what `where` clauses say about dims, and the normal form that uses it.
//!
//! Every fact becomes a rewriting: `K == C` replaces one variable; `H % 16 == 0` replaces H by 16
//! times a new variable, which is shown as `H / 16` again; what can be solved for no variable is
//! used by division with remainder. Facts that contradict each other are errors where that is seen.

use super::dim::{Dim, DimError, DimVar};
use super::poly::{Atom, Poly, gcd};

/// A conjunction of facts about dims, in the order in which they were learnt.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    rules: Vec<Rule>,
    bounds: Vec<(Dim, i64)>,
}

/// One rewriting; the dims in it have been rewritten by the rules before it.
#[derive(Clone, Debug)]
enum Rule {
    /// `var` is `by`, which does not mention it.
    Replace { var: DimVar, by: Dim },
    /// `over / under` is exact and named `quotient`; `var` occurs in `over` and is replaced by `by`.
    Divide {
        var: DimVar,
        by: Dim,
        quotient: DimVar,
        over: Dim,
        under: Dim,
        /// Whether the quotient is at least zero, as variables otherwise are.
        nonnegative: bool,
    },
    /// The dim is zero.
    Vanish(Dim),
}

impl Facts {
    pub fn new() -> Facts {
        Facts::default()
    }

    /// How much is known, for `forget`.
    pub fn extent(&self) -> (usize, usize) {
        (self.rules.len(), self.bounds.len())
    }

    /// Forgets what was learnt since `extent` was that: facts are only ever added.
    pub fn forget(&mut self, (rules, bounds): (usize, usize)) {
        self.rules.truncate(rules);
        self.bounds.truncate(bounds);
    }

    /// Learns `left == right`. A variable that stands alone on the left is rewritten to the right.
    pub fn equal(&mut self, left: &Dim, right: &Dim) -> Result<(), DimError> {
        let (a, b) = (self.rewrite(left)?, self.rewrite(right)?);
        let difference = a.sub(&b)?;
        match difference.as_const() {
            Some(0) => return Ok(()),
            Some(_) => return Err(DimError::Contradiction(left.clone(), right.clone())),
            None => {}
        }
        let preferred = a.as_var().into_iter().chain(b.as_var()).cloned();
        let candidates = preferred.chain(difference.vars());
        let rule = candidates.into_iter().find_map(|var| {
            let by = solve_unit(&difference, &var)?;
            Some(Rule::Replace { var, by })
        });
        self.rules.push(rule.unwrap_or(Rule::Vanish(difference)));
        Ok(())
    }

    /// Learns `over % under == 0`.
    pub fn divides(&mut self, under: &Dim, over: &Dim) -> Result<(), DimError> {
        let (p, q) = (self.rewrite(over)?, self.rewrite(under)?);
        let remainder = p.rem(&q)?;
        match remainder.as_const() {
            Some(0) => return Ok(()),
            Some(_) => {
                let remainder = over.rem(under)?;
                return Err(DimError::Contradiction(remainder, Dim::constant(0)));
            }
            None => {}
        }
        let Some((p, q)) = exact_lowest_terms(&p, &q) else {
            self.rules.push(Rule::Vanish(remainder));
            return Ok(());
        };
        // over == under * quotient gives a variable of `over` when its coefficient is 1 or -1.
        let quotient = DimVar::new(format!("({p} / {q})"));
        let exact = p.sub(&q.mul(&Dim::var(quotient.clone()))?)?;
        let mut candidates = p.vars().into_iter().filter(|var| !q.mentions(var));
        let rule = candidates.find_map(|var| {
            let by = solve_unit(&exact, &var)?;
            Some(Rule::Divide {
                var,
                by,
                quotient: quotient.clone(),
                nonnegative: p.at_least(0) && q.at_least(0),
                over: p.clone(),
                under: q.clone(),
            })
        });
        self.rules.push(rule.unwrap_or(Rule::Vanish(remainder)));
        Ok(())
    }

    /// Learns `dim >= n`. `N - 1 >= 0` says of N that it is at least 1.
    pub fn bound_below(&mut self, dim: &Dim, n: i64) {
        let constant = dim.0.constant_term();
        let known = dim.sub(&Dim::constant(constant)).ok().zip(n.checked_sub(constant));
        self.bounds.push(known.unwrap_or_else(|| (dim.clone(), n)));
    }

    /// The normal form under the facts: two dims with the same one are equal wherever the facts hold.
    pub fn normalise(&self, dim: &Dim) -> Result<Dim, DimError> {
        if self.rules.is_empty() || dim.as_const().is_some() {
            return Ok(dim.clone());
        }
        let mut dim = self.rewrite(dim)?;
        for rule in self.rules.iter().rev() {
            if let Rule::Divide { quotient, over, under, .. } = rule {
                dim = restore(&dim, quotient, over, under)?;
            }
        }
        Ok(dim)
    }

    /// Whether the facts prove `left == right`.
    pub fn same(&self, left: &Dim, right: &Dim) -> Result<bool, DimError> {
        Ok(left == right || !self.rules.is_empty() && self.rewrite(left)? == self.rewrite(right)?)
    }

    /// Whether the facts and every variable being at least zero prove `dim >= n`.
    pub fn at_least(&self, dim: &Dim, n: i64) -> bool {
        if let Some(value) = dim.as_const() {
            return value >= n;
        }
        if dim.at_least(n) {
            return true;
        }
        if self.rules.is_empty() && self.bounds.is_empty() {
            return false;
        }
        let holds = |dim: &Dim, n: i64| {
            dim.at_least(n) || self.rewrite(dim).is_ok_and(|dim| self.quotients_hold(&dim) && dim.at_least(n))
        };
        // What has a bound is shifted to start at zero; or bounds are used one at a time.
        let with_bound = |(known, low): &(Dim, i64)| {
            let rest = dim.sub(known).ok();
            rest.zip(n.checked_sub(*low)).is_some_and(|(rest, n)| holds(&rest, n))
        };
        let shifted = || self.shifted(dim).is_ok_and(|dim| dim.at_least(n));
        holds(dim, n) || shifted() || self.bounds.iter().any(with_bound)
    }

    /// The dim with every bound used up: `H - A >= 0` puts `H + A` for H, which is then what H is beyond A, at least zero as every variable
    /// is.
    fn shifted(&self, dim: &Dim) -> Result<Dim, DimError> {
        let mut steps: Vec<(DimVar, Dim)> = Vec::new();
        let apply = |dim: &Dim, steps: &[(DimVar, Dim)]| {
            steps.iter().try_fold(dim.clone(), |dim, (var, by)| {
                dim.substitute_with(&|other| (other == var).then(|| by.clone()))
            })
        };
        for (known, low) in &self.bounds {
            let known = apply(known, &steps)?;
            if known.at_least(*low) {
                continue;
            }
            let solved = known.vars().into_iter().find_map(|var| {
                let (slope, rest) = known.linear_in(&var)?;
                (slope.as_const() == Some(1)).then_some((var, rest))
            });
            if let Some((var, rest)) = solved {
                let by = Dim::var(var.clone()).add(&Dim::constant(*low))?.sub(&rest)?;
                steps.push((var, by));
            }
        }
        apply(dim, &steps)
    }

    /// Whether every variable of `dim`, a rewritten dim, is at least zero.
    fn quotients_hold(&self, dim: &Dim) -> bool {
        self.rules.iter().all(|rule| match rule {
            Rule::Divide { quotient, nonnegative, .. } => *nonnegative || !dim.mentions(quotient),
            _ => true,
        })
    }

    /// Applies all rules: the form in which facts are decided. It may mention quotient variables.
    fn rewrite(&self, dim: &Dim) -> Result<Dim, DimError> {
        let mut dim = dim.clone();
        for rule in &self.rules {
            dim = match rule {
                Rule::Replace { var, by } | Rule::Divide { var, by, .. } => {
                    if !dim.mentions(var) {
                        continue;
                    }
                    dim.substitute_with(&|other| (other == var).then(|| by.clone()))?
                }
                Rule::Vanish(zero) => Dim::from_poly(dim.0.div_rem(&zero.0)?.1),
            };
        }
        Ok(dim)
    }
}

/// The value of `var` that makes `zero` zero, where its coefficient is 1 or -1.
fn solve_unit(zero: &Dim, var: &DimVar) -> Option<Dim> {
    let (slope, rest) = zero.linear_in(var)?;
    match slope.as_const() {
        Some(1) => rest.neg().ok(),
        Some(-1) => Some(rest),
        _ => None,
    }
}

/// `p / q` without multiples of q and common factors, such that `p % q == 0` before exactly when
/// after; `None` where that is not so (`(2*H + 1) / 4`).
fn exact_lowest_terms(p: &Dim, q: &Dim) -> Option<(Dim, Dim)> {
    let (_, rest) = p.0.div_rem(&q.0).ok()?;
    let (over, under) = rest.lowest_terms(&q.0).ok()?;
    let same = over.mul(&q.0).ok()? == rest.mul(&under).ok()?;
    same.then(|| (Dim::from_poly(over), Dim::from_poly(under)))
}

/// Writes `over / under` for `quotient` everywhere in `dim`, and `over` for `under * quotient`.
fn restore(dim: &Dim, quotient: &DimVar, over: &Dim, under: &Dim) -> Result<Dim, DimError> {
    if !dim.mentions(quotient) {
        return Ok(dim.clone());
    }
    let mut sum = Dim::constant(0);
    let mut plain = Poly::constant(0);
    for (monomial, coefficient) in dim.0.terms() {
        let mut rest = Dim::constant(1);
        let mut power = 0;
        for (atom, exponent) in monomial.factors() {
            let factor = match atom {
                Atom::Var(var) if var == quotient => {
                    power = *exponent;
                    continue;
                }
                Atom::Var(var) => Dim::var(var.clone()),
                Atom::Quotient(q) => {
                    let over_ = restore(&q.over, quotient, over, under)?;
                    over_.div(&restore(&q.under, quotient, over, under)?)?
                }
            };
            rest = rest.mul(&factor.pow(*exponent)?)?;
        }
        rest = rest.mul(&Dim::constant(*coefficient))?;
        match under.0.terms() {
            [_] => sum = sum.add(&times_quotient(rest, power, over, under)?)?,
            _ => {
                let unit = Dim::var(quotient.clone()).pow(power)?;
                plain = plain.add(&rest.mul(&unit)?.0)?;
            }
        }
    }
    // A divisor of several terms is found by division.
    let whole = under.mul(&Dim::var(quotient.clone()))?;
    while !plain.is_zero() {
        let (times, rest) = plain.div_rem(&whole.0)?;
        let exact = over.div(under)?;
        let rest = Dim::from_poly(rest);
        let rest = rest.substitute_with(&|var| (var == quotient).then(|| exact.clone()))?;
        sum = sum.add(&rest)?;
        plain = times.mul(&over.0)?;
    }
    Ok(sum)
}

/// `factor * (over / under)**power` with as much of `under`, a single term, cancelled as `factor`
/// holds, and with the exactness of the division used.
fn times_quotient(mut factor: Dim, power: u32, over: &Dim, under: &Dim) -> Result<Dim, DimError> {
    for step in 0..power {
        let [(unit, size)] = under.0.terms() else {
            return factor.mul(&over.div(under)?.pow(power - step)?);
        };
        let terms = factor.0.terms();
        let content = terms.iter().fold(size.unsigned_abs(), |g, (_, c)| gcd(g, c.unsigned_abs()));
        let shared = terms.iter().fold(unit.clone(), |common, (m, _)| common.common(m));
        let content = i64::try_from(content).map_err(|_| DimError::Overflow)?;
        let shared = Dim::from_poly(Poly::term(shared, content));
        let (rest, divisor) = (factor.div(&shared)?, under.div(&shared)?);
        factor = rest.mul(&over.div(&divisor)?)?;
    }
    Ok(factor)
}
