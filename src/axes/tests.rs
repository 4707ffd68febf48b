//! The laws of `Dim` and `Facts`, on cases and on random polynomials.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::dim::floor_div;
use super::{Dim, DimError, DimVar, Facts, solve_one};

fn v(name: &str) -> Dim {
    Dim::var(name)
}

fn c(value: i64) -> Dim {
    Dim::constant(value)
}

/// `(size + 2 * pad - kernel) / stride + 1`.
fn convolved(size: &Dim, pad: i64, kernel: i64, stride: i64) -> Dim {
    let reach = size.add(&c(2 * pad - kernel)).unwrap();
    reach.div(&c(stride)).unwrap().add(&c(1)).unwrap()
}

#[test]
fn dims_are_shown_as_written() {
    let double = v("H").mul(&c(2)).unwrap();
    assert_eq!(double.add(&c(1)).unwrap().to_string(), "2*H + 1");
    assert_eq!(v("E").mul(&v("heads")).unwrap().to_string(), "heads * E");
    assert_eq!(convolved(&v("H"), 0, 3, 2).to_string(), "(H - 1) / 2");
    assert_eq!(convolved(&v("H"), 1, 3, 2).to_string(), "(H + 1) / 2");
    assert_eq!(convolved(&v("H"), 0, 2, 2).to_string(), "H / 2");
    assert_eq!(v("H").rem(&c(16)).unwrap().to_string(), "H % 16");
    assert_eq!(v("D").rem(&v("heads")).unwrap().to_string(), "D % heads");
    assert_eq!(v("C2").add(&v("C1")).unwrap().to_string(), "C1 + C2");
    assert_eq!(c(3).sub(&v("H")).unwrap().to_string(), "3 - H");
    let both = v("H").sub(&v("K")).unwrap().neg().unwrap();
    assert_eq!(both.to_string(), "K - H");
    assert_eq!(v("N").pow(2).unwrap().add(&v("N")).unwrap().to_string(), "N**2 + N");
    let sum = v("D").add(&v("E")).unwrap();
    assert_eq!(sum.div(&v("N").mul(&v("K")).unwrap()).unwrap().to_string(), "(D + E) / (K * N)");
    assert_eq!(c(0).to_string(), "0");
    assert_eq!(c(-7).to_string(), "-7");
}

#[test]
fn division_cancels_what_divides() {
    let h = v("H");
    assert_eq!(h.mul(&c(2)).unwrap().div(&c(2)).unwrap(), h);
    let p = h.mul(&c(4)).unwrap().add(&c(2)).unwrap();
    assert_eq!(p.div(&c(2)).unwrap().to_string(), "2*H + 1");
    let he = v("heads").mul(&v("E")).unwrap();
    assert_eq!(he.div(&v("heads")).unwrap(), v("E"));
    let square = h.add(&c(1)).unwrap().pow(2).unwrap();
    assert_eq!(square.div(&h.add(&c(1)).unwrap()).unwrap().to_string(), "H + 1");
    // Pooling twice is pooling by four, with an offset or without.
    assert_eq!(h.div(&c(2)).unwrap().div(&c(2)).unwrap(), h.div(&c(4)).unwrap());
    let twice = convolved(&convolved(&h, 1, 3, 2), 1, 3, 2);
    assert_eq!(twice, h.add(&c(3)).unwrap().div(&c(4)).unwrap());
    // Without a fact, halving does not round-trip.
    assert_ne!(h.div(&c(2)).unwrap().mul(&c(2)).unwrap(), h);
    assert_eq!(h.div(&c(0)), Err(DimError::DivisionByZero));
    assert_eq!(h.rem(&c(0)), Err(DimError::DivisionByZero));
}

