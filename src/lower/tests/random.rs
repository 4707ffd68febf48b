//! Random small graphs over all operators.

use super::{Numbers, agree};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Draw, Index, IndexMap, Input, Node, Output, Outside, Reducer, Role};
use crate::ops::ScalarFn;
use crate::tensor::{DType, Sorted};

/// Entries of a value at most, where `B` is 20.
const LARGEST: i64 = 4000;

struct Generator {
    b: Builder,
    numbers: Numbers,
    axes: Vec<Axis>,
    /// f32 values; whether all executions give the same bits.
    values: Vec<(Node, bool)>,
    seeds: Option<(Node, Node)>,
}

impl Generator {
    fn new(seed: u64) -> Generator {
        let mut b = Builder::new();
        let sizes = [Dim::var("B"), 1.into(), 3.into(), 6.into(), 17.into(), 20.into()];
        let names = ["b", "one", "three", "six", "seventeen", "twenty"];
        let axes = names.iter().zip(sizes).map(|(name, size)| b.axis(*name, size)).collect();
        Generator { b, numbers: Numbers(seed), axes, values: Vec::new(), seeds: None }
    }

    fn size(&self, axis: Axis) -> i64 {
        self.b.axis_size(axis).eval_with(&|_| Some(20)).unwrap()
    }

    fn entries(&self, axes: &[Axis]) -> i64 {
        axes.iter().map(|axis| self.size(*axis)).product()
    }

    fn pick(&mut self) -> (Node, bool) {
        let recent = self.numbers.chance(60);
        let from = if recent { self.values.len().saturating_sub(4) } else { 0 };
        self.values[from + self.numbers.below(self.values.len() - from)]
    }

    /// Some axis of a value.
    fn axis_of(&mut self, node: Node) -> Option<Axis> {
        let axes = self.b.axes(node).clone();
        (!axes.is_empty()).then(|| axes[self.numbers.below(axes.len())])
    }

    fn keep(&mut self, node: Node, exact: bool) {
        if self.entries(&self.b.axes(node).clone()) <= LARGEST {
            self.values.push((node, exact));
        }
    }

    /// Values stay small, so that rounding errors do.
    fn tame(&mut self, node: Node) -> Node {
        self.b.map1(ScalarFn::Tanh, node)
    }

    fn subset(&mut self, axes: &[Axis]) -> Vec<Axis> {
        axes.iter().copied().filter(|_| self.numbers.chance(40)).collect()
    }

    fn input(&mut self) {
        let axes = self.axes.clone();
        let mut order = self.subset(&axes);
        if order.len() > 1 && self.numbers.chance(50) {
            order.reverse();
        }
        while self.entries(&order) > LARGEST / 4 {
            order.pop();
        }
        let name = format!("x{}", self.b.graph().inputs.len());
        let x = argument(&mut self.b, &name, &order, DType::F32);
        self.values.push((x, true));
    }

    /// An index into an axis, with some axes.
    fn index(&mut self, axis: Axis) -> Node {
        let axes: Vec<Axis> = self.axes.iter().copied().filter(|other| *other != axis).collect();
        let mut order = self.subset(&axes);
        while self.entries(&order) > 300 {
            order.pop();
        }
        let bound = Some(self.b.axis_size(axis).clone());
        let dtype = if self.numbers.chance(70) { DType::I32 } else { DType::I64 };
        let name = format!("i{}", self.b.graph().inputs.len()).into();
        self.b.input(Input { name, role: Role::Argument, dtype, order, bound })
    }

    fn map(&mut self) {
        use ScalarFn::*;
        let (x, exact) = self.pick();
        let (y, exact_too) = self.pick();
        let union = crate::graph::sets::union(self.b.axes(x), self.b.axes(y));
        if self.entries(&union) > LARGEST {
            return;
        }
        match self.numbers.below(10) {
            0 => {
                let function = [Neg, Abs][self.numbers.below(2)];
                let value = self.b.map1(function, x);
                self.keep(value, exact);
            }
            1 | 2 => {
                let function = [Exp, Sin, Cos, Tanh, Sigmoid, Erf][self.numbers.below(6)];
                let value = self.b.map1(function, x);
                let value = self.tame(value);
                self.keep(value, false);
            }
            3 => {
                let value = self.b.map2([Max, Min][self.numbers.below(2)], x, y);
                self.keep(value, exact && exact_too);
            }
            4 if exact && exact_too => {
                let function = [Lt, Le, Eq, Ne][self.numbers.below(4)];
                let condition = self.b.map2(function, x, y);
                let (z, exact) = self.pick();
                let value = self.b.select(condition, x, z);
                self.keep(value, exact);
            }
            5 if exact => {
                let value = self.b.map1([Floor, Ceil, Round, Sign][self.numbers.below(4)], x);
                self.keep(value, true);
            }
            6 if exact => {
                let number = self.b.cast(x, DType::I32);
                let value = self.b.cast(number, DType::F32);
                self.keep(value, true);
            }
            _ => {
                let value = self.b.map2([Add, Sub, Mul][self.numbers.below(3)], x, y);
                let value = self.tame(value);
                self.keep(value, false);
            }
        }
    }