#[test]
fn solving_is_exact() {
    let unknowns = BTreeSet::from([DimVar::new("E"), DimVar::new("O")]);
    let pattern = v("heads").mul(&v("E")).unwrap();
    let four = pattern.substitute(&BTreeMap::from([("heads".into(), c(4))])).unwrap();
    assert_eq!(solve_one(&four, &c(64), &unknowns), Some(("E".into(), c(16))));
    assert_eq!(solve_one(&four, &c(66), &unknowns), None);
    let target = v("heads").mul(&v("D")).unwrap();
    assert_eq!(solve_one(&pattern, &target, &unknowns), Some(("E".into(), v("D"))));
    let shifted = v("E").add(&c(1)).unwrap();
    assert_eq!(solve_one(&shifted, &v("N"), &unknowns).unwrap().1.to_string(), "N - 1");
    assert_eq!(solve_one(&v("E").pow(2).unwrap(), &c(9), &unknowns), None);
    assert_eq!(solve_one(&v("E").div(&c(2)).unwrap(), &c(4), &unknowns), None);
    assert_eq!(solve_one(&v("E").add(&v("O")).unwrap(), &c(4), &unknowns), None);
    assert_eq!(solve_one(&v("N"), &c(4), &unknowns), None);
}

#[test]
fn a_dividing_fact_makes_division_exact() {
    let mut facts = Facts::new();
    facts.divides(&v("heads"), &v("D")).unwrap();
    let head = v("D").div(&v("heads")).unwrap();
    let whole = v("heads").mul(&head).unwrap();
    assert_ne!(whole, v("D"));
    assert_eq!(facts.normalise(&whole).unwrap(), v("D"));
    assert_eq!(facts.normalise(&head).unwrap().to_string(), "D / heads");
    assert_eq!(facts.normalise(&v("D").rem(&v("heads")).unwrap()).unwrap(), c(0));
    // (2 * D) / heads is twice the head.
    let twice = v("D").mul(&c(2)).unwrap().div(&v("heads")).unwrap();
    assert!(facts.same(&twice, &head.mul(&c(2)).unwrap()).unwrap());
    // A further fact about the quotient.
    facts.divides(&c(2), &head).unwrap();
    let half = head.div(&c(2)).unwrap();
    let back = half.mul(&c(2)).unwrap().mul(&v("heads")).unwrap();
    assert_eq!(facts.normalise(&back).unwrap(), v("D"));
}

#[test]
fn a_unet_meets_itself_under_its_fact() {
    let mut facts = Facts::new();
    facts.divides(&c(16), &v("H")).unwrap();
    let mut size = v("H");
    for _ in 0..4 {
        size = size.div(&c(2)).unwrap();
    }
    assert_eq!(facts.normalise(&size).unwrap().to_string(), "H / 16");
    for _ in 0..4 {
        size = size.mul(&c(2)).unwrap();
    }
    assert_eq!(facts.normalise(&size).unwrap(), v("H"));
    let half = facts.normalise(&v("H").div(&c(2)).unwrap()).unwrap();
    assert_eq!(half.to_string(), "H / 2");
    // A weaker and an unrelated divisor add up: 16 and 12 give 48.
    facts.divides(&c(8), &v("H")).unwrap();
    facts.divides(&c(12), &v("H")).unwrap();
    let by48 = v("H").div(&c(48)).unwrap().mul(&c(48)).unwrap();
    assert_eq!(facts.normalise(&by48).unwrap(), v("H"));
}