    fn reduce(&mut self) {
        let (x, exact) = self.pick();
        let axes = self.b.axes(x).clone();
        let over = self.subset(&axes);
        if over.is_empty() {
            return;
        }
        match self.numbers.below(6) {
            0 => {
                let value = self.b.reduce([Reducer::Max, Reducer::Min][self.numbers.below(2)], x, &over);
                // Over nothing it is infinite.
                let value = self.tame(value);
                self.keep(value, false);
            }
            1 if exact => {
                let value =
                    self.b.reduce([Reducer::ArgMax, Reducer::ArgMin][self.numbers.below(2)], x, &over[..1]);
                let value = self.b.cast(value, DType::F32);
                self.keep(value, true);
            }
            2 if exact => {
                let zero = self.b.constant(0.0, DType::F32);
                let positive = self.b.map2(ScalarFn::Lt, zero, x);
                let value =
                    self.b.reduce([Reducer::Any, Reducer::All][self.numbers.below(2)], positive, &over);
                let value = self.b.cast(value, DType::F32);
                self.keep(value, true);
            }
            3 => {
                let half = self.b.constant(0.5, DType::F32);
                let scaled = self.b.mul(x, half);
                let value = self.b.reduce(Reducer::Prod, scaled, &over);
                let value = self.tame(value);
                self.keep(value, false);
            }
            _ => {
                let value = self.b.sum(x, &over);
                let value = self.tame(value);
                self.keep(value, false);
            }
        }
    }

    fn contract(&mut self) {
        let ((x, _), (y, _)) = (self.pick(), self.pick());
        let both = crate::graph::sets::common(self.b.axes(x), self.b.axes(y));
        let union = crate::graph::sets::union(self.b.axes(x), self.b.axes(y));
        let over = self.subset(&both);
        if over.is_empty() || self.entries(&union) > 10 * LARGEST {
            return;
        }
        let product = self.b.mul(x, y);
        let value = self.b.sum(product, &over);
        if self.numbers.chance(50) {
            self.keep(value, false);
            self.values.pop();
        }
        let value = self.tame(value);
        self.keep(value, false);
    }

    /// A map that names an axis, with the axes that it mentions.
    fn index_map(&mut self, axis: Axis) -> IndexMap {
        let size = self.b.axis_size(axis).clone();
        let affine = |terms: &[(i64, Axis)], constant: i64| {
            let terms = terms.iter().map(|(factor, axis)| (Dim::from(*factor), Index::axis(*axis)));
            Index::sum(terms.chain([(Dim::from(1), Index::constant(constant))])).unwrap()
        };
        match self.numbers.below(7) {
            0 => {
                let new = self.b.fresh(axis);
                IndexMap::new([(axis, Index::axis(new))], Outside::Never)
            }
            1 => {
                let new = self.b.fresh(axis);
                let shift = self.numbers.below(5) as i64 - 2;
                IndexMap::new([(axis, affine(&[(1, new)], shift))], Outside::Zero)
            }
            2 => {
                let new = self.b.fresh(axis);
                let last = size.sub(&Dim::from(1)).unwrap();
                let index =
                    Index::sum([(Dim::from(-1), Index::axis(new)), (Dim::from(1), Index::constant(last))]);
                IndexMap::new([(axis, index.unwrap())], Outside::Never)
            }
            3 => {
                let stride = 1 + self.numbers.below(2) as i64;
                let places = self.b.axis("p", size.add(&Dim::from(1)).unwrap().div(&stride.into()).unwrap());
                let taps = self.b.axis("t", Dim::from(3));
                let index = affine(&[(stride, places), (1, taps)], -1);
                IndexMap::new([(axis, index)], Outside::Zero)
            }
            4 => {
                // The axis as rows of three, with an incomplete one.
                let rows = self.b.axis("r", size.add(&Dim::from(2)).unwrap().div(&3.into()).unwrap());
                let columns = self.b.axis("c", Dim::from(3));
                IndexMap::new([(axis, affine(&[(3, rows), (1, columns)], 0))], Outside::Zero)
            }
            5 => {
                // Each entry three times.
                let new = self.b.axis("e", size.mul(&3.into()).unwrap());
                IndexMap::new([(axis, Index::axis(new).div(&3.into()))], Outside::Never)
            }
            _ => {
                let new = self.b.axis("w", size.mul(&2.into()).unwrap());
                IndexMap::new([(axis, Index::axis(new).rem(&size))], Outside::Never)
            }
        }
    }

    fn view(&mut self) {
        let (x, exact) = self.pick();
        let Some(axis) = self.axis_of(x) else { return };
        if self.numbers.chance(15) {
            // Two axes merged into one.
            let axes = self.b.axes(x).clone();
            let other = axes.iter().copied().find(|other| *other != axis);
            if let Some(other) = other {
                let (a, c) = (self.b.axis_size(axis).clone(), self.b.axis_size(other).clone());
                let new = self.b.axis("m", a.mul(&c).unwrap());
                // A remainder by a symbolic size: it is positive where there is an entry at all.
                let div = Index::axis(new).div(&c);
                let rem = Index::axis(new).rem(&c);
                let value = self.b.view(x, IndexMap::new([(axis, div), (other, rem)], Outside::Never));
                self.keep(value, exact);
                return;
            }
        }
        let map = self.index_map(axis);
        let value = self.b.view(x, map);
        self.keep(value, exact);
    }

    fn fold(&mut self) {
        let (x, _) = self.pick();
        let Some(axis) = self.axis_of(x) else { return };
        // The transpose of a view of something that has an axis like this one.
        let like = self.axes[self.numbers.below(self.axes.len())];
        if like == axis {
            return;
        }
        let made = self.b.fresh(like);
        let map = self.index_map(made);
        let mentioned = map.mentioned();
        if self.entries(&mentioned) * self.entries(&self.b.axes(x).clone()) > LARGEST {
            return;
        }
        let value = self.b.fold(x, map);
        let value = self.tame(value);
        self.keep(value, false);
    }

    fn gather(&mut self) {
        let (x, exact) = self.pick();
        let Some(axis) = self.axis_of(x) else { return };
        // Reading along an axis that may be empty has nothing to read.
        if self.b.axis_size(axis).as_const().is_none() || !self.axes.contains(&axis) {
            return;
        }
        let index = self.index(axis);
        let axes = crate::graph::sets::union(self.b.axes(x), self.b.axes(index));
        if self.entries(&axes) > LARGEST {
            return;
        }
        let value = self.b.gather(x, axis, index);
        self.keep(value, exact);
    }

    fn scatter(&mut self) {
        let (x, _) = self.pick();
        let like = self.axes[2 + self.numbers.below(4)];
        let into = self.b.fresh(like);
        let index = self.index(like);
        let all = crate::graph::sets::union(self.b.axes(x), self.b.axes(index));
        let over = self.subset(&all);
        if self.entries(&all) > LARGEST || self.entries(&all) * self.size(into) > 20 * LARGEST {
            return;
        }
        let op = [Reducer::Sum, Reducer::Max, Reducer::Min, Reducer::Prod][self.numbers.below(4)];
        let value = self.b.scatter(op, x, index, &over, into);
        let value = self.tame(value);
        self.keep(value, false);
    }

    fn sort(&mut self) {
        let (x, exact) = self.pick();
        let Some(axis) = self.axis_of(x) else { return };
        let into = self.b.fresh(axis);
        // Which of two nearly equal entries comes first is not the same in all executions, unless their bits are.
        let what = match exact {
            true => [Sorted::Values, Sorted::Order, Sorted::Rank][self.numbers.below(3)],
            false => Sorted::Values,
        };
        let descending = self.numbers.chance(50);
        let value = self.b.sort(what, x, axis, into, descending);
        let value = self.b.cast(value, DType::F32);
        self.keep(value, exact);
    }