#[test]
fn equalities_rewrite() {
    let mut facts = Facts::new();
    facts.equal(&v("K"), &v("C")).unwrap();
    assert_eq!(facts.normalise(&v("K")).unwrap(), v("C"));
    facts.equal(&v("C"), &v("M").mul(&c(2)).unwrap()).unwrap();
    assert_eq!(facts.normalise(&v("K").div(&c(2)).unwrap()).unwrap(), v("M"));
    let wrong = facts.equal(&v("K"), &v("C").add(&c(1)).unwrap());
    assert!(matches!(wrong, Err(DimError::Contradiction(..))));
    // No variable has coefficient one: the equation itself is used.
    let mut facts = Facts::new();
    let (twice, thrice) = (v("A").mul(&c(2)).unwrap(), v("B").mul(&c(3)).unwrap());
    facts.equal(&twice, &thrice).unwrap();
    assert!(facts.same(&twice.mul(&v("N")).unwrap(), &thrice.mul(&v("N")).unwrap()).unwrap());
    assert!(!facts.same(&v("A"), &v("B")).unwrap());
    // Neither has a product that must divide.
    let mut facts = Facts::new();
    let product = v("C1").mul(&v("C2")).unwrap();
    facts.divides(&v("g"), &product).unwrap();
    let back = product.div(&v("g")).unwrap().mul(&v("g")).unwrap();
    assert!(facts.same(&back, &product).unwrap());
    assert!(matches!(facts.divides(&c(2), &c(3)), Err(DimError::Contradiction(..))));
}

#[test]
fn lower_bounds_are_proved() {
    let h = v("H");
    assert!(h.at_least(0) && !h.at_least(1));
    assert!(h.mul(&v("W")).unwrap().add(&c(1)).unwrap().at_least(1));
    assert!(h.rem(&c(2)).unwrap().at_least(0));
    assert!(c(1).sub(&h.rem(&c(2)).unwrap()).unwrap().at_least(0));
    assert!(!h.sub(&v("W")).unwrap().at_least(0));
    assert!(convolved(&h, 1, 3, 2).at_least(0));
    assert!(h.sub(&h.div(&c(3)).unwrap()).unwrap().at_least(0));
    let mut facts = Facts::new();
    facts.bound_below(&v("N"), 1);
    facts.bound_below(&v("T").sub(&v("K")).unwrap(), 0);
    assert!(facts.at_least(&v("N").sub(&c(1)).unwrap(), 0));
    assert!(facts.at_least(&v("N").mul(&v("M")).unwrap().sub(&v("M")).unwrap(), 0));
    assert!(facts.at_least(&v("T").sub(&v("K")).unwrap().add(&c(1)).unwrap(), 1));
    facts.divides(&c(2), &v("H")).unwrap();
    let back = h.div(&c(2)).unwrap().mul(&c(2)).unwrap();
    assert!(facts.at_least(&back.sub(&h).unwrap(), 0));
}

#[test]
fn growth_and_overflow_are_errors() {
    let big = c(i64::MAX);
    assert_eq!(big.add(&c(1)), Err(DimError::Overflow));
    assert_eq!(c(i64::MIN).neg(), Err(DimError::Overflow));
    assert_eq!(c(i64::MIN).div(&c(-1)), Err(DimError::Overflow));
    assert_eq!(v("N").mul(&big).unwrap().mul(&c(2)), Err(DimError::Overflow));
    assert_eq!(c(2).pow(70), Err(DimError::Overflow));
    assert_eq!(v("N").pow(65), Err(DimError::TooLarge));
    assert_eq!(v("N").pow(u32::MAX), Err(DimError::TooLarge));
    let mut sum = v("A");
    for name in ["B", "C", "D", "E", "F", "G"] {
        sum = sum.add(&v(name)).unwrap();
    }
    assert_eq!(sum.pow(8), Err(DimError::TooLarge));
    let mut nested = v("N");
    let error = loop {
        match nested.add(&v("N")).and_then(|p| v("M").add(&c(1))?.mul(&p)?.div(&v("K"))) {
            Ok(deeper) => nested = deeper,
            Err(error) => break error,
        }
    };
    assert_eq!(error, DimError::TooLarge);
}

/// A program over three variables, evaluated both as a dim and as a number.
#[derive(Clone, Debug)]
enum Tree {
    Const(i64),
    Var(usize),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Div(Box<Tree>, Box<Tree>),
    Rem(Box<Tree>, Box<Tree>),
}

const NAMES: [&str; 3] = ["A", "b", "C"];

impl Tree {
    fn dim(&self) -> Result<Dim, DimError> {
        match self {
            Tree::Const(value) => Ok(c(*value)),
            Tree::Var(index) => Ok(v(NAMES[*index])),
            Tree::Add(a, b) => a.dim()?.add(&b.dim()?),
            Tree::Sub(a, b) => a.dim()?.sub(&b.dim()?),
            Tree::Mul(a, b) => a.dim()?.mul(&b.dim()?),
            Tree::Div(a, b) => a.dim()?.div(&b.dim()?),
            Tree::Rem(a, b) => a.dim()?.rem(&b.dim()?),
        }
    }

    fn value(&self, at: &[i64; 3]) -> Result<i64, DimError> {
        let of = |a: Option<i64>| a.ok_or(DimError::Overflow);
        match self {
            Tree::Const(value) => Ok(*value),
            Tree::Var(index) => Ok(at[*index]),
            Tree::Add(a, b) => of(a.value(at)?.checked_add(b.value(at)?)),
            Tree::Sub(a, b) => of(a.value(at)?.checked_sub(b.value(at)?)),
            Tree::Mul(a, b) => of(a.value(at)?.checked_mul(b.value(at)?)),
            Tree::Div(a, b) => floor_div(a.value(at)?, b.value(at)?),
            Tree::Rem(a, b) => {
                let (a, b) = (a.value(at)?, b.value(at)?);
                of(a.checked_sub(of(b.checked_mul(floor_div(a, b)?))?))
            }
        }
    }
}

fn tree(constants: std::ops::Range<i64>, division: bool) -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![constants.prop_map(Tree::Const), (0..3usize).prop_map(Tree::Var)];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        let pair = (inner.clone(), inner, 0..if division { 5usize } else { 3 });
        pair.prop_map(|(a, b, operator)| {
            let make: fn(Box<Tree>, Box<Tree>) -> Tree =
                [Tree::Add, Tree::Sub, Tree::Mul, Tree::Div, Tree::Rem][operator];
            make(Box::new(a), Box::new(b))
        })
    })
}