    fn random(&mut self) {
        let (seed, step) = match self.seeds {
            Some(seeds) => seeds,
            None => {
                let scalar = |b: &mut Builder, name: &str, role| {
                    b.input(Input { name: name.into(), role, dtype: DType::I64, order: vec![], bound: None })
                };
                let seeds =
                    (scalar(&mut self.b, "seed", Role::Seed), scalar(&mut self.b, "step", Role::Step));
                self.seeds = Some(seeds);
                seeds
            }
        };
        let axes = self.axes.clone();
        let mut order = self.subset(&axes);
        while self.entries(&order) > 500 {
            order.pop();
        }
        let draw = [Draw::Uniform, Draw::Normal][self.numbers.below(2)];
        let site = self.numbers.next();
        let value = self.b.random(draw, site, &order, seed, step, DType::F32);
        self.keep(value, false);
    }

    fn source(&mut self) {
        let axis = self.axes[self.numbers.below(self.axes.len())];
        let value = match self.numbers.below(3) {
            0 => {
                let position = self.b.position(axis, DType::I32);
                self.b.cast(position, DType::F32)
            }
            1 => {
                let size = self.b.axis_size(axis).clone();
                self.b.size(size, DType::F32)
            }
            _ => self.b.constant(0.25, DType::F32),
        };
        let scale = self.b.constant(0.125, DType::F32);
        let value = self.b.mul(value, scale);
        let value = if self.numbers.chance(30) { self.b.broadcast(value, &[axis]) } else { value };
        self.keep(value, true);
    }

    fn scan(&mut self) {
        let axis = self.axes[[0, 2, 3][self.numbers.below(3)]];
        let (first, _) = self.pick();
        let (other, _) = self.pick();
        let union = crate::graph::sets::union(self.b.axes(first), self.b.axes(other));
        if self.b.axes(first).contains(&axis) || self.entries(&union) * self.size(axis) > LARGEST {
            return;
        }
        let axes: Vec<Axis> = union.iter().copied().filter(|a| *a != axis).collect();
        let first = self.b.broadcast(first, &axes);
        let second = self.b.neg(first);
        let carries = self.b.begin_scan(axis, &[first, second]);
        let sum = self.b.add(carries[0], other);
        let position = self.b.position(axis, DType::I64);
        let position = self.b.cast(position, DType::F32);
        let sum = if self.numbers.chance(50) { self.b.mul(sum, position) } else { sum };
        let next = self.b.map1(ScalarFn::Tanh, sum);
        let next = self.b.broadcast(next, &axes);
        let yielded = self.b.mul(next, carries[1]);
        let swapped = self.numbers.chance(40);
        let following = if swapped { [carries[1], next] } else { [next, carries[0]] };
        let reverse = self.numbers.chance(50);
        let results = self.b.end_scan(reverse, &[first, second], &following, &[yielded]);
        for value in results.carries.into_iter().chain(results.yields) {
            self.keep(value, false);
        }
    }

    fn step(&mut self) {
        match self.numbers.below(24) {
            0..=6 => self.map(),
            7..=9 => self.reduce(),
            10..=12 => self.contract(),
            13..=15 => self.view(),
            16 => self.fold(),
            17 => self.gather(),
            18 => self.scatter(),
            19 => self.random(),
            20 => self.source(),
            21 => self.scan(),
            22 => self.sort(),
            _ => self.input(),
        }
    }
}

pub fn graph(seed: u64) -> crate::graph::Graph {
    let mut generator = Generator::new(seed);
    generator.input();
    generator.input();
    for _ in 0..6 + generator.numbers.below(14) {
        generator.step();
    }
    let mut outputs = Vec::new();
    let count = 1 + generator.numbers.below(3);
    for i in 0..count {
        let (node, _) = match i {
            0 => *generator.values.last().unwrap(),
            _ => generator.pick(),
        };
        let mut order = generator.b.axes(node).to_vec();
        if generator.numbers.chance(50) {
            order.reverse();
        }
        outputs.push((Output { name: format!("y{i}").into(), order, updates: None }, node));
    }
    generator.b.finish(outputs)
}

#[test]
fn random_graphs_agree() {
    let only = std::env::var("NNC_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = only.map_or(0..400, |seed| seed..seed + 1);
    for seed in seeds {
        let graph = graph(seed);
        for (i, size) in [5, 1, 0, 20].into_iter().enumerate() {
            if i == 0 || (seed + i as u64).is_multiple_of(3) || only.is_some() {
                let run = std::panic::catch_unwind(|| agree(&graph, &[("B", size)], seed));
                assert!(run.is_ok(), "graph {seed} with B = {size}: NNC_SEED={seed}");
            }
        }
    }
}