fn bind(at: &[i64; 3]) -> BTreeMap<DimVar, i64> {
    NAMES.iter().map(DimVar::new).zip(*at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn normal_forms_evaluate_like_programs(
        tree in tree(-6..7, true),
        at in prop::array::uniform3(-9..10i64),
    ) {
        if let (Ok(dim), Ok(value)) = (tree.dim(), tree.value(&at)) {
            // Cancelling takes divisors for nonzero, so the program decides what is defined.
            prop_assert_eq!(dim.eval(&bind(&at)), Ok(value), "{}", dim);
        }
    }

    #[test]
    fn equal_polynomials_have_one_form(a in tree(-3..4, false), b in tree(-3..4, false)) {
        if let (Ok(p), Ok(q)) = (a.dim(), b.dim()) {
            let sum = p.add(&q).and_then(|sum| sum.pow(2));
            let parts = (|| {
                let cross = p.mul(&q)?.mul(&c(2))?;
                q.pow(2)?.add(&cross)?.add(&p.pow(2)?)
            })();
            if let (Ok(sum), Ok(parts)) = (sum, parts) {
                prop_assert_eq!(&sum, &parts);
            }
            if let Ok(product) = p.mul(&q) && q.as_const() != Some(0) {
                prop_assert_eq!(product.div(&q), Ok(p));
                prop_assert_eq!(product.rem(&q), Ok(c(0)));
            }
        }
    }

    #[test]
    fn substitution_commutes_with_evaluation(
        outer in tree(-4..5, true),
        inner in prop::array::uniform3(tree(-3..4, true)),
        at in prop::array::uniform3(-5..6i64),
    ) {
        let inner: Result<Vec<Dim>, _> = inner.iter().map(Tree::dim).collect();
        if let (Ok(outer), Ok(inner)) = (outer.dim(), inner) {
            let values: Result<Vec<i64>, _> = inner.iter().map(|d| d.eval(&bind(&at))).collect();
            let map = NAMES.iter().map(DimVar::new).zip(inner).collect();
            if let (Ok(dim), Ok(values)) = (outer.substitute(&map), values)
                && let Ok(value) = outer.eval(&bind(&[values[0], values[1], values[2]]))
            {
                prop_assert_eq!(dim.eval(&bind(&at)), Ok(value), "{} into {}", dim, outer);
            }
        }
    }

    #[test]
    fn division_laws(p in tree(-9..10, true), q in tree(-9..10, false), by in 1..9i64, m in 1..9i64) {
        if let (Ok(p), Ok(q)) = (p.dim(), q.dim()) {
            if let (Ok(a), Ok(r)) = (p.div(&q), p.rem(&q)) {
                prop_assert_eq!(q.mul(&a).and_then(|qa| qa.add(&r)), Ok(p.clone()));
            }
            // (p + m * q) / by, where by divides m * q, is p / by plus the rest.
            let shifted = q.mul(&c(by * m)).and_then(|s| s.add(&p)?.div(&c(by)));
            if let (Ok(shifted), Ok(plain)) = (shifted, p.div(&c(by))) {
                prop_assert_eq!(Ok(shifted), q.mul(&c(m)).and_then(|s| s.add(&plain)));
            }
        }
    }

    #[test]
    fn bounds_hold(tree in tree(-6..7, true), at in prop::array::uniform3(0..12i64), n in -20..20i64) {
        if let Ok(dim) = tree.dim() && let Ok(value) = dim.eval(&bind(&at)) && dim.at_least(n) {
            prop_assert!(value >= n, "{dim} is {value}, not at least {n}");
        }
    }

    #[test]
    fn facts_keep_values(
        tree in tree(-6..7, true),
        k in 1..9i64,
        quotient in 0..9i64,
        at in prop::array::uniform3(0..12i64),
        n in -20..20i64,
    ) {
        // A == k * quotient, C == A + 1: what the facts say holds at these points.
        let at = [k * quotient, at[1], k * quotient + 1];
        let mut facts = Facts::new();
        facts.divides(&c(k), &v("A")).unwrap();
        facts.equal(&v("C"), &v("A").add(&c(1)).unwrap()).unwrap();
        if let Ok(dim) = tree.dim()
            && let Ok(value) = dim.eval(&bind(&at))
            && let Ok(normal) = facts.normalise(&dim)
        {
            prop_assert_eq!(normal.eval(&bind(&at)), Ok(value), "{} from {}", normal, dim);
            prop_assert!(facts.same(&normal, &dim).unwrap_or(true));
            if facts.at_least(&dim, n) {
                prop_assert!(value >= n);
            }
        }
    }

    #[test]
    fn symbolic_divisors_keep_values(
        tree in tree(-6..7, true),
        b in 1..6i64,
        quotient in 0..9i64,
        last in 0..12i64,
    ) {
        let at = [b * quotient, b, last];
        let mut facts = Facts::new();
        facts.divides(&v("b"), &v("A")).unwrap();
        if let Ok(dim) = tree.dim()
            && let Ok(value) = dim.eval(&bind(&at))
            && let Ok(normal) = facts.normalise(&dim)
        {
            prop_assert_eq!(normal.eval(&bind(&at)), Ok(value), "{} from {}", normal, dim);
        }
    }

    #[test]
    fn extremes_do_not_panic(tree in tree(i64::MIN..i64::MAX, true), at in prop::array::uniform3(any::<i64>())) {
        if let Ok(dim) = tree.dim() {
            let _ = dim.eval(&bind(&at));
            let _ = dim.to_string();
            let _ = dim.at_least(at[0]);
            let mut facts = Facts::new();
            let _ = facts.divides(&c(at[1]), &dim);
            let _ = facts.equal(&dim, &c(at[2]));
            let _ = facts.normalise(&dim);
            let _ = solve_one(&dim, &c(at[0]), &BTreeSet::from([DimVar::new("A")]));
        }
    }
}
